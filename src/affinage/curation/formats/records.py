"""A stream of records, the place of each one in its file, and the row that is made from it."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affinage.curation.rows import TEXTS, Counts, Row, ordered
from affinage.errors import AffinageError, Problem
from affinage.paths import display

STEP = "read"
MAX_CHARS = 32 * 2**20  # of one line, one record or one text
MAX_DEPTH = 100  # lists and objects within each other
SPLIT_NAMES = {
    "0": "train",
    "1": "validation",
    "2": "test",
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}

Record = tuple[int, dict[str, Any]]
Records = Callable[[], Iterator[Record]]


@dataclass(frozen=True)
class RecordFile:
    """One file, or one split of a dataset elsewhere, opened far enough to know its columns.

    `records` starts the stream anew each time it is called. Its numbers count from 1 and are lines when `unit` is
    "line", else rows or records. `name` is how rows name the file, `shown` how messages do.
    """

    name: str
    shown: str
    kind: str
    unit: str
    records: Records
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    total: int | None = None
    split: str = ""

    def where(self, n: int) -> str:
        """Record `n` as an error message names it."""
        return f"{self.shown}:{n}" if self.unit == "line" else f"{self.shown}: {self.unit} {n}"


def broken(
    path: Path, line: int | None, found: str, remedy: str = "Mend the file.", allowed: str = ""
) -> AffinageError:
    """The error for a file that cannot be read; `line` counts from 1."""
    return AffinageError(Problem(display(path) + (f":{line}" if line else ""), found, allowed, remedy))


class Place:
    """One record's place in its source, and the book in which what becomes of it is counted."""

    __slots__ = ("counts", "file", "n")

    def __init__(self, file: RecordFile, n: int, counts: Counts) -> None:
        self.file, self.n, self.counts = file, n, counts

    @property
    def source(self) -> str:
        return f"{self.file.name}#{self.n}"

    @property
    def where(self) -> str:
        return self.file.where(self.n)

    def drop(self, reason: str, detail: str = "") -> None:
        """Counts one row that cannot be made, with where it would have come from."""
        self.counts.add(STEP, "seen")
        self.counts.add(STEP, f"dropped: {reason}", example=self.where + (f": {detail}" if detail else ""))

    def text(self, name: str, value: Any) -> str | None:
        """A value as text: "" for null, a number as it is written, and counted; None for a list or an object.

        Raises AffinageError for NaN, an infinity, and a text that is too long.
        """
        if value is None:
            return ""
        if isinstance(value, str):
            if len(value) > MAX_CHARS:
                raise AffinageError(
                    Problem(self.where, f"'{name}' has {len(value):,} characters.", f"{MAX_CHARS:,}", "Shorten it.")
                )
            return value
        if not isinstance(value, bool | int | float):
            return None
        if isinstance(value, float) and not math.isfinite(value):
            raise AffinageError(Problem(self.where, f"'{name}' is {value}.", "text", "Mend the record."))
        self.counts.add(STEP, "changed: number written as text", example=f"{self.where}: {name} {value}")
        return _name(value)

    def row(
        self,
        texts: Mapping[str, Any],
        id: Any = None,
        group: Any = None,
        label: Any = None,
        others: Mapping[str, Any] | None = None,
    ) -> Row | None:
        """The row of these texts; None, and a count, when all are blank or one is neither text nor number.

        A missing id is the place of the record, a missing group is the id. A column of `others` that would hide one
        of the row's own is renamed original_<name>.
        """
        row: Row = {}
        for name in TEXTS:
            text = self.text(name, texts.get(name))
            if text is None:
                self.drop(f"{name} is neither text nor number", type(texts[name]).__name__)
                return None
            row[name] = text
        if not any(row[name].strip() for name in TEXTS):
            self.drop("blank row")
            return None
        row["id"] = _name(id) or self.source
        row["group"] = _name(group) or row["id"]
        if _name(label):
            row["label"] = _name(label)
        row["source"] = self.source
        self._add_others(row, others or {})
        self.counts.add(STEP, "seen")
        return ordered(row)

    def _add_others(self, row: Row, others: Mapping[str, Any]) -> None:
        split = self.file.split
        for name, value in others.items():
            if name == "split":
                split = SPLIT_NAMES.get(_name(value).casefold(), value)
                continue
            while name in row:
                name = f"original_{name}"
            row[name] = value
        if split not in ("", None):
            row["split"] = split


def _name(value: Any) -> str:
    """An id, a group or a label as text: "" for none, a whole number without a decimal point."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip() if isinstance(value, str) else str(value)
