"""Finds the runs to compare, and reads what each one left behind."""

import json
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affinage.comparison.answers import Answers, answers_of
from affinage.configs import read_config
from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import RESULTS, display
from affinage.runs import Run, all_runs, newest_or_named


@dataclass(frozen=True)
class Entry:
    """One of the runs that are compared: its letter, resolved config, history and answers.

    `history` holds the records of history.jsonl; `answers` is None for a run that answered no test row.
    """

    letter: str
    run: Run
    config: dict[str, Any]
    history: list[dict[str, Any]]
    answers: Answers | None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The run's id and its config, which together say when and what ran."""
        return f"{self.run.folder.name} {self.run.manifest['config']}"


def letter(position: int) -> str:
    """A, B, ... Z, A2, B2, ...: a short name for the run at a position."""
    lap, place = divmod(position, len(string.ascii_uppercase))
    return string.ascii_uppercase[place] + (str(lap + 1) if lap else "")


def find_runs(names: Sequence[str], results: Path = RESULTS) -> tuple[list[Run], list[str]]:
    """The runs that ids, folders, "last" or tasks name, in that order, and what was left out of them.

    A task, or <task>/<config>, stands for its finished runs, the oldest first. Raises one AffinageError that lists
    every name without a run.
    """
    known, problems = all_runs(results), list[Problem | str]()
    found: list[Run] = []
    notes: list[str] = []
    for name in names:
        try:
            named, left_out = _named(name, known, results)
        except AffinageError as error:
            problems += error.problems
            continue
        notes += left_out
        for run in named:
            if run.folder.resolve() in {other.folder.resolve() for other in found}:
                notes.append(f"{run.folder.name} is named twice and shown once.")
            else:
                found.append(run)
    raise_all(problems)
    if not found:
        recent = ", ".join(run.folder.name for run in known[:5]) or "no run yet"
        raise AffinageError(Problem("RUNS", "names no run.", recent, "Name runs by id or folder, or name a task."))
    return found, notes


def _named(name: str, known: list[Run], results: Path) -> tuple[list[Run], list[str]]:
    manifest = Path(name) / "run.json"
    if manifest.is_file():
        return [_open(manifest)], []
    path = name.strip("/").removeprefix(f"{display(results)}/")
    task = [run for run in known if path in (run.manifest["task"], f"{run.manifest['task']}/{run.manifest['config']}")]
    if not task:
        return [newest_or_named(name, results)], []
    finished = [run for run in reversed(task) if run.status == "finished"]
    if not finished:
        raise AffinageError(Problem(path, f"none of its {len(task)} runs is finished.", remedy="See make list."))
    left = len(task) - len(finished)
    return finished, [f"{path}: {left} of {len(task)} runs are not finished and left out."] if left else []


def _open(manifest: Path) -> Run:
    try:
        return Run(manifest.parent, json.loads(manifest.read_text(encoding="utf-8")))
    except ValueError as error:
        raise AffinageError(Problem(display(manifest), f"is no JSON: {error}.", remedy="Name another run.")) from error


def gather(runs: Iterable[Run], suite: str = "") -> list[Entry]:
    """Everything the comparison shows of each run, with its answers to `suite`, or to the suite of its task.

    Raises one AffinageError that lists what is broken in the files of all runs.
    """
    entries, problems = [], list[Problem | str]()
    for position, run in enumerate(runs):
        try:
            answers, notes = answers_of(run, suite)
            config = read_config(run.folder / "config.yaml")
            history, cut = _history(run.folder / "history.jsonl")
        except AffinageError as error:
            problems += error.problems
            continue
        entries.append(Entry(letter(position), run, config, history, answers, (*_state(run), *notes, *cut)))
    raise_all(problems)
    return entries


def _state(run: Run) -> list[str]:
    if run.status == "finished":
        return []
    reason = f" ({run.manifest['error']})" if run.manifest.get("error") else ""
    return [f"This run did not finish; its status is {run.status}{reason}. What it left is shown."]


def history_of(run: Run) -> list[dict[str, Any]]:
    """What is recorded of the run's training so far, also while it goes on."""
    return _history(run.folder / "history.jsonl")[0]


def _history(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The records of the training; a line that was being written when the run was killed is counted and left out."""
    if not path.exists():
        return [], ["No step was trained."]
    records, broken = [], 0
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            records += [json.loads(line)] if line.strip() else []
        except ValueError:
            broken += 1
    return records, [f"{broken} half-written lines of history.jsonl are left out."] if broken else []
