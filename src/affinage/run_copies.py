"""A copy of a run folder on a store that fsspec knows (s3://, gs://, file:// and others), kept while it trains.

A machine that is taken away loses nothing but the steps since the last checkpoint: another one goes on from the copy.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import FileSystem
from tqdm import tqdm

from affinage.errors import AffinageError, Problem
from affinage.paths import display
from affinage.runs import Run, find_run

KEY = "backend.storage"
BY_ARROW = ("s3://", "gs://")  # pyarrow brings what these need
WHOLE_AT_ONCE = ("s3", "gs", "gcs", "abfs", "az", "memory")  # an object there is the old one or the new one
LEFT_OUT = (".lock", "model/rows/")  # what a run that goes on makes anew
# A copy that breaks off goes on as if it had been made after the checkpoint before.
LAST = ("best.pt", "previous.pt", "latest.pt", "run.json")


def storage_of(config: Mapping[str, Any]) -> str:
    """The address below which a config wants its runs copied; "" when it does not."""
    section = config.get("backend")
    return (section.get("storage") or "") if isinstance(section, Mapping) else ""


def check(config: Mapping[str, Any]) -> None:
    """Raises AffinageError for an address that nothing can be written below."""
    address = storage_of(config)
    if not address:
        return
    store, root = _open(address)
    probe = f"{root}/.affinage"
    try:
        store.makedirs(root, exist_ok=True)
        store.pipe_file(probe, b"written to see whether it can be")
        store.rm_file(probe)
    except Exception as error:  # whatever the store's client raises
        raise _unreachable(address, f"cannot be written to: {error}") from error


def _open(address: str) -> tuple[Any, str]:
    """The file system and the path on it."""
    if urlsplit(address).password:
        found = "holds a password, which would stand in every file that names it."
        raise AffinageError(Problem(KEY, found, remedy="Put the credentials into the environment."))
    try:
        if address.startswith(BY_ARROW):
            store, root = FileSystem.from_uri(address)
            return ArrowFSWrapper(store), root.rstrip("/")
        store, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        remedy = "Install that package into .venv."
        found = f"needs a package that is not installed: {error}."
        raise AffinageError(Problem(f"{KEY} '{address}'", found, remedy=remedy)) from error
    except Exception as error:  # as above
        raise _unreachable(address, f"cannot be opened: {error}") from error
    return store, root.rstrip("/")


def _unreachable(address: str, found: str) -> AffinageError:
    remedy = "Check the address and the credentials in the environment."
    allowed = "s3://bucket/folder, or another of fsspec"
    return AffinageError(Problem(f"{KEY} '{address}'", found.rstrip(".") + ".", allowed, remedy))


class RunCopy:
    """Copies what has changed in the folder of a run, when `update` is called."""

    def __init__(self, run: Run, address: str) -> None:
        self._folder, self._copied = run.folder, dict[str, tuple[int, int]]()
        self._store, root = _open(address)
        self.place = "/".join([root, *(run.manifest[key] for key in ("task", "config", "run_id"))])

    def update(self) -> str:
        """Copies what is new; returns "" or why it could not, and the next one tries again."""
        try:
            for name in _files(self._folder):
                path = self._folder / name
                status = path.stat()
                state = (status.st_mtime_ns, status.st_size)
                if self._copied.get(name) != state:
                    self._put(path, f"{self.place}/{name}")
                    self._copied[name] = state
        except Exception as error:  # whatever the store's client raises; the run itself is on this machine's disk
            return f"the copy at {self.place} could not be brought up to date: {error}"
        return ""

    def _put(self, path: Path, target: str) -> None:
        self._store.makedirs(target.rpartition("/")[0], exist_ok=True)
        protocols = self._store.protocol if isinstance(self._store.protocol, tuple) else (self._store.protocol,)
        if any(name in WHOLE_AT_ONCE for name in protocols):
            self._store.put_file(str(path), target)
        else:
            self._store.put_file(str(path), f"{target}.partial")
            self._store.mv(f"{target}.partial", target)


def copies(run: Run, config: Mapping[str, Any]) -> list[RunCopy]:
    """The copy that a config wants of a run, if any."""
    address = storage_of(config)
    return [RunCopy(run, address)] if address else []


def bring_up_to_date(run: Run, kept: list[RunCopy]) -> None:
    """Copies what a run has written since its last checkpoint; says and records why, when it cannot."""
    for copy in kept:
        if reason := copy.update():
            tqdm.write(f"warning: {reason}", file=sys.stderr)
            run.record(storage={"place": copy.place, "error": reason})


def _files(folder: Path) -> Iterator[str]:
    """What is copied, by path in the folder, in an order that may be broken off at any place."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    names = [name for name in names if not name.startswith(LEFT_OUT) and not name.endswith(".partial")]
    yield from sorted(names, key=lambda name: (_rank(name), name))


def _rank(name: str) -> int:
    last = name.rpartition("/")[2]
    return LAST.index(last) + 1 if last in LAST else 0


def fetch(address: str, results: Path) -> Run:
    """The run whose copy is at `address`, put below `results`, where it is not yet.

    Raises AffinageError when there is no copy of a run, or the run is there.
    """
    store, root = _open(address)
    try:
        manifest = json.loads(store.cat_file(f"{root}/run.json"))
        folder = results.joinpath(*(manifest[key] for key in ("task", "config", "run_id")))
    except FileNotFoundError as error:
        remedy = "Name the folder that holds run.json: <storage>/<task>/<config>/<run>."
        raise AffinageError(Problem(address, "no copy of a run is there.", remedy=remedy)) from error
    except Exception as error:  # whatever the store's client raises
        raise _unreachable(address, f"cannot be read: {error}") from error
    if folder.exists():
        remedy = f"Go on with it: make train RESUME={folder.name}"
        raise AffinageError(Problem(display(folder), "is on this machine already.", remedy=remedy))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetched-", dir=folder.parent) as place:
        store.get(f"{root}/", f"{place}/run/", recursive=True)
        shutil.move(Path(place) / "run", folder)
    return find_run(str(folder))
