"""Runs that belong together, the folds of a k-fold or the trials of a sweep, and how they go on after a stop.

Torch and Ludwig are loaded when something is trained, so that a name that is wrong is said at once.
"""

import gc
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affinage import data
from affinage.console import quiet_libraries
from affinage.errors import AffinageError, Problem
from affinage.paths import display
from affinage.runs import Run, write_json

if TYPE_CHECKING:
    from affinage.training import Plan

VERSION = 1


@dataclass
class Series:
    """A folder results/<task>/<config>/<kind>-<id>/ whose <kind>.json says what was asked and how far it is.

    Its runs are ordinary ones beside it. Each says in its own manifest which number it has in which series, so none is
    lost at whatever moment a process is killed.
    """

    kind: str
    folder: Path
    state: dict[str, Any]

    def record(self, **entries: Any) -> None:
        """Adds entries to the state file."""
        state = self.state | entries
        write_json(self.folder / f"{self.kind}.json", state)
        self.state = state

    @property
    def results(self) -> Path:
        """The folder of all results that this series lies in."""
        return self.folder.parents[2]

    @property
    def config(self) -> Path:
        return Path(self.state["config_file"])

    def run(self, number: int) -> Run | None:
        """The run of that number, counted from 1; None when it was never started."""
        for path in sorted(self.folder.parent.glob("*/run.json")):
            run = Run(path.parent, json.loads(path.read_text(encoding="utf-8")))
            if run.manifest.get("series") == self._member(number):
                return run
        return None

    def _member(self, number: int) -> dict[str, Any]:
        return {"id": self.folder.name, "number": number}

    def train(self, number: int, ready: "Plan", answer: bool = True) -> Run:
        """The finished run of that number: trained as planned, or from its last checkpoint when it was begun before.

        With `answer` off, the test rows are left for later. Raises what `training.complete` raises.
        """
        from affinage import training

        run = self.run(number)
        if run is None:
            run = training.start(ready, self.results, series=self._member(number))
        elif run.status == "finished":
            return run
        else:
            ready = training.plan_again(run)
        splits = {name: rows for name, rows in ready.splits.items() if answer or name != "test"}
        try:
            training.complete(run, replace(ready, splits=splits))
        finally:
            quiet_libraries()  # while it trained, they wrote to its log
            release_memory()
        return run

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Inside, this process alone works on the series, whose state says so; afterwards it says how that ended.

        Raises AffinageError when another process works on it, or when its config or its data changed since it began.
        """
        with Run(self.folder).held():
            _check_unchanged(self)
            self.record(status="running", error=None)
            try:
                yield
            except BaseException as error:
                stopped = isinstance(error, KeyboardInterrupt)
                self.record(status="interrupted" if stopped else "failed", error=repr(error))
                raise
            self.record(status="finished")


def load(kind: str, folder: Path) -> Series:
    """The series in a folder, as its state file says."""
    return Series(kind, folder, json.loads((folder / f"{kind}.json").read_text(encoding="utf-8")))


def create(
    kind: str, config: Path, overrides: str, ready: "Plan", results: Path, files: Mapping[str, str], **state: Any
) -> Series:
    """A new series: its folder with text files in it, and last the state, without which a folder is no series."""
    from affinage.provenance import describe_data

    parent = results / ready.task / ready.name
    parent.mkdir(parents=True, exist_ok=True)
    folder = _new_folder(parent, kind)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    series = Series(kind, folder, {})
    series.record(
        version=VERSION,
        task=ready.task,
        config=ready.name,
        config_file=str(config.resolve()),
        config_sha256=data.sha256(config),
        set=overrides,
        data=describe_data(ready.dataset, ready.files, ready.splits, ready.dropped),
        files={name: data.sha256(folder / name) for name in files},
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=[Path(sys.argv[0]).name, *sys.argv[1:]],
        status="running",
        **state,
    )
    return series


def _new_folder(parent: Path, kind: str) -> Path:
    stem = f"{kind}-{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}"
    folder, attempt = parent / stem, 1
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            attempt += 1
            folder = parent / f"{stem}-{attempt}"
        else:
            return folder


def find_series(kind: str, name: str, results: Path) -> Series:
    """The series of that id or folder below `results`; "last" is the newest among those that are not finished.

    Raises AffinageError when there is none, or more than one.
    """
    paths = results.glob(f"*/*/{kind}-*/{kind}.json")
    found = [load(kind, path.parent) for path in paths]
    newest_first = sorted(found, key=lambda series: series.folder.name, reverse=True)
    if name == "last":
        chosen = [series for series in newest_first if series.state["status"] != "finished"][:1]
    else:
        chosen = [s for s in newest_first if name in (s.folder.name, str(s.folder), display(s.folder))]
    if len(chosen) != 1:
        recent = ", ".join(series.folder.name for series in newest_first[:5])
        what = "nothing that is unfinished." if name == "last" else f"{len(chosen)} of that name."
        raise AffinageError(Problem(f"{kind} {name}", what, recent or f"no {kind} yet", "Name one by its id."))
    return chosen[0]


def _check_unchanged(series: Series) -> None:
    """Raises AffinageError naming the files of the config and the data that are no longer what they were."""
    state = series.state
    files = {series.config: state["config_sha256"]}
    files |= {series.folder / name: sha for name, sha in state["files"].items()}
    if state["data"]["files"]:
        there = {path.name: path for path in data.dataset_files(state["task"], state["data"]["dataset"])}
        files |= {there.get(file["name"], Path(file["name"])): file["sha256"] for file in state["data"]["files"]}
    changed = [path for path, sha in files.items() if not path.is_file() or data.sha256(path) != sha]
    if changed:
        raise AffinageError(
            Problem(
                series.folder.name,
                f"these files have changed since it began: {', '.join(map(display, changed))}.",
                remedy=f"Put them back as they were, or start a new {series.kind}.",
            )
        )


def time_left(started: float, done: int, left: int) -> str:
    """How long `left` more will take when `done` took since `started` (time.monotonic()); empty before the first."""
    if not done:
        return ""
    seconds = (time.monotonic() - started) / done * left
    return f", about {seconds / 60:.0f} min to go" if seconds >= 90 else f", about {seconds:.0f} s to go"


def release_memory() -> None:
    """Lets go of a model that is no longer used, on the GPU too, before the next one is loaded."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
