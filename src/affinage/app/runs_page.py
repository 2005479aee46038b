"""The page of the runs: how they fared, how they compare, and how far one in training is."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair
import pandas as pd
import streamlit as st

from affinage.app.frame import choice, escaped, plain, show_error
from affinage.app.server import COMPARISONS
from affinage.app.words import say
from affinage.comparison.curves import thinned
from affinage.comparison.gather import find_runs, gather, history_of
from affinage.comparison.page import compare, page_path, write_page
from affinage.errors import AffinageError
from affinage.health import sentence
from affinage.reports import best_validation_loss
from affinage.runs import Run, all_runs

EVERY_S = 2  # how often the progress of a run in training is read again
COMPARED = "compared"
RUNNING = "were_running"
SEEN = "steps_seen"  # where a run was when this visitor first saw it


def show() -> None:
    """Draws the page for one visitor."""
    st.title(say("runs"), anchor=False)
    results = Path(choice().results)
    try:
        runs = all_runs(results)
    except AffinageError as error:
        show_error(error)
        return
    if not runs:
        st.info(say("no_run"), icon=":material/monitoring:")
        return
    _progress(str(results))
    st.dataframe(_table(runs), hide_index=True)
    names = {str(run.folder): f"{run.manifest['config']} {run.folder.name}" for run in runs}
    chosen = st.multiselect(
        say("choose_runs"),
        list(names),
        default=list(names)[:1],
        format_func=names.__getitem__,
        key="chosen_runs",
        placeholder=say("choose_runs"),
    )
    if chosen:
        _curves([run for run in runs if str(run.folder) in chosen])
        _compare(chosen, results)


@st.fragment(run_every=EVERY_S)
def _progress(results: str) -> None:
    """What is being trained right now, read from the files of the runs."""
    running = [run for run in all_runs(Path(results)) if run.status == "running"]
    seen: dict[str, tuple[float, int]] = st.session_state.setdefault(SEEN, {})
    for run in running:
        with st.container(border=True, key=f"live-{run.folder.name}"):
            st.markdown(f"**{say('in_training', name=escaped(f'{run.manifest["config"]} {run.folder.name}'))}**")
            steps = [entry for entry in history_of(run) if "lr" in entry]
            done, total = (steps[-1]["step"] if steps else 0), run.manifest.get("planned_steps")
            first = seen.setdefault(str(run.folder), (time.monotonic(), done))
            if not total:
                st.caption(say("preparing"))
                continue
            st.progress(min(1.0, done / total), _told(done, total, steps, first))
            _chart({say("loss"): [(entry["step"], entry["loss"]) for entry in steps]}, 220)
    before = st.session_state.get(RUNNING, len(running))
    st.session_state[RUNNING] = len(running)
    if before != len(running):  # the table and the choice below are others now
        st.rerun()


def _told(done: int, total: int, steps: Sequence[dict[str, Any]], first: tuple[float, int]) -> str:
    """Step, loss and, once a step was taken under this visitor's eyes, the time that is left."""
    text = say("step_of", n=done, total=total)
    if steps and isinstance(steps[-1]["loss"], int | float):
        text += " · " + say("loss_is", loss=steps[-1]["loss"])
    if done == total:
        return f"{text} · {say('answering')}"
    if done > first[1]:
        pace = (time.monotonic() - first[0]) / (done - first[1])
        text += " · " + say("seconds_left", n=math.ceil(pace * (total - done)))
    return text


def _table(runs: Sequence[Run]) -> pd.DataFrame:
    rows = []
    for run in runs:
        training = run.manifest.get("training") or {}
        scores = (run.manifest.get("metrics") or {}).get("scores", {}).get("all", {})
        rows.append(
            {
                say("run"): run.folder.name,
                say("config"): f"{run.manifest['task']}/{run.manifest['config']}",
                say("status"): say(f"status_{run.status}"),
                say("steps_taken"): training.get("steps"),
                say("validation_loss"): best_validation_loss(training),
                say("exact_base"): scores.get("base", {}).get("exact_match"),
                say("exact_tuned"): scores.get("tuned", {}).get("exact_match"),
            }
        )
    return pd.DataFrame(rows)


def _curves(runs: Sequence[Run]) -> None:
    st.subheader(say("curves"), anchor=False)
    curves: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        name, history = run.folder.name, history_of(run)
        curves[f"{name} {say('training')}"] = [(e["step"], e["loss"]) for e in history if "lr" in e]
        curves[f"{name} {say('validation')}"] = [
            (e["step"], e["validation_loss"]) for e in history if "validation_loss" in e
        ]
        for sign in run.manifest.get("health", []):
            st.warning(say("trouble"), icon=":material/warning:")
            plain(f"{name}: {sentence(sign)}")
    _chart(curves, 380)


def _chart(curves: dict[str, list[tuple[float, float]]], height: int) -> None:
    rows = [
        {"step": step, "loss": loss, "curve": name}
        for name, points in curves.items()
        for step, loss in thinned([point for point in points if _drawn(point[1])])
    ]
    if not rows:
        st.caption(say("no_step"))
        return
    legend = altair.Legend(orient="bottom", columns=1, labelLimit=300) if len(curves) > 1 else None
    chart = (
        altair.Chart(pd.DataFrame(rows))
        .mark_line()
        .encode(
            altair.X("step", title=say("step")),
            altair.Y("loss", title=say("loss_axis"), scale=altair.Scale(type="log")),
            altair.Color("curve", title=None, legend=legend),
        )
    )
    st.altair_chart(chart.properties(height=height))


def _drawn(loss: Any) -> bool:
    return isinstance(loss, int | float) and math.isfinite(loss) and loss > 0


def _compare(folders: Sequence[str], results: Path) -> None:
    """The page of make compare for these runs, made on demand and shown here."""
    st.subheader(say("comparison"), anchor=False)
    if st.button(say("compare"), type="primary", icon=":material/compare_arrows:"):
        try:
            with st.spinner(say("comparing")):
                runs, notes = find_runs(folders, results)
                entries = gather(runs)
                page = write_page(compare(entries, notes), page_path(entries, "", results))
            st.session_state[COMPARED] = (tuple(folders), page.name)
        except AffinageError as error:
            show_error(error)
            return
    compared, name = st.session_state.get(COMPARED, ((), ""))
    if compared == tuple(folders):
        st.link_button(say("open_comparison"), COMPARISONS + name, icon=":material/open_in_new:")
        st.iframe(COMPARISONS + name, height=800)
