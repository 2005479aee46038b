"""Rows that repeat others, within a split and from one split to another, with examples side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from affinage.curation.duplicates import row_text
from affinage.curation.leaks import LeakExample, find_leaks
from affinage.curation.minhash import NearDuplicates
from affinage.curation.personal_data import hidden
from affinage.curation.rows import Row

EXAMPLES = 3  # of each kind and split
LONGEST = 600  # characters shown of a text


@dataclass(frozen=True)
class Place:
    """A row, by its split and its name (its id, or "row 3" without one; the first is 1), and a text of it."""

    split: str
    row: str
    text: str


@dataclass(frozen=True)
class PairOfRows:
    """Two rows and how alike they are: the Jaccard index of their character 5-grams (0..1), None for a shared group."""

    first: Place
    second: Place
    similarity: float | None


@dataclass(frozen=True)
class Duplicates:
    """By split, the rows that repeat an earlier one: exactly (case and white space aside) or nearly."""

    threshold: float
    exact: dict[str, int]
    near: dict[str, int]
    examples: list[PairOfRows]


@dataclass(frozen=True)
class LeakFigures:
    """One way in which two splits meet: on a "question", an "answer" or a "group", "exact" or "near".

    `first_rows` rows of the split `first` meet `second_rows` of the split `second`, the one nearer to the test.
    """

    first: str
    second: str
    on: str
    kind: str
    severity: str
    first_rows: int
    second_rows: int
    examples: list[PairOfRows]


def place_of(split: str, number: int, row: Row, text: str) -> Place:
    """Row `number` (from 0) of a split, with a text of it."""
    return Place(split, hidden(row.get("id") or f"row {number + 1}"), shown(text))


def shown(text: str) -> str:
    """The text as a page may show it: personal data masked, and cut when it is long."""
    masked = hidden(text)
    return masked if len(masked) <= LONGEST else masked[: LONGEST - 1] + "…"


def find_duplicates(splits: Mapping[str, Sequence[Row]], threshold: float) -> Duplicates:
    """Compares whole rows (question and answer) within each split.

    A near duplicate belongs to a cluster linked by pairs whose index is at least `threshold`, and is not its first.
    """
    exact, near, examples = {}, {}, []
    for name, rows in splits.items():
        index = NearDuplicates(threshold)
        index.add(row_text(row) for row in rows)
        same, cluster, own = index.identical(), index.clusters(), np.arange(len(rows))
        repeats, resembles = same != own, (cluster != own) & (same == own)
        exact[name], near[name] = int(repeats.sum()), int(resembles.sum())
        for firsts, wanted in ((same, repeats), (cluster, resembles)):
            for second in np.flatnonzero(wanted)[:EXAMPLES].tolist():
                first = int(firsts[second])
                a, b = (place_of(name, at, rows[at], row_text(rows[at])) for at in (first, second))
                examples.append(PairOfRows(a, b, round(index.jaccard(first, second), 3)))
    return Duplicates(threshold, exact, near, examples)


def leak_figures(splits: Mapping[str, Sequence[Row]], threshold: float) -> list[LeakFigures]:
    """What train shares with validation and test, and validation with test, as `find_leaks` defines it."""
    report = find_leaks(splits, threshold, examples=EXAMPLES)
    return [
        LeakFigures(
            leak.first,
            leak.second,
            leak.on,
            leak.kind,
            leak.severity,
            len(leak.first_rows),
            len(leak.second_rows),
            [_pair(leak.first, leak.second, example) for example in leak.examples],
        )
        for leak in report.leaks
    ]


def _pair(first: str, second: str, example: LeakExample) -> PairOfRows:
    similarity = None if example.similarity is None else round(example.similarity, 3)
    return PairOfRows(
        Place(first, hidden(example.first_id), shown(example.first_text)),
        Place(second, hidden(example.second_id), shown(example.second_text)),
        similarity,
    )
