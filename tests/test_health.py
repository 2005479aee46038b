"""Signs of trouble in the losses: found where they are, and not where a run is merely noisy or done."""

import math
import random

import pytest

from affinage.health import CAUSES, sentence, signs


def names(losses, per_epoch=100):
    return [sign["sign"] for sign in signs(losses, per_epoch)]


def noisy(curve, spread=0.1, seed=0):
    draw = random.Random(seed)
    return [value + draw.gauss(0, spread) for value in curve]


@pytest.mark.parametrize("seed", range(20))
def test_a_run_that_learns_shows_no_sign(seed):
    assert names(noisy([0.2 + 3 * math.exp(-step / 60) for step in range(300)], seed=seed)) == []


def test_a_run_that_is_done_early_and_stays_shows_no_sign():
    assert names([3.0] * 3 + [0.01 + 0.001 * (step % 2) for step in range(300)]) == []


def test_one_bad_batch_is_no_explosion():
    losses = [2 - step / 200 for step in range(200)]
    losses[150] = 9.0
    assert names(losses) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_a_loss_that_is_not_a_number_is_found_at_its_step(bad):
    (sign,) = signs([2 - step / 50 for step in range(50)] + [bad], 100)
    assert sign["sign"] == "not a number" and sign["step"] == 51


@pytest.mark.parametrize("seed", range(10))
def test_a_loss_that_rises_for_good_has_exploded(seed):
    falling, rising = [3 - step / 50 for step in range(100)], [1 + step / 20 for step in range(100)]
    assert names(noisy(falling + rising, seed=seed)) == ["exploded"]


@pytest.mark.parametrize("seed", range(20))
def test_an_epoch_that_brings_nothing_is_found(seed):
    assert names(noisy([3.0] * 100, seed=seed)) == ["does not move"]


def test_an_unfinished_first_epoch_is_not_judged():
    assert names([3.0] * 60) == []


def test_a_slow_but_certain_fall_is_movement():
    assert names(noisy([3 - 0.05 * step / 100 for step in range(100)], spread=0.001)) == []


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, 2.0], [None]])
def test_a_history_of_hardly_anything_is_no_trouble(losses):
    assert set(names(losses)) <= {"not a number"}


def test_every_sign_names_its_likely_causes():
    (sign,) = signs([3.0] * 100, 100)
    assert all(cause in sentence(sign) for cause in CAUSES["does not move"])
