"""Evens out how many training rows each label has: caps, samples down, or repeats rows."""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from affinage.curation.rows import Counts, Row
from affinage.errors import AffinageError, Problem

STEP = "balance"
RULES = "cap=N, downsample, downsample=N, upsample or upsample=N, with N of at least 1"


@dataclass(frozen=True)
class Balance:
    """What to do with each label: `cap` and `downsample` take rows away above a number, `upsample` repeats up to one.

    Without `n`, `downsample` goes to the rarest label and `upsample` to the most frequent one.
    """

    method: Literal["cap", "downsample", "upsample"]
    n: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Balance":
        """The rule written as "cap=100", "downsample" or "upsample=50"; raises ValueError for anything else."""
        found = re.fullmatch(r"(cap)=([1-9][0-9]*)|(downsample|upsample)(?:=([1-9][0-9]*))?", text.strip())
        if not found:
            raise ValueError(f"'{text}' is no rule.")
        n = found[2] or found[4]
        return cls(found[1] or found[3], int(n) if n else None)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Balanced:
    """How often each row is to be written, and the rows of each label before and after."""

    copies: np.ndarray  # (rows,) int64: 0 drops the row, 1 keeps it, above 1 repeats it
    table: dict[str, tuple[int, int]]


def balance(labels: Sequence[str], rule: Balance, seed: int) -> Balanced:
    """How often to write each training row so that the labels are as even as the rule asks.

    Which rows go, and which are repeated once more than others of their label, is drawn with the seed. A row with the
    label "" is left as it is. Raises AffinageError when no row has a label.
    """
    found: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        found.setdefault(label, []).append(row)
    sizes = {label: len(rows) for label, rows in found.items() if label}
    if not sizes:
        raise AffinageError(Problem("balance", "no training row has a label.", remedy="Name a label column."))
    copies = np.ones(len(labels), dtype=np.int64)
    rng = random.Random(seed)
    for label in sorted(sizes):
        copies[found[label]] = _copies(sizes[label], rule, sizes, rng)
    return Balanced(copies, {label: (len(rows), int(copies[rows].sum())) for label, rows in sorted(found.items())})


def repeat(rows: Iterable[tuple[Row, int]], ids: Iterable[str], counts: Counts) -> Iterator[Row]:
    """Each row as often as its number says; the second copy of "a" is "a~2", in the same group.

    `ids` are those in use, so that no new one meets an old one. Counts what is dropped and what is added.
    """
    used = set(ids)
    for row, copies in rows:
        label = row.get("label", "")
        counts.add(STEP, "seen")
        if copies:
            yield row
        else:
            counts.add(STEP, f"dropped: too many rows of the label '{label}'", example=str(row["instruction"]))
        for copy in range(2, copies + 1):
            counts.add(STEP, f"added: repeated rows of the label '{label}'")
            yield row | {"id": unused(row["id"], copy, used)}


def unused(stem: str, number: int, used: set[str]) -> str:
    """The id "stem~number", with the next number as long as that one is in use; puts it among the used ones."""
    while (name := f"{stem}~{number}") in used:
        number += 1
    used.add(name)
    return name


def _copies(rows: int, rule: Balance, sizes: dict[str, int], rng: random.Random) -> np.ndarray:
    if rule.method == "upsample":
        target = max(rows, rule.n or max(sizes.values()))
    else:
        target = min(rows, rule.n or min(sizes.values()))
    copies = np.full(rows, target // rows, dtype=np.int64)
    copies[rng.sample(range(rows), target % rows)] += 1
    return copies
