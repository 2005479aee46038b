"""Whether one that answered is really better than another: paired tests on the rows that both answered."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from affinage.comparison.systems import System
from affinage.scoring import HIGHER_IS_BETTER, Diversity, Measure, Predictions, is_significant, measure, summarise

TOLERANCE = 1e-6  # relative: stored scores come back from JSON as they were


class Paired(NamedTuple):
    """The first minus the second: the difference with its interval, and on how many rows the first is better.

    `p` is that of the two-sided sign test, of groups where rows share one (`better_groups`, `worse_groups`);
    `significant` when it is small and the interval leaves out 0.
    """

    value: float
    low: float | None
    high: float | None
    better: int
    worse: int
    equal: int
    p: float
    significant: bool
    better_groups: int | None = None
    worse_groups: int | None = None

    @property
    def groups(self) -> str:
        """What the sign test counted, where that is not rows; "" where it is."""
        if self.better_groups is None:
            return ""
        return f"groups: {self.better_groups:,} better, {self.worse_groups:,} worse"

    @property
    def n(self) -> int:
        """The rows both answered."""
        return self.better + self.worse + self.equal


@dataclass
class PairedTests:
    """The systems of a comparison, each measured once, row by row, with the metrics of its suite."""

    systems: Sequence[System]
    progress: Callable[[int], Any] = lambda systems: None
    _differences: dict[tuple[str, str], dict[str, Paired]] = field(default_factory=dict)

    @cached_property
    def measured(self) -> dict[str, dict[str, Measure | Diversity]]:
        """The measures of each system by its key; `progress` is told of each."""
        found = {}
        for system in self.systems:
            found[system.key] = _measures(system)
            self.progress(1)
        return found

    def outdated(self) -> list[System]:
        """The systems whose stored scores are not those of their answers and suite as they are now."""
        return [system for system in self.systems if any(self._moved(system, name) for name in system.metrics)]

    def _moved(self, system: System, metric: str) -> bool:
        stored, now = system.value(metric), self.measured[system.key].get(metric)
        return stored is not None and now is not None and not math.isclose(stored, now.value(), rel_tol=TOLERANCE)

    def differences(self, first: System, second: System) -> dict[str, Paired]:
        """Each metric of which one direction is better, on the rows both answered; {} without such rows."""
        key = (first.key, second.key)
        if key not in self._differences:
            self._differences[key] = self._tested(first, second)
        return self._differences[key]

    def _tested(self, first: System, second: System) -> dict[str, Paired]:
        places = {row: place for place, row in enumerate(second.answers.rows)}
        shared = [(place, places[row]) for place, row in enumerate(first.answers.rows) if row in places]
        if not shared:
            return {}
        mine, others = (np.array(chosen) for chosen in zip(*shared, strict=True))
        names = [name for name in self.measured[first.key] if HIGHER_IS_BETTER[name] is not None]
        names = [name for name in names if name in self.measured[second.key]]
        sides = {
            "first": {name: self.measured[first.key][name].part(mine) for name in names},
            "second": {name: self.measured[second.key][name].part(others) for name in names},
        }
        rows = first.answers.predictions.rows, second.answers.predictions.rows
        groups = [rows[0][a].get("group") or rows[1][b].get("group") or "" for a, b in shared]
        bootstrap = first.answers.suite.bootstrap
        found = summarise(sides, [("first", "second")], groups, bootstrap)["differences"]["first - second"]
        return {name: _paired(entry, bootstrap.confidence) for name, entry in found.items()}

    def best(self, metric: str) -> System | None:
        """The system with the best score, when it is significantly better than the second best; None otherwise."""
        higher = HIGHER_IS_BETTER.get(metric)
        scored = [(value, system) for system in self.systems if (value := system.value(metric)) is not None]
        if higher is None or len(scored) < 2:
            return None
        (_, first), (_, second), *_ = sorted(scored, key=lambda item: item[0], reverse=higher)
        test = self.differences(first, second).get(metric)
        return first if test and test.significant and (test.value > 0) is higher else None


def _measures(system: System) -> dict[str, Measure | Diversity]:
    """The metrics of the system's suite on its own column; BERTScore would load a model, and is left out."""
    given, suite = system.answers.predictions, system.answers.suite
    own = Predictions(given.path, given.rows, (system.kind,), given.lines)
    return measure(own, suite.model_copy(update={"bert_score": None})).systems[system.kind]


def _paired(entry: Mapping[str, Any], confidence: float) -> Paired:
    counts = {name: entry[name] for name in ("value", "low", "high", "better", "worse", "equal", "p")}
    counts |= {"better_groups": entry.get("better_units"), "worse_groups": entry.get("worse_units")}
    return Paired(**counts, significant=is_significant(dict(entry), confidence))
