"""The files of a source: one, or all of one family in a folder, each with its fingerprint."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from affinage.curation.formats.encodings import open_binary
from affinage.curation.formats.recognition import FORMATS, SUFFIXES
from affinage.errors import AffinageError, Problem
from affinage.paths import display

# Files that lie beside data and are none, by their name without ending or whole.
NO_DATA_STEMS = ("readme", "license", "licence", "copying", "notice", "citation", "changelog", "authors")
NO_DATA_NAMES = ("manifest.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")


@dataclass(frozen=True)
class SourceFile:
    """One file that rows come from, how to know it again, and how many line ends it has."""

    path: Path
    sha256: str
    bytes: int
    lines: int = 0


def fingerprint(path: Path) -> SourceFile:
    """The file with the SHA-256 of its bytes, read once. Raises AffinageError when it may not be read."""
    digest, size, lines = hashlib.sha256(), 0, 0
    with open_binary(path) as file:
        for chunk in iter(lambda: file.read(2**20), b""):
            digest.update(chunk)
            size += len(chunk)
            lines += chunk.count(b"\n")
    return SourceFile(path, digest.hexdigest(), size, lines)


def data_files(place: Path, format: str) -> tuple[list[Path], list[str]]:
    """The files at a place, sorted, and sentences about those in a folder that are not read.

    Links in a folder are never followed. Raises AffinageError when there is no file, or files of several families.
    """
    if _is_file(place):
        return [place], []
    if not place.is_dir():
        found = "a link that leads nowhere or in a circle." if place.is_symlink() else "no such file or folder."
        raise AffinageError(Problem(str(place), found, "a file, a folder, hf://user/name or ludwig://name"))
    files, notes = _below(place)
    by_family: dict[str, list[Path]] = {}
    for path in files:
        by_family.setdefault(_family(path), []).append(path)
    chosen = _choice(set(by_family) - {""}, format)
    if chosen not in by_family:
        raise _no_choice(place, by_family, notes)
    left_out = sorted(path for family in by_family if family != chosen for path in by_family[family])
    if left_out:
        notes.append(f"not read: {', '.join(_short(place, left_out))}")
    return by_family[chosen], notes


def _family(path: Path) -> str:
    no_data = path.name in NO_DATA_NAMES or path.stem.casefold() in NO_DATA_STEMS or not _is_file(path)
    return "" if no_data else SUFFIXES.get(path.suffix.lower(), "")


def _choice(families: set[str], format: str) -> str:
    """The family to read: the one that the format names, or the only one, text files aside."""
    if FORMATS.get(format):
        return FORMATS[format]
    likely = families - {"text"} or families
    return next(iter(likely)) if len(likely) == 1 else "none"


def _no_choice(folder: Path, by_family: dict[str, list[Path]], notes: list[str]) -> AffinageError:
    counted = ", ".join(f"{len(files)} of {family or 'no format'}" for family, files in sorted(by_family.items()))
    found = f"the folder holds files that do not make one source: {counted}." if counted else "an empty folder."
    remedy = "Name one file, or the format with FORMAT=."
    return AffinageError(Problem(display(folder), found, f"files of one kind: {', '.join(SUFFIXES)}", remedy), *notes)


def _below(folder: Path) -> tuple[list[Path], list[str]]:
    """The files below a folder, sorted, and a sentence for each link; hidden files and folders are passed over."""
    files, links = [], []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*folders, *names):
            path = Path(parent, name)
            if path.is_symlink():
                links.append(f"{path.relative_to(folder).as_posix()} is not read: {_about_link(folder, path)}")
            elif name in names and not name.startswith("."):
                files.append(path)
    return sorted(files), sorted(links)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    found = f"cannot be opened: {error.strerror}."
    raise AffinageError(Problem(str(error.filename), found, remedy="Check the rights.")) from error


def _about_link(folder: Path, link: Path) -> str:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # the latter for a circle, before Python 3.13
        return "a link that leads nowhere or in a circle"
    if target.is_relative_to(folder.resolve()):
        return "a link to a place in the same folder"
    return "a link out of the folder"


def _short(folder: Path, paths: list[Path]) -> list[str]:
    names = [path.relative_to(folder).as_posix() for path in paths]
    return names if len(names) <= 5 else [*names[:4], f"{len(names) - 4} more"]
