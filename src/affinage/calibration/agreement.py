"""How far two raters agree on the same answers: rank correlations, kappas, bias, and the table behind them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from affinage.judging.summary import spearman
from affinage.scoring.measures import Array, Measure
from affinage.scoring.statistics import replicates, units_of
from affinage.scoring.suite import Bootstrap

BINS = 5  # of 0..100, the last one closed; the five levels that people are offered fall into different ones
LABELS = ["0-19", "20-39", "40-59", "60-79", "80-100"]

Agreement = dict[str, Any]
Entry = dict[str, float | None]
Weighted = Callable[[Array], Array]  # from how often each item counts (..., n) to a statistic (...)


def agreement(first: Sequence[float], second: Sequence[float], units: Sequence[str], bootstrap: Bootstrap) -> Agreement:
    """What two raters' scores (0..100) of the same n items have in common; n is at least 1.

    Spearman's rank correlation and Kendall's tau-b (-1..1), Cohen's kappa and the quadratic weighted kappa on five
    bins (at most 1, 0 is chance), the bias (mean of first - second) and the mean distance, both in points, and the
    table (bins of the first, bins of the second). An entry has `value`, `low`, `high`: a percentile bootstrap of whole
    units. None stands for what is undefined: a correlation with a constant or of fewer than three items, or a kappa
    of two raters who put everything in the same bin.
    """
    x, y = (np.asarray(scores, dtype=float) for scores in (first, second))
    table, drawn = _tables(np.ones(len(x)), x, y), _draws(units, bootstrap)
    weighted, bias = _number(kappa(table, quadratic=True)), float((x - y).mean())
    return {
        "n": len(x),
        "units": len(set(units)),
        "spearman": _entry(spearman(first, second), lambda counts: weighted_spearman(counts, x, y), drawn, bootstrap),
        "kendall": _kendall(x, y),
        "kappa": _number(kappa(table)),
        "weighted_kappa": _entry(weighted, lambda counts: kappa(_tables(counts, x, y), True), drawn, bootstrap),
        "bias": _entry(bias, lambda counts: counts @ (x - y) / counts.sum(axis=-1), drawn, bootstrap),
        "mean_distance": float(np.abs(x - y).mean()),
        "table": table.astype(int).tolist(),
        "constant": [len(set(scores)) == 1 for scores in (first, second)],
    }


def mean_agreement(pairs: Sequence[Agreement], name: str) -> float | None:
    """The mean of one statistic with an interval over pairs of raters that have it; None when none has."""
    values = [pair[name]["value"] for pair in pairs if pair[name]["value"] is not None]
    return float(np.mean(values)) if values else None


def bins_of(scores: Array) -> np.ndarray:
    """The bin, from 0, of each score."""
    return np.minimum(scores * BINS // 100, BINS - 1).astype(int)


def kappa(tables: np.ndarray, quadratic: bool = False) -> Array:
    """1 - observed over expected disagreement for tables (..., bins, bins); NaN where none can be expected.

    Each disagreement counts 1 (Cohen 1960), or by the square of its distance in bins (Cohen 1968).
    """
    size = tables.shape[-1]
    gaps = np.subtract.outer(np.arange(size), np.arange(size)) ** 2
    costs = gaps if quadratic else (gaps > 0).astype(int)
    rows, columns, total = tables.sum(axis=-1), tables.sum(axis=-2), tables.sum(axis=(-1, -2))
    expected = np.einsum("...i,...j,ij->...", rows, columns, costs) / total
    observed = (tables * costs).sum(axis=(-1, -2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 0, 1 - observed / expected, np.nan)


def weighted_spearman(counts: Array, x: Array, y: Array) -> Array:
    """Spearman's correlation when item i stands there counts[..., i] times; NaN where a side is constant."""
    first, second = _weighted_ranks(counts, x), _weighted_ranks(counts, y)
    total = counts.sum(axis=-1, keepdims=True)
    first, second = (ranks - (counts * ranks).sum(axis=-1, keepdims=True) / total for ranks in (first, second))
    covariance, *variances = ((counts * a * b).sum(axis=-1) for a, b in ((first, second), (first,) * 2, (second,) * 2))
    product = variances[0] * variances[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(product > 0, covariance / np.sqrt(product), np.nan)


def _weighted_ranks(counts: Array, values: Array) -> Array:
    """The mean rank (..., n) of each item's value among all items, ties sharing theirs."""
    _, place = np.unique(values, return_inverse=True)
    of_value = counts @ np.eye(place.max() + 1)[place]  # (..., values)
    ranks = np.cumsum(of_value, axis=-1) - (of_value - 1) / 2
    return ranks[..., place]


def _draws(units: Sequence[str], bootstrap: Bootstrap) -> Array | None:
    """How often each item is drawn (resamples, n), whole units together; None of fewer than two units."""
    if len(set(units)) < 2:
        return None
    every_item = np.eye(len(units))
    return replicates([Measure(every_item, lambda sums: sums, every_item[0])], units_of(units), bootstrap)[0]


def _tables(counts: Array, x: Array, y: Array) -> Array:
    cells = np.eye(BINS**2)[BINS * bins_of(x) + bins_of(y)]  # (n, bins²)
    return (counts @ cells).reshape(*counts.shape[:-1], BINS, BINS)


def _entry(value: float | None, statistic: Weighted, drawn: Array | None, bootstrap: Bootstrap) -> Entry:
    replicated = np.array([]) if value is None or drawn is None else statistic(drawn)
    if not np.isfinite(replicated).any():
        return {"value": value, "low": None, "high": None}
    tail = 50 * (1 - bootstrap.confidence)
    low, high = np.nanpercentile(replicated, [tail, 100 - tail])
    return {"value": value, "low": float(low), "high": float(high)}


def _kendall(x: Array, y: Array) -> float | None:
    if len(x) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    return float(kendalltau(x, y).statistic)


def _number(value: Array) -> float | None:
    return float(value) if np.isfinite(value) else None
