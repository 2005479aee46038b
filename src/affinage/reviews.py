"""Thumbs that people gave to answers, one JSON object a line, for `make data` and `make calibrate`."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from affinage.errors import AffinageError, Problem
from affinage.paths import display
from affinage.runs import json_line

FILE = "reviews.jsonl"
COLUMN = "review"
UP, DOWN = "up", "down"
SCORES = {UP: 100.0, DOWN: 0.0}  # on the scale of judges


def review(path: Path, row: Mapping[str, Any], thumb: str | None) -> None:
    """Adds a thumb (UP or DOWN) about a training row, whose `id` is that of the answer; None takes it back.

    An answer has one line: an earlier one about it is replaced, under a temporary name first. Raises AffinageError
    where nothing can be written.
    """
    when = datetime.now(UTC).isoformat(timespec="seconds")
    line = json_line({**row, COLUMN: thumb, "reviewed": when}) if thumb else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            _write(path, row["id"], line)
    except OSError as error:
        raise AffinageError(Problem(display(path), f"cannot be written: {error.strerror}.")) from error


def _write(path: Path, answer: str, line: str) -> None:
    before = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    others = [old for old in before if not _is_about(old, answer)]
    if len(others) == len(before) and before and before[-1].endswith("\n") and line:
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        return
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(old if old.endswith("\n") else old + "\n" for old in others) + line, encoding="utf-8")
    partial.replace(path)


def _is_about(line: str, answer: str) -> bool:
    try:
        value = json.loads(line)
    except ValueError:  # a person may have edited the file; readers will name the line
        return False
    return isinstance(value, dict) and value.get("id") == answer
