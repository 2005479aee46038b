"""A dataset folder that appears whole or not at all."""

import shutil
import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from affinage.data import READERS, SPLITS
from affinage.errors import AffinageError, Problem
from affinage.paths import display

MANIFEST = "manifest.json"
PID = "pid"


@contextmanager
def staged(target: Path, replace: bool = False, sources: Collection[Path] = ()) -> Iterator[Path]:
    """An empty folder to fill, which becomes `target` at the end of the block; after an error nothing is left of it.

    With `replace`, the splits and the manifest that `target` holds stay until then and go; its other files (a card,
    raw data) are kept in any case. Ctrl-C and SIGTERM count as errors; what a killed process left behind is removed
    by the next one. Raises AffinageError when `target` holds data and `replace` is false, when one of the `sources`
    would be replaced, or while another process fills the same folder.
    """
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    _recover(target)
    _check(target, replace, sources)
    partial = _claim(target)
    try:
        with _stopped_by_sigterm():
            yield partial
            (partial / PID).unlink()
            _take_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}-old")


def _is_replaced(path: Path) -> bool:
    return path.name == MANIFEST or (path.stem in SPLITS and path.suffix in READERS)


def _check(target: Path, replace: bool, sources: Collection[Path]) -> None:
    if target.exists() and not target.is_dir():
        raise AffinageError(Problem(display(target), "is a file.", "a folder or nothing"))
    given = {path.resolve() for path in sources}
    own = [path for path in target.glob("*") if path.resolve() in given and _is_replaced(path)]
    if own:
        remedy = "Move the source out of the dataset's folder, or choose another task."
        raise AffinageError(Problem(display(own[0]), "is a source and would be replaced.", remedy=remedy))
    held = sorted(path.name for path in target.glob("*") if path.suffix in READERS and path.resolve() not in given)
    if held and not replace:
        shown = ", ".join(held[:4]) + (", …" if len(held) > 4 else "")
        remedy = "Make it again with REPLACE=1 (--replace), or choose another task."
        raise AffinageError(Problem(display(target), f"holds data already: {shown}.", remedy=remedy))


def _claim(target: Path) -> Path:
    """Makes the partial folder, marked with this process; takes it over from a process that is no more."""
    partial = target.with_name(f".{target.name}-partial")
    try:
        partial.mkdir()
    except FileExistsError:
        if (owner := _owner(partial)) is not None:
            found = f"process {owner} is making this dataset."
            raise AffinageError(Problem(display(target), found, remedy="Wait for it, or stop it.")) from None
        shutil.rmtree(partial)
        partial.mkdir()
    me = psutil.Process()
    (partial / PID).write_text(f"{me.pid} {me.create_time()}", encoding="utf-8")
    return partial


def _owner(partial: Path) -> int | None:
    """The process that fills the folder, unless it has ended; a number used again by another process is not it."""
    try:
        pid, started = (partial / PID).read_text(encoding="utf-8").split()
        return int(pid) if psutil.Process(int(pid)).create_time() == float(started) else None
    except (OSError, ValueError, psutil.Error):
        return None


def _take_place(partial: Path, target: Path) -> None:
    if not target.exists():
        partial.rename(target)
        return
    for path in target.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, partial / path.name, symlinks=True)
        elif not _is_replaced(path):
            shutil.copy2(path, partial / path.name, follow_symlinks=False)
    target.rename(_old(target))
    try:
        partial.rename(target)
    finally:
        _recover(target)


def _recover(target: Path) -> None:
    """Puts the old dataset back when the new one did not take its place; else removes it."""
    if _old(target).exists() and not target.exists():
        _old(target).rename(target)
    shutil.rmtree(_old(target), ignore_errors=True)


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Inside, SIGTERM does what Ctrl-C does; off the main thread, where no signal arrives, nothing changes."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
