"""Evening out labels: which rows go, which are repeated, and under which ids."""

from collections import Counter

import pytest

from affinage.curation.balancing import Balance, balance, repeat
from affinage.curation.rows import Counts
from affinage.errors import AffinageError

LABELS = ["cadastre"] * 50 + ["notaires"] * 20 + ["horaires"] * 7


def written(labels, copies):
    """Rows by label that these numbers of copies write."""
    return Counter(dict.fromkeys(labels, 0)) + Counter(
        label for label, n in zip(labels, copies, strict=True) for _ in range(n)
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("cap=30", {"cadastre": 30, "notaires": 20, "horaires": 7}),
        ("cap=1000", {"cadastre": 50, "notaires": 20, "horaires": 7}),
        ("downsample", {"cadastre": 7, "notaires": 7, "horaires": 7}),
        ("downsample=10", {"cadastre": 10, "notaires": 10, "horaires": 7}),
        ("upsample", {"cadastre": 50, "notaires": 50, "horaires": 50}),
        ("upsample=15", {"cadastre": 50, "notaires": 20, "horaires": 15}),
    ],
)
def test_each_rule_gives_the_sizes_it_promises(rule, expected):
    balanced = balance(LABELS, Balance.parse(rule), seed=1)
    assert written(LABELS, balanced.copies) == expected
    assert balanced.table == {label: (LABELS.count(label), n) for label, n in expected.items()}


def test_repeats_are_spread_evenly_over_the_rows_of_a_label():
    copies = balance(LABELS, Balance("upsample"), seed=1).copies[70:]
    assert set(copies.tolist()) == {7, 8} and copies.sum() == 50


@pytest.mark.parametrize("rule", ["downsample", "upsample"])
def test_the_seed_decides_which_rows(rule):
    first, again, other = (balance(LABELS, Balance.parse(rule), seed).copies.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_rows_without_a_label_are_left_as_they_are():
    balanced = balance(["", "a", "a", "", "b"], Balance("downsample"), seed=1)
    assert balanced.copies[[0, 3]].tolist() == [1, 1]
    assert balanced.table == {"": (2, 2), "a": (2, 1), "b": (1, 1)}


def test_no_label_at_all_is_an_error():
    with pytest.raises(AffinageError, match="no training row has a label"):
        balance(["", ""], Balance("downsample"), seed=1)


@pytest.mark.parametrize("text", ["cap", "cap=", "cap=0", "upsample=-1", "downsample=1.5", "oversample", "", "cap=9x"])
def test_a_rule_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="is no rule"):
        Balance.parse(text)


def rows_named(*ids):
    return [{"id": name, "group": f"g-{name}", "instruction": f"Que dit {name} ?", "label": "a"} for name in ids]


def test_copies_get_new_ids_and_keep_their_group():
    [row] = rows_named("x")
    made = list(repeat([(row, 3)], ["x"], Counts()))
    assert [(each["id"], each["group"]) for each in made] == [("x", "g-x"), ("x~2", "g-x"), ("x~3", "g-x")]
    assert [each["instruction"] for each in made] == ["Que dit x ?"] * 3


def test_a_new_id_never_meets_one_in_use():
    rows = rows_named("x", "x~2", "x~3~2")
    made = [row["id"] for row in repeat([(rows[0], 3), (rows[1], 2), (rows[2], 1)], [r["id"] for r in rows], Counts())]
    assert len(set(made)) == len(made) == 6
    assert {"x", "x~2", "x~3~2"} <= set(made)


def test_rows_in_plus_added_minus_dropped_are_rows_out():
    counts = Counts()
    made = list(repeat(zip(rows_named("x", "y", "z"), [0, 1, 4], strict=True), ["x", "y", "z"], counts))
    reasons = counts.steps["balance"]
    assert reasons == {
        "seen": 3,
        "dropped: too many rows of the label 'a'": 1,
        "added: repeated rows of the label 'a'": 3,
    }
    assert len(made) == 3 - 1 + 3
