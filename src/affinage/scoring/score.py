"""metrics.json from predictions: every system with intervals, their paired differences, and what to beware of."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from affinage.runs import write_json
from affinage.scoring.catalogue import IN_0_1
from affinage.scoring.measures import Measure
from affinage.scoring.measuring import Measured, measure
from affinage.scoring.origin import Origin
from affinage.scoring.predictions_file import Predictions
from affinage.scoring.statistics import Measures, summarise, units_of
from affinage.scoring.suite import Suite

VERSION = 1
PAIRS = (("tuned", "base"), ("tuned", "fewshot"))
ENOUGH_UNITS = 30
WIDE = 0.1  # half-width of an interval within 0..1
SHOWN = 10  # best and worst rows
LABELS = 50
GROUPS = range(2, 31)
GROUP_ROWS = 5
NO_LABEL = "(no label)"
# The first of these that is measured ranks the rows; the others break ties.
RANKING = ("accuracy", "field_f1", "chrf", "token_f1", "rougeL", "exact_match")


def score(
    predictions: Predictions,
    suite: Suite,
    origin: Origin | None = None,
    progress: Callable[[int], Any] = lambda systems: None,
) -> dict[str, Any]:
    """The content of metrics.json (see evaluate/README.md). `progress` is told of each system that is measured.

    Raises AffinageError for references that the suite cannot read.
    """
    origin = origin or Origin()
    measured = measure(predictions, suite, progress)
    groups = _column(predictions, "group", "")
    pairs = [pair for pair in PAIRS if set(pair) <= set(predictions.systems)]
    parts = _Parts(measured, pairs, groups, suite)
    whole = parts.whole()
    return {
        "version": VERSION,
        "n": len(predictions),
        "rows_in_split": origin.rows_in_split,
        "split": origin.split,
        "suite": suite.name,
        "data_sha256": origin.data_sha256,
        "settings": _settings(measured, suite, groups, origin),
        **whole,
        **_tables(predictions, parts, groups),
        **measured.extras,
        **_extremes(predictions, measured),
        "warnings": [*origin.warnings, *measured.warnings, *_doubts(whole["systems"], groups, pairs), *parts.warnings],
    }


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Writes what `score` gave, keys sorted, under a temporary name first."""
    write_json(path, _sorted(metrics))


def _sorted(value: Any) -> Any:
    return {key: _sorted(value[key]) for key in sorted(value)} if isinstance(value, Mapping) else value


class _Parts:
    """Summaries of all rows and of some of them."""

    def __init__(
        self, measured: Measured, pairs: Sequence[tuple[str, str]], groups: Sequence[str], suite: Suite
    ) -> None:
        self.systems, self.pairs, self.groups, self.bootstrap = measured.systems, pairs, groups, suite.bootstrap
        self.warnings: list[str] = []

    def whole(self) -> dict[str, Any]:
        return summarise(self.systems, self.pairs, self.groups, self.bootstrap)

    def of(self, values: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """{name: n, systems, differences} of the rows that have each name in `values`."""
        return {name: self._of_rows(np.flatnonzero([value == name for value in values])) for name in names}

    def _of_rows(self, chosen: np.ndarray) -> dict[str, Any]:
        systems: dict[str, Measures] = {
            system: {name: measure.part(chosen) for name, measure in measures.items()}
            for system, measures in self.systems.items()
        }
        groups = [self.groups[i] for i in chosen]
        return {"n": len(chosen), **summarise(systems, self.pairs, groups, self.bootstrap)}


def _tables(predictions: Predictions, parts: _Parts, groups: Sequence[str]) -> dict[str, Any]:
    """by_label for 2 to 50 labels, by_group for 2 to 30 groups of 5 rows or more."""
    labels = _column(predictions, "label", NO_LABEL)
    names, found = sorted(set(labels)), dict[str, Any]()
    if 2 <= len(names) <= LABELS:
        found["by_label"] = parts.of(labels, names)
    elif len(names) > LABELS:
        parts.warnings.append(f"the column 'label' has {len(names)} values: no table by label beyond {LABELS}.")
    large = sorted(name for name, rows in Counter(groups).items() if name and rows >= GROUP_ROWS)
    if len(large) in GROUPS:
        found["by_group"] = parts.of(groups, large)
    return found


def _column(predictions: Predictions, name: str, empty: str) -> list[str]:
    if not predictions.has(name):
        return [empty] * len(predictions)
    return [value or empty for value in predictions.column(name)]


def _settings(measured: Measured, suite: Suite, groups: Sequence[str], origin: Origin) -> dict[str, Any]:
    resampled = "groups" if units_of(groups).max() + 1 < len(groups) else "rows"
    bootstrap = suite.bootstrap
    how = {"confidence": bootstrap.confidence, "bootstrap": bootstrap.n, "seed": bootstrap.seed, "resampled": resampled}
    return how | measured.settings | origin.asked


def _extremes(predictions: Predictions, measured: Measured) -> dict[str, Any]:
    """The ids of the best and the worst rows of each system, and the metric that ranks them."""
    best, worst, names = dict[str, list[str]](), dict[str, list[str]](), list[str]()
    for system, measures in measured.systems.items():
        names = [name for name in RANKING if name in measures]
        keys = [found.rows for name in reversed(names) if isinstance(found := measures[name], Measure)]
        if not keys:
            return {}
        order = np.lexsort([*(-np.nan_to_num(key, nan=-1) for key in keys)])
        ids = [predictions.rows[i]["id"] for i in order]
        best[system], worst[system] = ids[:SHOWN], ids[::-1][:SHOWN]
    return {"best": best, "worst": worst, "ranked_by": names}


def _doubts(
    systems: Mapping[str, Mapping[str, Any]], groups: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> list[str]:
    """What a reader must know about n and about systems that are missing."""
    n, units, doubts = len(groups), int(units_of(groups).max()) + 1, list[str]()
    if units < ENOUGH_UNITS:
        what = "rows" if units == n else f"groups of rows ({units})"
        doubts.append(f"n = {n}: fewer than {ENOUGH_UNITS} {what}, too few to tell systems apart.")
    wide = [
        (name, half)
        for measures in systems.values()
        for name, entry in measures.items()
        if name in IN_0_1 and entry["low"] is not None and (half := (entry["high"] - entry["low"]) / 2) > WIDE
    ]
    if wide:
        names = ", ".join(dict.fromkeys(name for name, _ in wide))
        doubts.append(f"n = {n}: {names} are known to ±{max(half for _, half in wide):.2f} only.")
    if not pairs:
        doubts.append(f"nothing to compare: only {' and '.join(systems)} answered.")
    return doubts
