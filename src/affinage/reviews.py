"""Thumbs that people gave to answers, one JSON object a line, for `make data` and `make calibrate`."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import display
from affinage.runs import json_line

FILE = "reviews.jsonl"
COLUMN, ANSWER = "review", "answered"
UP, DOWN = "up", "down"
SCORES = {UP: 100.0, DOWN: 0.0}  # on the scale of judges


@dataclass(frozen=True)
class Review:
    """A thumb about an answer of a model ("base", "tuned" ...); `prompt` is "" where it was not asked alone."""

    thumb: str
    model: str
    answer: str
    prompt: str


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


def read_reviews(path: Path) -> list[Review]:
    """Every thumb of a file. Raises AffinageError with all that is wrong in it, with line numbers."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AffinageError(Problem(display(path), f"cannot be read: {error}.")) from error
    problems, found = list[Problem | str](), []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            texts = (row["model"], row[ANSWER], row.get("prompt") or "")
            if row[COLUMN] not in SCORES or not all(isinstance(text, str) for text in texts):
                raise ValueError("it is no thumb")
            found.append(Review(row[COLUMN], *texts))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            remedy = "Put the line back as it was, or take it out."
            problems.append(Problem(f"{display(path)}:{number}", f"no review: {error}.", remedy=remedy))
    raise_all(problems)
    return found


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
