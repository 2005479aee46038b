"""Ludwig's search spaces as Optuna's distributions, and trials that are the same ones for the same seed."""

import json
import math
from collections import Counter
from dataclasses import asdict, replace

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats

from affinage.errors import AffinageError
from affinage.optuna_search import AT_RANDOM, Search, distribution, value

RANGE = {"lower": 1, "upper": 100}
RATE = {"space": "loguniform", "lower": "1e-5", "upper": 0.1}
RANK = {"space": "choice", "categories": [2, 4, 8]}
SEARCH = Search({"trainer.learning_rate": RATE, "adapter.r": RANK}, "tpe", 0, 30)


def ask(space, n, seed=0):
    """What Optuna's own random sampler draws from a space, as values of the config."""
    sampler = optuna.samplers.RandomSampler(seed=seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler)
    return [value(space, study.ask({"x": distribution(space)}).params["x"]) for _ in range(n)]


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({"space": "uniform", "lower": 0.1, "upper": 0.5}, FloatDistribution(0.1, 0.5)),
        ({"space": "quniform", "lower": 0.1, "upper": 0.5, "q": 0.1}, FloatDistribution(0.1, 0.5, step=0.1)),
        (RATE | {"base": 2}, FloatDistribution(1e-5, 0.1, log=True)),
        (RATE | {"space": "qloguniform", "q": "1e-5"}, FloatDistribution(1e-5, 0.1, log=True)),
        ({"space": "randint", **RANGE}, IntDistribution(1, 100)),
        ({"space": "int", **RANGE}, IntDistribution(1, 100)),
        ({"space": "qrandint", "lower": 4, "upper": 64, "q": 4}, IntDistribution(4, 64, step=4)),
        ({"space": "lograndint", **RANGE}, IntDistribution(1, 100, log=True)),
        ({"space": "qlograndint", "lower": 4, "upper": 64, "q": 4}, IntDistribution(4, 64, log=True)),
        (RANK, CategoricalDistribution((0, 1, 2))),
        ({"space": "categorical", "categories": ["a", None]}, CategoricalDistribution((0, 1))),
        ({"space": "grid_search", "values": [1, 2]}, CategoricalDistribution((0, 1))),
        ({"space": "randn"}, FloatDistribution(stats.norm.sf(4), stats.norm.cdf(4))),
        ({"space": "qrandn", "q": 0.5}, FloatDistribution(stats.norm.sf(4), stats.norm.cdf(4))),
    ],
    ids=lambda given: given["space"] if isinstance(given, dict) else "",
)
def test_every_space_has_its_distribution_in_optuna(space, expected):
    found = distribution(space)
    assert type(found) is type(expected)
    ours, theirs = (vars(given) for given in (found, expected))
    assert ours.keys() == theirs.keys()
    for name, wanted in theirs.items():
        assert ours[name] == (pytest.approx(wanted) if isinstance(wanted, float) else wanted), name


@pytest.mark.parametrize(
    ("space", "law"),
    [
        ({"space": "uniform", "lower": 0.1, "upper": 0.5}, stats.uniform(0.1, 0.4)),
        (RATE, stats.loguniform(1e-5, 0.1)),
        ({"space": "randn", "mean": 3, "sd": 0.5}, stats.norm(3, 0.5)),
        ({"space": "randn"}, stats.norm()),
    ],
)
def test_what_is_drawn_follows_the_law_of_its_space(space, law):
    assert stats.kstest(ask(space, 2000), law.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({"space": "quniform", "lower": 0.1, "upper": 0.5, "q": 0.1}, {0.1, 0.2, 0.3, 0.4, 0.5}),
        ({"space": "quniform", "lower": 2, "upper": 8, "q": 2}, {2, 4, 6, 8}),
        ({"space": "qloguniform", "lower": 0.5, "upper": 2.0, "q": 0.5}, {0.5, 1.0, 1.5, 2.0}),
        ({"space": "randint", "lower": 2, "upper": 5}, {2, 3, 4, 5}),
        ({"space": "qrandint", "lower": 4, "upper": 12, "q": 4}, {4, 8, 12}),
        ({"space": "lograndint", "lower": 1, "upper": 3}, {1, 2, 3}),
        ({"space": "qlograndint", "lower": 4, "upper": 12, "q": 4}, {4, 8, 12}),
        ({"space": "choice", "categories": [["q_proj"], None, True]}, {"['q_proj']", "None", "True"}),
    ],
)
def test_both_ends_and_every_step_between_are_drawn_and_nothing_else(space, expected):
    found = ask(space, 400)
    if space["space"] == "choice":
        assert set(map(str, found)) == expected
        return
    assert set(found) == expected
    assert {type(number) for number in found} == {type(number) for number in expected}


def test_a_rounded_normal_number_is_a_multiple_of_its_step():
    found = ask({"space": "qrandn", "mean": 10, "sd": 2, "q": 0.2}, 300)
    assert all(round(number / 0.2) * 0.2 == pytest.approx(number) for number in found)
    assert len(set(found)) > 20 and 9 < sum(found) / 300 < 11


def losses(search, n, loss=lambda settings: math.log(settings["trainer.learning_rate"] / 0.003) ** 2):
    """The first n trials of a search by TPE, where each gives the loss of its settings."""
    trials = [(drawn, loss(search.settings(drawn))) for drawn in search.first()[:n]]
    while len(trials) < n:
        drawn = search.following(trials)
        trials.append((drawn, loss(search.settings(drawn))))
    return trials


def test_the_same_seed_gives_the_same_trials_and_another_seed_others():
    assert losses(SEARCH, 20) == losses(SEARCH, 20)
    assert losses(SEARCH, 20)[:1] != losses(replace(SEARCH, seed=1), 20)[:1]
    assert losses(SEARCH, 20)[AT_RANDOM:] != losses(replace(SEARCH, sampler="random"), 20)[AT_RANDOM:]


def test_a_search_that_was_stored_as_json_goes_on_as_one_that_was_not():
    whole = losses(SEARCH, 16)
    stored = json.loads(json.dumps({"search": asdict(SEARCH), "trials": whole[:13]}))
    again = Search(**stored["search"])
    trials = [(drawn, loss) for drawn, loss in stored["trials"]]
    for _ in range(3):
        trials.append((again.following(trials), whole[len(trials)][1]))
    assert trials == whole


def test_a_longer_random_search_begins_with_the_trials_of_a_shorter_one():
    short, long = (replace(SEARCH, sampler="random", trials=n).first() for n in (5, 25))
    assert long[:5] == short and len(long) == 25


def test_tpe_looks_where_losses_are_low():
    first, last = [], []
    for seed in range(4):
        search = replace(SEARCH, seed=seed)
        rates = [search.settings(drawn)["trainer.learning_rate"] for drawn, _ in losses(search, 40)]
        away = [abs(math.log(rate / 0.003)) for rate in rates]
        first, last = first + away[:10], last + away[-10:]
    assert sum(last) < 0.6 * sum(first)


def test_a_trial_that_failed_teaches_nothing_and_stops_nothing():
    trials = losses(SEARCH, 12)
    failed = [*trials, (SEARCH.following(trials), None)]
    assert SEARCH.following(failed) not in [drawn for drawn, _ in failed]
    assert len(SEARCH.following([(drawn, None) for drawn, _ in trials])) == 2


def test_trials_that_are_drawn_at_once_differ_and_learn_from_all_that_gave_a_loss():
    trials, search = losses(SEARCH, 10), replace(SEARCH, at_once=4)
    assert SEARCH.following_at_once(trials) == [SEARCH.following(trials)]
    first, second, *_ = found = search.following_at_once(trials)
    assert len({repr(drawn) for drawn in found}) == 4 and first == SEARCH.following(trials)
    assert second == SEARCH.following([*trials, (first, None)])
    assert found == search.following_at_once(trials)
    assert replace(search, trials=12).following_at_once(trials) == found[:2]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_no_trial_is_drawn_twice_until_none_is_left(sampler, monkeypatch):
    monkeypatch.setattr("affinage.optuna_search.DRAWS", 1000)
    search = Search({"a": RANK, "b": {"space": "randint", "lower": 1, "upper": 5}}, sampler, 0, 15)
    trials = losses(search, 15, loss=lambda settings: settings["a"])
    assert len({repr(search.settings(drawn)) for drawn, _ in trials}) == 15
    with pytest.raises(AffinageError, match="only 15 different ones are found"):
        search.following(trials)


def test_grid_values_are_crossed_and_each_combination_draws_its_own():
    grid = {"a": {"space": "grid_search", "values": [1, 2]}, "b": {"space": "grid_search", "values": ["x", "y", "z"]}}
    search = Search(grid | {"c": RATE}, "random", 0, 12)
    found = [search.settings(drawn) for drawn in search.first()]
    assert Counter((s["a"], s["b"]) for s in found) == {(a, b): 2 for a in (1, 2) for b in "xyz"}
    assert [(s["a"], s["b"]) for s in found[:4]] == [(1, "x"), (1, "y"), (1, "z"), (2, "x")]
    assert len({s["c"] for s in found}) == 12
    later = replace(search, sampler="tpe").following([(drawn, 1.0) for drawn in search.first()[:10]])
    assert (search.settings(later)["a"], search.settings(later)["b"]) == (2, "y")  # the eleventh of six and six
