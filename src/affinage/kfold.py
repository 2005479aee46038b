"""Every row answered by a model that was not trained on it: K folds by group, one training run each.

A fold's model is trained on all rows of the other folds. No row is set aside for validation, so it ends with the
weights of its last step: choosing a checkpoint by the loss on the held-out rows would let them in.
"""

import json
import math
import shutil
import sys
import time
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from affinage import data, predictions, preview, ray_tasks, scoring, subjects, training
from affinage.configs import read_config
from affinage.console import progress_bar_options
from affinage.curation.splitting import kfold
from affinage.errors import AffinageError, Problem
from affinage.model_types import refuse_encoder_config
from affinage.prompts import render
from affinage.ray_runs import Placement
from affinage.runs import Run, write_json, write_jsonl
from affinage.series import Series, create, load, release_memory, time_left

KIND = "kfold"
ROWS, ANSWERS = "rows.jsonl", "predictions.jsonl"
HELD_OUT_SPLIT = "held-out"  # what metrics.json calls the rows: those of all folds
TRAINED_ON, HELD_OUT = 0, 2  # train and test, as Ludwig's fixed split writes them
NO_SPLIT = "'preprocessing.split={type: random, probabilities: [1.0, 0.0, 0.0]}'"  # instead of the config's own


def start(config: Path, dataset: str, overrides: str, k: int, seed: int, results: Path, suite: str = "") -> Series:
    """A new k-fold with every row assigned to a fold, checked before anything is trained.

    rows.jsonl in its folder holds all rows with one column per fold, which Ludwig splits by. Raises AffinageError for
    whatever a person must mend: config, data, suite, more folds than groups, too few rows to train on.
    """
    refuse_encoder_config(read_config(config), str(config), "be trained in folds")
    ray_tasks.series_placement(read_config(config), overrides)
    ready = training.plan(config, dataset, f"{overrides} {NO_SPLIT}")
    asked = scoring.load_suite(ready.task, suite)
    rows = _with_ids(_all_rows(ready))
    fold_of = kfold(_groups(rows), k, seed) + 1  # (rows,), from 1
    _refuse_too_few(fold_of)
    preview.refuse(replace(ready, splits={"train": rows}))
    return create(
        KIND,
        config,
        overrides,
        ready,
        results,
        {ROWS: _as_jsonl(rows, fold_of, k)},
        k=k,
        seed=seed,
        rows=len(rows),
        fold_of=dict(zip(rows["id"], fold_of.tolist(), strict=True)),
        suite=asked.name,
        asking={"generation": asked.generation, "batch_size": asked.batch_size, "fewshot": asked.fewshot},
        warnings=_warnings(render(ready.resolved, rows), fold_of),
        runs={},
    )


def _all_rows(ready: training.Plan) -> pd.DataFrame:
    """Every row with an answer, in the order of the files."""
    parts = [data.read_rows(path) for path in ready.files] or list(ready.splits.values())
    splits = {"all": pd.concat(parts, ignore_index=True)}
    data.drop_rows_without_answer(splits, ready.resolved.output_features[0].column)
    return splits["all"]


def _with_ids(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with an id each, as text; those without one are called by their place, from 1."""
    rows = rows.astype(object).where(rows.notna(), "")
    given = rows["id"] if "id" in rows else [""] * len(rows)
    rows["id"] = [f"row-{place}" if text == "" else str(text) for place, text in enumerate(given, 1)]
    twice = rows["id"][rows["id"].duplicated()].tolist()
    if twice:
        found = f"{len(twice)} rows of all files together have an id that stood before, such as '{twice[0]}'."
        raise AffinageError(Problem("the column 'id'", found, remedy="Give every row an id of its own, or none."))
    return rows


def _groups(rows: pd.DataFrame) -> Sequence[Hashable]:
    """What keeps rows together: their `group`; a row without one goes alone."""
    given = rows["group"] if "group" in rows else [""] * len(rows)
    return [("row", place) if group == "" else ("group", str(group)) for place, group in enumerate(given)]


def _refuse_too_few(fold_of: np.ndarray) -> None:
    largest = int(np.bincount(fold_of).max())
    if len(fold_of) - largest < data.MIN_TRAIN_ROWS:
        found = f"the largest fold holds {largest} of {len(fold_of)} rows."
        allowed = f"{data.MIN_TRAIN_ROWS} or more rows outside every fold, to train on"
        raise AffinageError(Problem("folds", found, allowed, "Bring more data, or break the largest group up."))


def _as_jsonl(rows: pd.DataFrame, fold_of: np.ndarray, k: int) -> str:
    columns = {_column(fold, k): np.where(fold_of == fold, HELD_OUT, TRAINED_ON) for fold in range(1, k + 1)}
    both = pd.concat([rows.drop(columns=columns.keys(), errors="ignore"), pd.DataFrame(columns)], axis=1)
    return both.to_json(orient="records", lines=True, force_ascii=False, double_precision=15)


def _column(fold: int, k: int) -> str:
    return f"fold_{fold:0{len(str(k))}d}"


def _warnings(prompts: list[str], fold_of: np.ndarray) -> list[str]:
    spread = int((pd.Series(fold_of).groupby(prompts).transform("nunique") > 1).sum())
    if not spread:
        return []
    return [f"{spread} rows have a prompt that another fold holds too: give such rows one group, or drop the copies."]


def go_on(series: Series) -> dict[str, Any]:
    """Trains and answers what is still missing, fold by fold; returns the metrics of all folds, as in metrics.json.

    Folds are trained one after the other, or side by side on the Ray cluster that the config asks for. A finished fold
    is not trained again, and one that was stopped goes on from its checkpoint. Raises KeyboardInterrupt after Ctrl-C,
    and AffinageError when the data changed since or another process is at work.
    """
    with ray_tasks.placed(series) as place, series.at_work():
        missing = [fold for fold in range(1, series.state["k"] + 1) if not _is_answered(series, fold)]
        for fold, run in _side_by_side(series, missing, place) if place else _in_turn(series, missing):
            runs = series.state["runs"] | {str(fold): run}
            series.record(runs={number: runs[number] for number in sorted(runs, key=int)})
        return _summarise(series)


def _is_answered(series: Series, fold: int) -> bool:
    """Whether a fold is done, as its folder says; a process that was killed may not have recorded it."""
    run = series.run(fold)
    if run is None or not _answers(series, run).exists():
        return False
    _keep_adapter_alone(run)
    series.record(runs=series.state["runs"] | {str(fold): run.folder.name})
    return True


def _in_turn(series: Series, missing: list[int]) -> Iterator[tuple[int, str]]:
    """Each fold and the id of its run."""
    started = time.monotonic()
    for done, fold in enumerate(missing):
        left = time_left(started, done, len(missing) - done)
        tqdm.write(f"{_announcement(series, fold)}{left}", file=sys.stderr)
        yield fold, _answer(series, fold)


def _side_by_side(series: Series, missing: list[int], place: Placement) -> Iterator[tuple[int, str]]:
    """The same as tasks on a cluster, in the order in which they end."""
    tasks = {fold: (series.folder, fold) for fold in missing}
    with ray_tasks.shown(series, place, "fold", len(missing)) as show:
        for fold, run in ray_tasks.side_by_side(place, answer_fold, tasks, show=show):
            tqdm.write(f"{_announcement(series, fold)}, answered", file=sys.stderr)
            yield fold, run


def answer_fold(folder: Path, fold: int) -> str:
    """What a task does for the series in `folder`; returns the id of the fold's run."""
    series = load(KIND, folder)
    ray_tasks.wait_for_former(series, fold)
    return _answer(series, fold)


def _announcement(series: Series, fold: int) -> str:
    held_out = sum(its == fold for its in series.state["fold_of"].values())
    to_train = series.state["rows"] - held_out
    return f"fold {fold} of {series.state['k']}: {to_train:,} rows to train on, {held_out:,} held out"


def _answers(series: Series, run: Run) -> Path:
    """Where a fold's answers are, or will be once all its held-out rows are answered."""
    return run.folder / "evaluation" / series.state["suite"] / ANSWERS


def _answer(series: Series, fold: int) -> str:
    """Trains the fold's model unless it is trained, and answers the rows that it was not trained on; its run's id."""
    run = series.train(fold, _plan(series, fold), answer=False)
    request = predictions.Request(split="test", **series.state["asking"])
    with tqdm(desc="answering the held-out rows", unit="row", **progress_bar_options()) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        predictions.predict(subjects.open_run(run), request, _answers(series, run).parent, show)
    release_memory()
    _keep_adapter_alone(run)
    return run.folder.name


def _plan(series: Series, fold: int) -> training.Plan:
    split = f"preprocessing.split={{type: fixed, column: {_column(fold, series.state['k'])}}}"
    overrides = f"{series.state['set']} '{split}'".strip()
    return training.plan(series.config, str(series.folder / ROWS), overrides)


def _keep_adapter_alone(run: Run) -> None:
    """Deletes checkpoints, which nothing goes on from any more, and weights that are a whole model."""
    shutil.rmtree(run.model_folder / "training_checkpoints", ignore_errors=True)
    if run.weights_folder.exists() and not any(run.weights_folder.rglob("adapter_config.json")):
        shutil.rmtree(run.weights_folder)
        run.record(weights="not kept: a whole model for every fold would fill the disk")


def _summarise(series: Series) -> dict[str, Any]:
    """Puts the answers of all folds together, in the order of rows.jsonl, and scores them."""
    state, by_id = series.state, dict[str, dict[str, Any]]()
    for fold, run_id in state["runs"].items():
        path = _answers(series, Run(series.folder.parent / run_id))
        for record in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            by_id[record["id"]] = {"id": record["id"], "fold": int(fold), **record}
    if by_id.keys() != state["fold_of"].keys():
        raise RuntimeError(f"{len(by_id)} rows have answers, and {len(state['fold_of'])} are in the folds")
    write_jsonl(series.folder / ANSWERS, [by_id[row] for row in state["fold_of"]])
    metrics = _metrics(series, scoring.read_predictions(series.folder / ANSWERS))
    write_json(series.folder / "metrics.json", dict(sorted(metrics.items())))
    return metrics


def _metrics(series: Series, answers: scoring.Predictions) -> dict[str, Any]:
    """The scores over all rows with their intervals, and for each metric its mean and standard deviation over folds.

    The deviation (n - 1) says how much a fold's score varies. It is no standard error of the mean: the folds' models
    share most of their training rows (Bengio and Grandvalet 2004).
    """
    state = series.state
    suite = scoring.load_suite(state["task"], "" if state["suite"] == state["task"] else state["suite"])
    hashes = [file["sha256"] for file in state["data"]["files"]]
    origin = scoring.Origin(
        HELD_OUT_SPLIT, state["rows"], hashes[0] if len(hashes) == 1 else None, dict(state["asking"])
    )
    metrics = scoring.score(answers, suite, origin)
    measured = scoring.measure(answers, suite).systems
    fold_of, folds = np.array(answers.column("fold")), list[dict[str, Any]]()
    for fold in range(1, state["k"] + 1):
        chosen = np.flatnonzero(fold_of == fold)
        values = {
            system: {name: _finite(found.part(chosen).value()) for name, found in measures.items()}
            for system, measures in measured.items()
        }
        folds.append({"fold": fold, "n": len(chosen), "run": state["runs"][str(fold)], "systems": values})
    for system, entries in metrics["systems"].items():
        for name, entry in entries.items():
            entry |= _spread([value for fold in folds if (value := fold["systems"][system][name]) is not None])
    return metrics | {"k": state["k"], "folds": folds, "warnings": [*state["warnings"], *metrics["warnings"]]}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _spread(values: list[float]) -> dict[str, float | None]:
    mean = float(np.mean(values)) if values else None
    return {"mean": mean, "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None}
