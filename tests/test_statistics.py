"""Intervals and paired tests, against scipy, against sacrebleu on resampled texts, and against brute force."""

import itertools
import math
import random

import numpy as np
import pytest
import sacrebleu
from scipy import stats

from affinage.scoring import statistics
from affinage.scoring.likelihood import perplexity
from affinage.scoring.measures import Diversity, mean_of
from affinage.scoring.statistics import is_significant, replicates, sign_test, summarise, units_of
from affinage.scoring.suite import Bootstrap
from affinage.scoring.surface import bleu, chrf

WORDS = "le chat la souris mange été où rouge grand à jardin . ,".split()
N = 40
ALONE = [""] * N
BOOTSTRAP = Bootstrap(n=500)
VALUES = np.random.default_rng(1).random(N)
OTHERS = np.clip(VALUES + np.random.default_rng(2).normal(0.05, 0.2, N), 0, 1)


def texts(seed, n=N):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(0, 9))) for _ in range(n)]


def entries(first, second, groups=ALONE, bootstrap=BOOTSTRAP, name="token_f1"):
    """The entries of one metric: of the first system, of the second, and of first - second."""
    made = summarise({"a": {name: first}, "b": {name: second}}, [("a", "b")], groups, bootstrap)
    return made["systems"]["a"][name], made["systems"]["b"][name], made["differences"]["a - b"][name]


def scipy_interval(values, seed=0, n=500, confidence=0.95):
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=n, confidence_level=confidence, method="percentile", rng=seed, batch=n
    )
    return found.confidence_interval


@pytest.mark.parametrize(("seed", "n", "confidence"), [(0, 500, 0.95), (3, 1000, 0.9)])
def test_the_interval_of_a_mean_is_that_of_scipy_with_the_same_seed(seed, n, confidence):
    bootstrap = Bootstrap(n=n, seed=seed, confidence=confidence)
    entry, _, difference = entries(mean_of(VALUES), mean_of(OTHERS), bootstrap=bootstrap)
    assert (entry["low"], entry["high"]) == pytest.approx(scipy_interval(VALUES, seed, n, confidence), abs=1e-12)
    assert entry["value"] == pytest.approx(VALUES.mean())
    expected = scipy_interval(VALUES - OTHERS, seed, n, confidence)
    assert (difference["low"], difference["high"]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(chrf, sacrebleu.corpus_chrf), (bleu, lambda a, r: sacrebleu.corpus_bleu(a, r, force=True))]
)
def test_corpus_scores_of_resamples_are_those_of_sacrebleu_on_resampled_texts(ours, theirs):
    answers, references = texts(1), texts(2)
    measure, _ = ours(answers, references)
    drawn = np.random.default_rng(5).integers(0, N, (100, N))
    expected = [theirs([answers[i] for i in row], [[references[i] for i in row]]).score for row in drawn]
    [found] = replicates([measure], np.arange(N), Bootstrap(n=100, seed=5))
    assert found == pytest.approx(expected, abs=1e-9)
    assert np.ptp(found) > 1


def test_rows_that_share_a_group_are_drawn_together():
    groups = [f"g{i // 4}" for i in range(N)]
    nll, tokens = VALUES * 9, np.arange(1, N + 1.0)
    [found] = replicates([perplexity(nll, tokens)], units_of(groups), Bootstrap(n=100, seed=5))
    drawn = np.random.default_rng(5).integers(0, 10, (100, 10))
    rows = (drawn[:, :, None] * 4 + np.arange(4)).reshape(100, -1)
    assert found == pytest.approx([math.exp(nll[r].sum() / tokens[r].sum()) for r in rows])


def test_groups_of_alike_rows_widen_the_interval():
    values = np.repeat(VALUES[:10], 4)
    alone, _, _ = entries(mean_of(values), mean_of(values))
    grouped, _, _ = entries(mean_of(values), mean_of(values), [f"g{i // 4}" for i in range(N)])
    assert grouped["high"] - grouped["low"] > 1.5 * (alone["high"] - alone["low"])
    assert (grouped["low"], grouped["high"]) == pytest.approx(scipy_interval(VALUES[:10]))


def test_rows_without_a_group_stand_for_themselves():
    assert units_of(["x", "", "y", "x", ""]).tolist() == [0, 1, 2, 0, 3]


def test_resamples_drawn_in_pieces_are_those_drawn_at_once(monkeypatch):
    whole = replicates([mean_of(VALUES)], np.arange(N), Bootstrap(n=500))
    monkeypatch.setattr(statistics, "CELLS", 7 * N)
    assert replicates([mean_of(VALUES)], np.arange(N), Bootstrap(n=500)) == pytest.approx(whole)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    random_numbers, covered = np.random.default_rng(7), 0
    for seed in range(300):
        sample = random_numbers.beta(0.5, 1.5, 60)  # mean 0.25
        [drawn] = replicates([mean_of(sample)], np.arange(60), Bootstrap(n=400, seed=seed))
        low, high = np.percentile(drawn, [2.5, 97.5])
        covered += low <= 0.25 <= high
    assert 0.91 <= covered / 300 <= 0.98


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_rows_that_all_agree_get_the_exact_binomial_bound(value):
    # fault: the bootstrap of 400 wrong answers has no width, as if the next answer were sure to be wrong
    measure = mean_of([value] * 400)
    entry, _, _ = entries(measure, measure, [""] * 400, name="exact_match")
    bound = 0.025 ** (1 / 400)
    expected = (0, 1 - bound) if value == 0 else (bound, 1)
    assert (entry["low"], entry["high"]) == pytest.approx(expected)


def test_the_exact_bound_counts_groups_where_rows_share_them():
    measure = mean_of([1.0] * N)
    entry, _, _ = entries(measure, measure, [f"g{i // 4}" for i in range(N)], name="exact_match")
    assert entry["low"] == pytest.approx(0.025 ** (1 / 10))


def test_one_row_has_no_interval():
    entry, _, difference = entries(mean_of([0.5]), mean_of([0.25]), [""])
    assert entry == {"value": 0.5, "low": None, "high": None}
    assert (difference["value"], difference["low"], difference["better"]) == (0.25, None, 1)
    assert not is_significant(difference)


def test_two_identical_systems_differ_by_nothing_and_not_significantly():
    # fault: a product of matrices sums equal columns in another order, which leaves differences of 1e-13
    names, numbers = ("token_f1", "rouge1", "rouge2", "rougeL", "accuracy"), np.random.default_rng(0).random((5, 100))
    system = {name: mean_of(values) for name, values in zip(names, numbers, strict=True)}
    again = {name: mean_of(values.copy()) for name, values in zip(names, numbers, strict=True)}
    made = summarise({"a": system, "b": again}, [("a", "b")], [""] * 100, Bootstrap(n=200))
    for difference in made["differences"]["a - b"].values():
        assert difference == {"value": 0, "low": 0, "high": 0, "better": 0, "worse": 0, "equal": 100, "p": 1}
        assert not is_significant(difference)


@pytest.mark.parametrize("higher", [True, False])
def test_the_sign_test_is_scipys_binomial_test_without_ties(higher):
    first = np.array([1.0] * 14 + [0.0] * 5 + [0.5] * 21)
    found = sign_test(first, np.full(N, 0.5), higher, np.arange(N))
    better, worse = (14, 5) if higher else (5, 14)
    assert found == {"better": better, "worse": worse, "equal": 21, "p": stats.binomtest(14, 19).pvalue}


def test_differences_from_rounding_are_ties():
    assert sign_test(np.array([0.1 + 0.2]), np.array([0.3]), True, np.arange(1))["equal"] == 1


def test_rows_without_a_value_are_in_no_count():
    found = sign_test(np.array([1.0, np.nan, 0.0]), np.array([0.0, 1.0, np.nan]), True, np.arange(3))
    assert (found["better"], found["worse"], found["equal"]) == (1, 0, 0)


def test_the_sign_test_counts_groups_where_rows_share_them():
    # fault: 40 rows of 2 documents would make a p of 2e-12 from two independent observations
    groups = units_of(["a"] * 20 + ["b"] * 20)
    found = sign_test(np.ones(N), np.zeros(N), True, groups)
    assert (found["better"], found["better_units"], found["worse_units"]) == (40, 2, 0)
    assert found["p"] == stats.binomtest(2, 2).pvalue == 0.5


def test_a_metric_without_a_direction_has_no_sign_test():
    _, _, difference = entries(mean_of(VALUES), mean_of(OTHERS), name="length_ratio")
    assert difference["low"] < difference["value"] < difference["high"]
    assert difference["p"] is None and difference["better"] is None
    assert not is_significant(difference)


@pytest.mark.parametrize(
    ("low", "high", "p", "expected"),
    [(0.1, 0.2, 0.01, True), (-0.2, -0.1, 0.01, True), (-0.1, 0.2, 0.01, False), (0.1, 0.2, 0.06, False)],
)
def test_significant_is_what_interval_and_sign_test_both_say(low, high, p, expected):
    assert is_significant({"value": (low + high) / 2, "low": low, "high": high, "p": p}) is expected


@pytest.mark.parametrize("groups", [ALONE, [f"g{i // 4}" for i in range(N)]])
def test_distinct_bigrams_have_the_jackknife_interval_worked_out_by_leaving_out_each_unit(groups):
    words = [text.split() for text in texts(3)]

    def distinct(rows):
        pairs = [pair for row in rows for pair in itertools.pairwise(row)]
        return len(set(pairs)) / len(pairs)

    units = units_of(groups)
    n = units.max() + 1
    without = np.array([distinct([w for w, unit in zip(words, units, strict=True) if unit != u]) for u in range(n)])
    assert Diversity.of(words).left_out(units) == pytest.approx(without)
    error = math.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    entry, _, difference = entries(Diversity.of(words), Diversity.of(words), groups, name="distinct_2")
    assert entry["value"] == pytest.approx(distinct(words))
    assert entry["high"] - entry["value"] == pytest.approx(1.959964 * error, rel=1e-6)
    assert (difference["value"], difference["low"], difference["high"]) == (0, 0, 0)


def test_a_part_of_distinct_bigrams_is_that_of_its_rows():
    words, chosen = [text.split() for text in texts(3)], np.array([2, 5, 6, 30])
    expected = Diversity.of([words[i] for i in chosen])
    part = Diversity.of(words).part(chosen)
    assert part.value() == expected.value()
    assert part.left_out(np.arange(4)) == pytest.approx(expected.left_out(np.arange(4)))


def test_the_jackknife_interval_of_distinct_bigrams_covers_the_truth_and_a_bootstrap_would_not():
    random_numbers = np.random.default_rng(0)
    share = 1 / np.arange(1, 101)
    share /= share.sum()

    def sample():
        lengths = random_numbers.integers(3, 15, 40)
        return [[str(word) for word in random_numbers.choice(100, n, p=share)] for n in lengths]

    truth = np.mean([Diversity.of(sample()).value() for _ in range(300)])
    covered = resampled = 0
    for _ in range(100):
        words = sample()
        entry, _, _ = entries(Diversity.of(words), Diversity.of(words), name="distinct_2")
        covered += entry["low"] <= truth <= entry["high"]
        again = [Diversity.of([words[i] for i in random_numbers.integers(0, N, N)]).value() for _ in range(40)]
        resampled += np.percentile(again, 2.5) <= truth <= np.percentile(again, 97.5)
    assert covered >= 90
    assert resampled <= 10


def test_a_group_is_better_or_worse_by_the_sum_of_its_differences():
    groups = units_of([name for name in "abcd" for _ in range(3)])
    first = np.array([1, 1, 0, 0.9, 0.2, 0.9, 0, 0, 1, 0.75, 0.25, 0.5])  # a and b better, c worse, d neither
    found = sign_test(first, np.full(12, 0.5), True, groups)
    assert (found["better"], found["worse"], found["equal"]) == (6, 5, 1)
    assert (found["better_units"], found["worse_units"]) == (2, 1)
    assert found["p"] == stats.binomtest(2, 3).pvalue
