"""Which label each system answered where which was right: the confusion matrices of a comparison."""

from collections.abc import Iterable
from typing import NamedTuple

from affinage.comparison.systems import System
from affinage.scoring.classification import UNPARSED

SHADES = 10


class Count(NamedTuple):
    """How many answers named a label; `shade` (0..10) is their share of the line, `right` when it is the right one."""

    n: int
    shade: int
    right: bool


class Line(NamedTuple):
    """The answers to the rows of one label, by the labels they named."""

    label: str
    n: int
    counts: list[Count]


class Matrix(NamedTuple):
    """One system's answers: a line for each label that references have, a column for each that answers may name."""

    key: str
    name: str
    labels: list[str]
    lines: list[Line]


def confusion_matrices(systems: Iterable[System]) -> list[Matrix]:
    """One matrix for each system that was scored by a suite with labels; answers that name none have the last column.

    That column is left out where it is empty for all, and so are lines of labels that no reference has.
    """
    found = [(system, stored) for system in systems if system.kind in (stored := _stored(system))]
    unparsed = any(line[-1] for system, stored in found for line in stored[system.kind])
    return [_matrix(system, stored["labels"], stored[system.kind], unparsed) for system, stored in found]


def _stored(system: System) -> dict:
    return system.answers.metrics.get("confusion", {})


def _matrix(system: System, labels: list[str], counts: list[list[int]], unparsed: bool) -> Matrix:
    columns = [place for place, label in enumerate(labels) if label != UNPARSED or unparsed]
    lines = [
        _line(label, place, [counts[place][column] for column in columns])
        for place, label in enumerate(labels)
        if sum(counts[place])
    ]
    return Matrix(system.key, system.name, [labels[column] for column in columns], lines)


def _line(label: str, place: int, counts: list[int]) -> Line:
    n = sum(counts)
    return Line(label, n, [Count(k, -(-SHADES * k // n), column == place) for column, k in enumerate(counts)])
