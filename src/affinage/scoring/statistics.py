"""Confidence intervals by bootstrap, and paired differences between systems with a sign test.

Resampled are rows, or whole groups where rows share one, because rows of a group are not independent of each other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from affinage.scoring.catalogue import HIGHER_IS_BETTER, MEANS_IN_0_1
from affinage.scoring.measures import Array, Diversity, Measure
from affinage.scoring.suite import Bootstrap

Measures = Mapping[str, Measure | Diversity]
Entry = dict[str, Any]

CELLS = 4_000_000  # of the matrix of draws that is held at a time: 32 MB
TIE = 1e-12  # differences of this size come from rounding


def units_of(groups: Sequence[str]) -> np.ndarray:
    """The number, from 0, of the unit that each row is resampled with: its group, or itself without a group."""
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(group or (i,), len(numbers)) for i, group in enumerate(groups)])


def replicates(measures: Sequence[Measure], units: np.ndarray, bootstrap: Bootstrap) -> Array:
    """Each metric (measures, resamples) on units drawn with replacement, the same draws for all of them.

    A draw is a vector of counts, so a metric is worked out from sums of what its rows add up, in numpy. For means of
    rows the numbers are those of `scipy.stats.bootstrap` with numpy's default generator and the same seed.
    """
    n = int(units.max()) + 1
    totals = np.zeros((n, sum(measure.sums.shape[1] for measure in measures)))
    np.add.at(totals, units, np.concatenate([measure.sums for measure in measures], axis=1))
    random, sums = np.random.default_rng(bootstrap.seed), np.empty((bootstrap.n, totals.shape[1]))
    step = max(1, CELLS // n)
    for start in range(0, bootstrap.n, step):
        size = min(step, bootstrap.n - start)
        drawn = random.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        sums[start : start + size] = counts.astype(float) @ totals
    ends = np.cumsum([measure.sums.shape[1] for measure in measures])[:-1]
    return np.stack([m.of_sums(part) for m, part in zip(measures, np.split(sums, ends, axis=1), strict=True)])


def summarise(
    systems: Mapping[str, Measures], pairs: Sequence[tuple[str, str]], groups: Sequence[str], bootstrap: Bootstrap
) -> dict[str, dict[str, dict[str, Entry]]]:
    """{"systems": {system: {metric: entry}}, "differences": {"tuned - base": {metric: entry}}}.

    `pairs` name the systems to subtract, as (tuned, base); `groups` the group of each row, "" for none. An entry has
    `value`, `low` and `high`; of a difference also `better`, `worse`, `equal` (rows of the first system against the
    second) and `p`, None for metrics of which neither direction is better. A metric without a value is left out.
    """
    units = units_of(groups)
    drawn = _drawn(systems, units, bootstrap)
    alone = {
        system: {
            name: _estimate(name, measure, drawn.get((system, name)), units, bootstrap)
            for name, measure in measures.items()
            if np.isfinite(measure.value())
        }
        for system, measures in systems.items()
    }
    differences = {
        f"{first} - {second}": {
            name: _difference(name, (first, second), systems, drawn, units, bootstrap)
            for name in alone[first]
            if name in alone[second]
        }
        for first, second in pairs
    }
    return {"systems": alone, "differences": differences}


def is_significant(difference: Entry, confidence: float = 0.95) -> bool:
    """Whether an entry of `differences` is more than chance: its interval leaves out 0 and its sign test agrees."""
    if difference["p"] is None or difference["low"] is None:
        return False
    return bool(difference["p"] < 1 - confidence and (difference["low"] > 0 or difference["high"] < 0))


def sign_test(first: Array, second: Array, higher_is_better: bool, units: np.ndarray) -> Entry:
    """Rows where the first is better, worse or equal, and the two-sided p of the exact sign test without ties.

    Where rows share a unit the test counts units, by the sign of their mean difference, in `better_units` and
    `worse_units`. Rows without a value in either are not counted.
    """
    counted = np.isfinite(first) & np.isfinite(second)
    gain = (first - second)[counted] * (1 if higher_is_better else -1)
    scale = np.maximum(1, np.maximum(np.abs(first), np.abs(second))[counted])
    sign = np.where(np.abs(gain) <= TIE * scale, 0, np.sign(gain))
    better, worse = int((sign > 0).sum()), int((sign < 0).sum())
    entry: Entry = {"better": better, "worse": worse, "equal": int(counted.sum()) - better - worse}
    if len(units) > int(units.max()) + 1:
        total = np.bincount(units[counted], gain)
        better, worse = int((total > TIE).sum()), int((total < -TIE).sum())
        entry |= {"better_units": better, "worse_units": worse}
    return entry | {"p": float(binomtest(better, better + worse).pvalue) if better + worse else 1.0}


def _drawn(systems: Mapping[str, Measures], units: np.ndarray, bootstrap: Bootstrap) -> dict[tuple[str, str], Array]:
    keys = [(s, name) for s, measures in systems.items() for name, m in measures.items() if isinstance(m, Measure)]
    measures = [measure for s, name in keys if isinstance(measure := systems[s][name], Measure)]
    return dict(zip(keys, replicates(measures, units, bootstrap), strict=True)) if measures else {}


def _estimate(
    name: str, measure: Measure | Diversity, drawn: Array | None, units: np.ndarray, bootstrap: Bootstrap
) -> Entry:
    value, n = measure.value(), int(units.max()) + 1
    if isinstance(measure, Diversity):
        low, high = _jackknife(value, measure.left_out(units), bootstrap.confidence)
        return _entry(value, None if low is None else max(low, 0.0), None if high is None else min(high, 1.0))
    rows = measure.rows[np.isfinite(measure.rows)]
    if name in MEANS_IN_0_1 and (np.all(rows == 0) or np.all(rows == 1)):
        # Rows that all agree look like certainty to the bootstrap; the exact bound knows that the next may differ.
        exact = binomtest(n if rows[0] else 0, n).proportion_ci(bootstrap.confidence)
        return _entry(value, exact.low, exact.high)
    return _entry(value, *_percentiles(drawn, n, bootstrap.confidence))


def _difference(
    name: str,
    pair: tuple[str, str],
    systems: Mapping[str, Measures],
    drawn: Mapping[tuple[str, str], Array],
    units: np.ndarray,
    bootstrap: Bootstrap,
) -> Entry:
    first, second = (systems[system][name] for system in pair)
    value = first.value() - second.value()
    if isinstance(first, Diversity) or isinstance(second, Diversity):
        assert isinstance(first, Diversity) and isinstance(second, Diversity)
        gap = first.left_out(units) - second.left_out(units)
        return _entry(value, *_jackknife(value, gap, bootstrap.confidence)) | _untested()
    same = np.array_equal(first.sums, second.sums)
    replicated = drawn[pair[0], name] - drawn[pair[1], name]
    entry = _entry(value, *_percentiles(replicated * (not same), int(units.max()) + 1, bootstrap.confidence))
    higher = HIGHER_IS_BETTER[name]
    return entry | (_untested() if higher is None else sign_test(first.rows, second.rows, higher, units))


def _untested() -> Entry:
    return dict.fromkeys(("better", "worse", "equal", "p"))


def _entry(value: float, low: float | None, high: float | None) -> Entry:
    return {"value": value, "low": low, "high": high}


def _percentiles(drawn: Array | None, n: int, confidence: float) -> tuple[float | None, float | None]:
    """The middle `confidence` of the replicates; nothing can be said about spread from a single unit."""
    if drawn is None or n < 2:
        return None, None
    tail = 50 * (1 - confidence)
    low, high = np.nanpercentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def _jackknife(value: float, left_out: Array, confidence: float) -> tuple[float | None, float | None]:
    """A normal interval with the jackknife's standard error (Efron and Stein 1981).

    The bootstrap would not do for distinct bigrams: a row that is drawn twice brings none the second time.
    """
    n = len(left_out)
    if n < 2 or not np.isfinite(left_out).all():
        return None, None
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()) * norm.ppf((1 + confidence) / 2)
    return float(value - error), float(value + error)
