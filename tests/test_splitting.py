"""Splits and folds by group, against scikit-learn where it does the same."""

import random
from collections import Counter

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from affinage.curation.splitting import RATIOS, kfold, sample, split_rows
from affinage.data import SPLITS
from affinage.errors import AffinageError


def grouped_rows(groups=300, seed=0):
    """Groups of 1 to 12 rows; most rows of a group share its label, and the labels have very different sizes."""
    draw = random.Random(seed)
    rows = []
    for group in range(groups):
        label = draw.choices(["cadastre", "notaires", "horaires"], [6, 3, 1])[0]
        rows += [(f"g{group}", label if draw.random() < 0.8 else "cadastre") for _ in range(draw.randint(1, 12))]
    draw.shuffle(rows)
    return rows


@pytest.mark.parametrize("stratify", [None, "label"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_group_is_broken_and_every_row_is_in_one_split(seed, stratify):
    rows = grouped_rows(seed=seed)
    split = split_rows(rows, seed=seed, stratify=stratify)
    places = {}
    for (group, _), place in zip(rows, split.of_row, strict=True):
        places.setdefault(group, set()).add(int(place))
    assert all(len(found) == 1 for found in places.values())
    assert split.got == {name: int((split.of_row == i).sum()) for i, name in enumerate(SPLITS)}
    assert sum(split.got.values()) == len(rows)


@pytest.mark.parametrize(
    ("rows", "ratios", "expected"),
    [
        (1000, RATIOS, (800, 100, 100)),
        (1000, {"train": 0.9, "test": 0.1}, (900, 0, 100)),
        (999, {"train": 0.7, "validation": 0.15, "test": 0.15}, (699, 150, 150)),
        (7, RATIOS, (5, 1, 1)),
        (3, RATIOS, (1, 1, 1)),
    ],
)
def test_rows_without_groups_reach_the_sizes_asked_for(rows, ratios, expected):
    split = split_rows(((number, "") for number in range(rows)), ratios, seed=5)
    assert tuple(split.got.values()) == tuple(split.asked.values()) == expected


def test_by_row_a_group_may_lie_in_several_splits():
    rows = [("one group", "")] * 100
    assert split_rows(rows, by="row", seed=1).got == {"train": 80, "validation": 10, "test": 10}


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    rows = grouped_rows()
    first, again, other = (split_rows(rows, seed=seed).of_row for seed in (7, 7, 8))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def farthest(rows, place):
    """The largest distance of a label's share in the rows marked from its share in all rows."""
    whole, part = (
        Counter(label for _, label in rows),
        Counter(label for (_, label), here in zip(rows, place, strict=True) if here),
    )
    return max(abs(part[label] / sum(part.values()) - n / len(rows)) for label, n in whole.items())


@pytest.mark.parametrize("seed", range(5))
def test_labels_keep_their_shares_as_well_as_scikit_learns_splitter_keeps_them(seed):
    rows = grouped_rows(groups=600, seed=seed)
    split = split_rows(rows, seed=seed, stratify="label")
    groups, labels = zip(*rows, strict=True)
    _, test = next(StratifiedGroupKFold(10, shuffle=True, random_state=seed).split(rows, labels, groups))
    theirs = farthest(rows, np.isin(np.arange(len(rows)), test))
    assert farthest(rows, split.of_row == SPLITS.index("test")) <= max(theirs, 0.005)
    assert split.got["test"] == pytest.approx(0.1 * len(rows), abs=2)


def test_labels_keep_their_shares_only_when_asked():
    rows = [(number, "rare" if number % 50 == 0 else "frequent") for number in range(1000)]
    split = split_rows(rows, seed=3, stratify="label")
    assert split.labels["rare"] == {"train": 16, "validation": 2, "test": 2}
    plain = [split_rows(rows, seed=seed).labels["rare"]["test"] for seed in range(20)]
    assert len(set(plain)) > 1


def test_a_group_that_would_flood_a_split_with_its_label_goes_where_there_is_room_for_it():
    rows = [(f"large {number % 2}", "rare") for number in range(100)] + [(number, "frequent") for number in range(900)]
    split = split_rows(rows, seed=1, stratify="label")
    assert split.labels["rare"] == {"train": 100, "validation": 0, "test": 0}
    assert split.got == split.asked == {"train": 800, "validation": 100, "test": 100}


def test_rare_labels_do_not_bend_the_sizes():
    rows = [(number, f"label {number // 3}") for number in range(300)]
    assert split_rows(rows, seed=1, stratify="label").got == {"train": 240, "validation": 30, "test": 30}


def test_group_sizes_are_alike_in_all_splits():
    # fault: dealing the largest groups first by rows alone leaves the test split with single-row groups only
    rows = [(group, "") for group in range(1000) for _ in range(1 + 9 * (group % 2))]
    split = split_rows(rows, seed=1)
    groups = np.array([group for group, _ in rows])
    rows_per_group = [
        len(here) / len(set(here)) for place in range(3) if (here := groups[split.of_row == place].tolist())
    ]
    assert max(rows_per_group) / min(rows_per_group) < 1.3


def test_a_split_asked_for_is_never_empty_however_large_the_groups():
    split = split_rows([("a", "")] * 97 + [("b", ""), ("c", ""), ("d", "")], seed=1)
    assert min(split.got.values()) >= 1
    split = split_rows([(row % 3, "") for row in range(30)], seed=1)
    assert set(split.got.values()) == {10}
    assert any("groups are too large" in warning for warning in split.warnings)


@pytest.mark.parametrize(("rows", "in_test", "warned"), [(190, 19, True), (200, 20, False)])
def test_a_test_split_under_20_rows_comes_with_a_warning(rows, in_test, warned):
    split = split_rows(((number, "") for number in range(rows)), {"train": 0.9, "test": 0.1}, seed=1)
    assert split.got["test"] == in_test
    assert any("fewer than 20" in warning for warning in split.warnings) is warned


def test_no_warning_about_a_test_split_that_is_not_asked_for():
    split = split_rows(((number, "") for number in range(50)), {"train": 0.9, "validation": 0.1}, seed=1)
    assert split.warnings == []


def test_rows_with_a_split_are_left_alone_and_the_ratios_are_those_of_the_rest():
    given = [2] * 50 + [0] * 50 + [-1] * 100
    split = split_rows(((number, "") for number in range(200)), seed=1, given=given)
    assert split.of_row[:100].tolist() == given[:100]
    assert split.got == {"train": 50 + 80, "validation": 10, "test": 50 + 10}


def test_rows_follow_a_row_of_their_group_that_has_a_split():
    rows = [("a", ""), ("a", ""), ("b", ""), *(("c", ""),) * 3, *((number, "") for number in range(9))]
    given = [-1, 2, 1, 0, 2, -1] + [-1] * 9
    split = split_rows(rows, seed=1, given=given)
    assert split.of_row[:6].tolist() == [2, 2, 1, 0, 2, 0]


def test_when_every_row_has_a_split_nothing_is_dealt():
    split = split_rows([("a", ""), ("b", "")], seed=1, given=[0, 0])
    assert split.got == split.asked == {"train": 2, "validation": 0, "test": 0}


@pytest.mark.parametrize("rows", [[("a", "")] * 10, [("a", ""), ("b", "")]])
def test_fewer_groups_than_splits_is_an_error_with_the_ways_out(rows):
    with pytest.raises(AffinageError, match=r"(1|2) groups for 3 splits.*Split by row"):
        split_rows(rows, seed=1)


def test_no_row_is_an_error():
    with pytest.raises(AffinageError, match="no row to split"):
        split_rows([], seed=1)


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ({"train": 0.8, "test": 0.3}, r"sum to 1\.1"),
        ({"train": 1.5, "test": -0.5}, r"a part of 1\.5"),
        ({"train": float("nan"), "test": 1}, "a part of nan"),
        ({"test": 1.0}, "no part for train"),
        ({"train": 0.5, "dev": 0.5}, "'dev' is no split"),
    ],
)
def test_ratios_that_are_none_are_an_error(ratios, words):
    with pytest.raises(AffinageError, match=words):
        split_rows([("a", ""), ("b", "")], ratios, seed=1)


@pytest.mark.parametrize("seed", [1, 2])
def test_folds_hold_each_row_once_and_no_group_twice(seed):
    groups = [group for group, _ in grouped_rows()]
    folds = kfold(groups, 5, seed)
    assert sorted(set(folds.tolist())) == [0, 1, 2, 3, 4]
    assert len({(group, int(fold)) for group, fold in zip(groups, folds, strict=True)}) == len(set(groups))


def test_folds_are_as_even_as_those_of_scikit_learn():
    groups = [group for group, _ in grouped_rows()]
    theirs = [len(test) for _, test in GroupKFold(7).split(groups, groups=groups)]
    ours = np.bincount(kfold(groups, 7, seed=1))
    assert max(ours) - min(ours) <= max(max(theirs) - min(theirs), 1)
    assert kfold(groups, 7, 1).tolist() == kfold(groups, 7, 1).tolist() != kfold(groups, 7, 2).tolist()


@pytest.mark.parametrize(("groups", "k"), [(["a", "b"], 3), (["a", "b"], 1), ([], 2)])
def test_folds_that_cannot_be_are_an_error(groups, k):
    with pytest.raises(AffinageError, match="folds"):
        kfold(groups, k, seed=1)


def test_a_sample_is_n_different_rows_in_order_and_the_same_for_a_seed():
    drawn = sample(1000, 50, seed=4)
    assert len(set(drawn.tolist())) == 50 and drawn.tolist() == sorted(drawn.tolist())
    assert drawn.tolist() == sample(1000, 50, seed=4).tolist() != sample(1000, 50, seed=5).tolist()
    assert sample(10, 50, seed=4).tolist() == list(range(10))


def test_every_row_is_as_likely_in_a_sample():
    hits = Counter(number for seed in range(2000) for number in sample(10, 3, seed).tolist())
    assert all(abs(hits[number] / 2000 - 0.3) < 0.05 for number in range(10))
