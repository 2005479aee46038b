"""Run folders: results/<task>/<config>/<run-id>/, each with a run.json that explains it."""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, display

MANIFEST_VERSION = 1
USER_CONFIG = "user_config.yaml"  # the config of a run as it was given


@dataclass
class Run:
    """One run folder and its manifest, which is written again at every `record`."""

    folder: Path
    manifest: dict[str, Any] = field(default_factory=dict)

    def record(self, **entries: Any) -> None:
        """Adds entries to run.json."""
        manifest = self.manifest | entries
        write_json(self.folder / "run.json", manifest)
        self.manifest = manifest

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, this process alone works on the run. Raises AffinageError when another process does."""
        with held(self._lock_file, f"run {self.folder.name}"):
            yield

    @property
    def _lock_file(self) -> Path:
        return self.folder / ".lock"

    @property
    def status(self) -> str:
        """What run.json says; "killed" when that is "running" and no process works on the run."""
        status = self.manifest["status"]
        if status != "running":
            return status
        lock = _lock(self._lock_file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return status
        lock.release()
        return "killed"

    @property
    def model_folder(self) -> Path:
        return self.folder / "model"

    @property
    def weights_folder(self) -> Path:
        """The adapter (or the full model) with the tokenizer beside it."""
        return self.model_folder / "model_weights"


@contextmanager
def held(lock_file: Path, name: str, found: str = "another process is working on it.") -> Iterator[None]:
    """Inside, this process alone works on what the lock file stands for; the system lets go when the process dies.

    Raises AffinageError about `name`, saying `found`, when another process holds it.
    """
    lock = _lock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        remedy = "Wait, or stop that one."
        raise AffinageError(Problem(name, found, remedy=remedy)) from error
    try:
        yield
    finally:
        lock.release()


def _lock(path: Path) -> FileLock:
    return FileLock(path, is_singleton=False)


def new_folder(task: str, name: str, results: Path = RESULTS) -> Path:
    """A new folder named after the moment (UTC); no two runs are ever given the same one."""
    parent = results / task / name
    parent.mkdir(parents=True, exist_ok=True)
    stem = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for attempt in range(1, 1000):
        folder = parent / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise RuntimeError(f"no free run folder below {parent}")


def create_run(task: str, name: str, results: Path = RESULTS, files: Mapping[str, str] | None = None, **entries) -> Run:
    """A new run: its folder with text files in it, and last the manifest, without which a folder is no run."""
    folder = new_folder(task, name, results)
    for file, text in (files or {}).items():
        (folder / file).write_text(text, encoding="utf-8")
    run = Run(folder)
    run.record(
        version=MANIFEST_VERSION,
        task=task,
        config=name,
        run_id=folder.name,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=[Path(sys.argv[0]).name, *sys.argv[1:]],
        status="running",
        **entries,
    )
    return run


def all_runs(results: Path = RESULTS) -> list[Run]:
    """Every run below `results`, the one started last first."""
    runs = [_run_in(path.parent) for path in results.glob("*/*/*/run.json")]
    return sorted(runs, key=lambda run: (run.manifest["started"], run.folder.name), reverse=True)


def _run_in(folder: Path) -> Run:
    path = folder / "run.json"
    try:
        return Run(folder, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        remedy = "Put it back as it was, or move the folder elsewhere."
        raise AffinageError(Problem(display(path), f"is no JSON: {error}.", remedy=remedy)) from error


def find_run(run_id: str, results: Path = RESULTS) -> Run:
    """The run of that id below `results`, or of that folder anywhere.

    "last" is the one started last among those that ended early. Raises AffinageError when there is none, or more
    than one.
    """
    if (Path(run_id) / "run.json").is_file():
        return _run_in(Path(run_id).resolve())
    runs = all_runs(results)
    if run_id == "last":
        found = [run for run in runs if run.status not in ("finished", "running")][:1]
    else:
        found = [run for run in runs if run.folder.name == run_id]
    if len(found) != 1:
        recent = ", ".join(run.folder.name for run in runs[:5])
        what = "no run that ended early." if run_id == "last" else f"{len(found)} runs of that name."
        raise AffinageError(Problem(f"run {run_id}", what, recent or "no run yet", "Name one by its id or its folder."))
    return found[0]


def newest_or_named(run_id: str, results: Path = RESULTS) -> Run:
    """The run of that id, or for "last" the one started last, however it ended. Raises AffinageError without one."""
    newest = all_runs(results)[:1] if run_id == "last" else []
    return newest[0] if newest else find_run(run_id, results)


def write_json(path: Path, content: Mapping[str, Any] | list[Any]) -> None:
    """Writes JSON (UTF-8, NaN and infinity as null) under a temporary name, then renames it into place."""
    partial = path.with_name(path.name + ".partial")
    text = json.dumps(_plain(content), ensure_ascii=False, indent=2, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    """Writes one JSON object per line, under a temporary name first."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(map(json_line, records)), encoding="utf-8")
    partial.replace(path)


def json_line(record: Mapping[str, Any]) -> str:
    """The record as one line of JSON, NaN and infinity as null."""
    return json.dumps(_plain(record), ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
