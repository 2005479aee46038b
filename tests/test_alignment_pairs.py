"""The pairs of datasets/alignment: right sentences against typical mistakes."""

import pytest

from affinage.paths import DATASETS
from affinage.voix_passive.mistakes import MISTAKES, make_pairs
from affinage.voix_passive.pairs_dataset import write_pairs

ROWS = make_pairs(1)


def test_the_shipped_files_are_those_that_the_script_writes(tmp_path):
    write_pairs(tmp_path, 1)
    for name in ("alignment.jsonl", "README.md"):
        assert (tmp_path / name).read_bytes() == (DATASETS / "alignment" / name).read_bytes()
    assert (tmp_path / "alignment.jsonl").stat().st_size < 200_000


def test_the_two_answers_differ_and_neither_repeats_the_request():
    assert all(len({row["input"], row["output"], row["rejected"]}) == 3 for row in ROWS)
    assert len({row["id"] for row in ROWS}) == len({row["group"] for row in ROWS}) == len(ROWS)
    assert make_pairs(2) != ROWS == make_pairs(1)


@pytest.mark.parametrize("split", [0, 1, 2])
def test_every_mistake_is_as_frequent_in_every_split(split):
    labels = [row["label"] for row in ROWS if row["split"] == split]
    assert {labels.count(label) for label in MISTAKES} == {len(labels) // len(MISTAKES)}


def test_no_verb_of_the_test_split_stands_in_another():
    verbs = [{row["group"].split("|")[1] for row in ROWS if (row["split"] == 2) == test} for test in (True, False)]
    assert not verbs[0] & verbs[1]


@pytest.mark.parametrize(
    ("label", "holds"),
    [
        ("negated", lambda row: " pas " in row["rejected"]),
        ("rambling", lambda row: row["rejected"].startswith(row["output"] + " ")),
        ("agreement", lambda row: abs(len(row["rejected"]) - len(row["output"])) == 1),
        ("swapped", lambda row: " par " in row["rejected"]),
    ],
)
def test_the_mistake_is_the_one_named(label, holds):
    assert all(holds(row) for row in ROWS if row["label"] == label)
