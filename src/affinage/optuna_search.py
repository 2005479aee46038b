"""Trials drawn by Optuna from Ludwig's search spaces: the first ones at random, later ones by what those gave."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.stats import norm

from affinage.errors import AffinageError, Problem
from affinage.sweep_faults import number

LISTED = {"choice": "categories", "categorical": "categories", "grid_search": "values"}
REAL = ("uniform", "quniform", "loguniform", "qloguniform")
WHOLE = ("int", "randint", "qrandint", "lograndint", "qlograndint")
NORMAL = ("randn", "qrandn")
NORMAL_ENDS = 4.0  # standard deviations, beyond which lie 6 draws of 100,000
DIGITS = 4  # of a number that is drawn: finer than any result depends on it
AT_RANDOM = 10  # trials before TPE has something to learn from: Optuna's own default
TPE_DRAWS = 20  # of trials that were there before, until chance decides
DRAWS = 10_000  # until it is given up that there is a trial that was not drawn yet

Drawn = dict[str, Any]  # what Optuna drew for each parameter of one trial
Settings = dict[str, Any]  # dotted keys of the config and the values of one trial


def distribution(space: dict[str, Any]) -> BaseDistribution:
    """What Optuna draws for a parameter of Ludwig's `hyperopt` section; `value` makes its value in the config of it.

    The place in the list for listed values, the probability (0..1) for a normal distribution, which Optuna lacks,
    and the number itself for all others. Steps of a logarithmic range, which Optuna lacks too, come with `value`.
    """
    kind, q = space["space"], space.get("q")
    if kind in LISTED:
        return CategoricalDistribution(tuple(range(len(space[LISTED[kind]]))))
    if kind in NORMAL:
        return FloatDistribution(float(norm.cdf(-NORMAL_ENDS)), float(norm.cdf(NORMAL_ENDS)))
    low, high, log = number(space["lower"]), number(space["upper"]), "log" in kind
    if kind in WHOLE:
        return IntDistribution(int(low), int(high), log=log, step=1 if log or q is None else int(number(q)))
    return FloatDistribution(float(low), float(high), log=log, step=None if log or q is None else float(number(q)))


def value(space: dict[str, Any], drawn: Any) -> Any:
    """The value in the config that stands for what was drawn: a whole number where the range or its step `q` is."""
    kind = space["space"]
    if kind in LISTED:
        return space[LISTED[kind]][drawn]
    if kind in NORMAL:
        drawn = number(space.get("mean", 0.0)) + number(space.get("sd", 1.0)) * float(norm.ppf(drawn))
    if "q" in space:
        step = Decimal(str(number(space["q"])))  # in binary, 3 steps of 0.1 would be 0.30000000000000004
        found = round(Decimal(str(drawn)) / step) * step
        return int(found) if isinstance(number(space["q"]), int) else float(found)
    low, high = ends(space)
    return int(drawn) if kind in WHOLE else min(max(float(f"{drawn:.{DIGITS}g}"), low), high)


def ends(space: dict[str, Any]) -> tuple[Any, Any]:
    """The least and the greatest value that a range or a normal distribution can give."""
    if space["space"] not in NORMAL:
        return number(space["lower"]), number(space["upper"])
    mean, sd = number(space.get("mean", 0.0)), number(space.get("sd", 1.0))
    return mean - NORMAL_ENDS * sd, mean + NORMAL_ENDS * sd


def different_values(space: dict[str, Any]) -> float:
    """How many values a parameter can have; infinity for a range without steps."""
    kind = space["space"]
    if kind in LISTED:
        return len(space[LISTED[kind]])
    low, high = ends(space)
    if "q" not in space:
        return int(high) - int(low) + 1 if kind in WHOLE else math.inf
    return math.floor((high - low) / number(space["q"]) + 1e-9) + 1


@dataclass(frozen=True)
class Search:
    """What is searched: `parameters` as in Ludwig's `hyperopt` section, by which sampler, and for how many trials.

    The values of `grid_search` are crossed, and each combination gets as many trials. What a trial draws depends on
    the seed, its number and what earlier trials gave, and on nothing else: a sweep that was stopped goes on as if it
    had not been. `at_once` says how many are trained side by side at most, and how many TPE draws before it waits for
    what they give: one, unless it is set.
    """

    parameters: dict[str, dict[str, Any]]
    sampler: str  # "tpe" or "random"
    seed: int
    trials: int
    at_once: int | None = None

    @cached_property
    def _distributions(self) -> dict[str, BaseDistribution]:
        return {key: distribution(space) for key, space in self.parameters.items()}

    def settings(self, drawn: Drawn) -> Settings:
        """The keys of the config and their values."""
        return {key: value(space, drawn[key]) for key, space in self.parameters.items()}

    def first(self) -> list[Drawn]:
        """The trials that need no result: all of a random search, the first ten of TPE.

        Raises AffinageError when no more different ones are found.
        """
        drawn: list[Drawn] = []
        for place in range(self.trials if self.sampler == "random" else min(AT_RANDOM, self.trials)):
            sampler = optuna.samplers.RandomSampler(seed=self._seed(place))
            drawn.append(self._new(place, _study(sampler), drawn))
        return drawn

    def following_at_once(self, earlier: Sequence[tuple[Drawn, float | None]]) -> list[Drawn]:
        """The next trials by TPE that need no result of each other; see `following`."""
        drawn: list[Drawn] = []
        for _ in range(min(self.at_once or 1, self.trials - len(earlier))):
            drawn.append(self.following([*earlier, *((one, None) for one in drawn)]))
        return drawn

    def following(self, earlier: Sequence[tuple[Drawn, float | None]]) -> Drawn:
        """The next trial by TPE, given what earlier ones drew and their losses, None for a trial that has none.

        Raises AffinageError when no trial is found that was not drawn before.
        """
        study = _study(optuna.samplers.TPESampler(seed=self._seed(len(earlier)), n_startup_trials=AT_RANDOM))
        for drawn, loss in earlier:
            if loss is not None:
                study.add_trial(optuna.trial.create_trial(params=drawn, distributions=self._distributions, value=loss))
        return self._new(len(earlier), study, [drawn for drawn, _ in earlier])

    def _seed(self, place: int) -> int:
        return int(np.random.SeedSequence((self.seed, place)).generate_state(1)[0])

    def _new(self, place: int, study: optuna.Study, earlier: Sequence[Drawn]) -> Drawn:
        """What the study draws for the trial at a place, from 0, once it is unlike all earlier ones."""
        seen, cell = {repr(self.settings(drawn)) for drawn in earlier}, self._cell(place)
        for draw in range(DRAWS):
            if draw == TPE_DRAWS:
                study.sampler = optuna.samplers.RandomSampler(seed=self._seed(place))
            if cell:
                study.enqueue_trial(cell)
            drawn = study.ask(self._distributions).params
            if repr(self.settings(drawn)) not in seen:
                return {key: drawn[key] for key in self.parameters}
        found = f"{self.trials} trials are asked for, but only {len(earlier)} different ones are found."
        raise AffinageError(Problem("hyperopt", found, remedy="Ask for fewer, or widen the parameters."))

    def _cell(self, place: int) -> Drawn:
        """The combination of the crossed parameters that the trial at a place belongs to."""
        crossed = {
            key: range(len(space["values"]))
            for key, space in self.parameters.items()
            if space["space"] == "grid_search"
        }
        cells = list(product(*crossed.values()))
        return dict(zip(crossed, cells[place % len(cells)], strict=True))


def _study(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # at INFO it announces every study and trial
    return optuna.create_study(direction="minimize", sampler=sampler)
