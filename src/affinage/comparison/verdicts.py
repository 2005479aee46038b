"""What the scores say: one sentence, and a table of pairs."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from affinage.comparison.scoreboard import Scoreboard
from affinage.comparison.significance import Paired, PairedTests
from affinage.comparison.systems import System
from affinage.scoring import HIGHER_IS_BETTER
from affinage.scoring.tables import name_of, shown

ALL_PAIRS = 4  # runs: with more, each is held against the best only


class Pair(NamedTuple):
    """Two systems on the rows both answered; `test` is None when they share no row."""

    first: System
    second: System
    metric: str
    test: Paired | None

    @property
    def difference(self) -> str:
        """The first minus the second, with its interval."""
        if self.test is None:
            return "-"
        value, low, high = (
            "-" if number is None else shown(self.metric, number, sign=True)
            for number in (self.test.value, self.test.low, self.test.high)
        )
        return f"{value} ({low} to {high})"

    @property
    def words(self) -> str:
        """Which is better, or that chance can explain it."""
        if self.test is None:
            return "no row in common"
        if not self.test.significant:
            return "no significant difference"
        return f"{self.first.key if _first_is_better(self.metric, self.test) else self.second.key} is better"


def _first_is_better(metric: str, test: Paired) -> bool:
    return (test.value > 0) is HIGHER_IS_BETTER[metric]


def main_metric(board: Scoreboard) -> str:
    """The first metric of the board of which one direction is better; "" without one."""
    return next((metric for metric in board.metrics if HIGHER_IS_BETTER.get(metric) is not None), "")


def pairs_of(systems: Sequence[System], tests: PairedTests, metric: str) -> list[Pair]:
    """Each run against its base models and against the other runs, or against the best one when there are many."""
    if not metric:
        return []
    return [
        Pair(one, other, metric, tests.differences(one, other).get(metric)) for one, other in _partners(systems, metric)
    ]


def _partners(systems: Sequence[System], metric: str) -> Iterator[tuple[System, System]]:
    tuned = [system for system in systems if system.kind == "tuned"]
    for run in tuned:
        yield from ((run, base) for base in systems if base.kind != "tuned" and run.key in base.letters)
    if len(tuned) <= ALL_PAIRS:
        yield from ((two, one) for place, two in enumerate(tuned) for one in tuned[:place])
        return
    first = ranked(tuned, metric)[:1]
    yield from ((best, run) for best in first for run in tuned if run is not best)


def ranked(systems: Sequence[System], metric: str) -> list[System]:
    """The systems that have the metric, the best first."""
    scored = [(value, system) for system in systems if (value := system.value(metric)) is not None]
    return [system for _, system in sorted(scored, key=lambda item: item[0], reverse=bool(HIGHER_IS_BETTER[metric]))]


def verdict(systems: Sequence[System], tests: PairedTests, metric: str) -> str:
    """What the main metric says about the best and the second best, in one sentence; "" with fewer than two scores."""
    order = ranked(systems, metric) if metric else []
    if len(order) < 2:
        return ""
    first, second = order[:2]
    test = tests.differences(first, second).get(metric)
    values = f"{shown(metric, first.value(metric))} against {shown(metric, second.value(metric))}"
    if test is None:
        return f"{first.key} and {second.key} share no row, so {values} of {name_of(metric)} says nothing."
    counts = f"better on {test.better:,} rows and worse on {test.worse:,} of the {test.n:,} that both answered"
    counts += f" ({test.groups})" if test.groups else ""
    if test.significant and _first_is_better(metric, test):
        return f"{first.key} has the best {name_of(metric)}, {values} for {second.key}: {counts}."
    return f"{first.key} and {second.key} cannot be told apart by {name_of(metric)}: {values}, {counts}."


def p_value(p: float) -> str:
    """p as people write it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
