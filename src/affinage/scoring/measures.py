"""What a metric is made of, so that it can be resampled: per row, what is added up; over rows, what the sums mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Measure:
    """One metric of one system on some rows.

    `sums` (rows, parts) holds what is added up over rows, `of_sums` turns sums (..., parts) into values (...), NaN
    where there is none; `rows` (rows,) is each row's own value, NaN where it has none.
    """

    sums: Array
    of_sums: Callable[[Array], Array]
    rows: Array

    def value(self) -> float:
        """The metric over all rows; NaN when it has none."""
        return float(self.of_sums(self.sums.sum(axis=0)))

    def part(self, chosen: np.ndarray) -> "Measure":
        """The same metric on the rows that `chosen` (indices) names."""
        return Measure(self.sums[chosen], self.of_sums, self.rows[chosen])


@dataclass(frozen=True)
class Diversity:
    """Distinct bigrams over all bigrams of all answers (distinct-2, Li et al. 2016), which is no function of sums.

    `row` and `bigram` (occurrences,) say for each bigram in which row it stands and which one it is.
    """

    row: np.ndarray
    bigram: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]]) -> "Diversity":
        """From the words of every answer."""
        numbers: dict[tuple[str, str], int] = {}
        found = [
            (i, numbers.setdefault(pair, len(numbers))) for i, words in enumerate(texts) for pair in pairwise(words)
        ]
        row, bigram = np.array(found, dtype=np.int64).reshape(-1, 2).T
        return cls(row, bigram)

    def value(self) -> float:
        """Distinct bigrams over bigrams, in 0..1; NaN without any."""
        return len(np.unique(self.bigram)) / len(self.bigram) if len(self.bigram) else float("nan")

    def part(self, chosen: np.ndarray) -> "Diversity":
        """The same metric on the rows that `chosen` (sorted indices) names."""
        kept = np.isin(self.row, chosen)
        return Diversity(np.searchsorted(chosen, self.row[kept]), self.bigram[kept])

    def left_out(self, units: np.ndarray) -> Array:
        """The metric without each unit in turn (units,); `units` (rows,) numbers the unit of each row from 0."""
        n, unit = int(units.max()) + 1, units[self.row]
        bigram, where = np.divmod(np.unique(self.bigram * n + unit), n)
        bigrams, first, uses = np.unique(bigram, return_index=True, return_counts=True)
        own = np.bincount(where[first[uses == 1]], minlength=n)
        remaining = len(self.bigram) - np.bincount(unit, minlength=n)
        return ratio(np.stack([len(bigrams) - own, remaining], axis=1).astype(float))


def ratio(sums: Array) -> Array:
    """The first sum over the second; NaN where the second is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[..., 1] != 0, sums[..., 0] / sums[..., 1], np.nan)


def mean_of(values: Sequence[float] | Array) -> Measure:
    """The mean of one value per row; rows with NaN count in neither sum."""
    rows = np.asarray(values, dtype=float)
    counted = np.isfinite(rows)
    return Measure(np.stack([np.where(counted, rows, 0.0), counted.astype(float)], axis=1), ratio, rows)


def ratio_of(above: Sequence[float] | Array, below: Sequence[float] | Array) -> Measure:
    """The sum of `above` over the sum of `below`; a row's own value is its own ratio."""
    sums = np.stack([np.asarray(above, dtype=float), np.asarray(below, dtype=float)], axis=1)
    return Measure(sums, ratio, ratio(sums))
