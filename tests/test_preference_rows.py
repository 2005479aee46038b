"""Rows of preferences, from the columns of the data to what the trainers get."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from affinage.errors import AffinageError
from affinage.ludwig_ext.batches import SpecialTokens
from affinage.ludwig_ext.preference_rows import Opinion, Pair, build

helper = runpy.run_path(str(Path(__file__).with_name("preference_rows.py")))
pairs, ready, section = (helper[name] for name in ("pairs", "ready", "section"))

SPECIAL = SpecialTokens(prefix=(), suffix=(), pad=2, eos=1)
PROMPTS = [[10, 11], [12, 13], [14, 15]]
CHOSEN = [[20], [21, 22], [23]]
REJECTED = [[30, 31], [32], [33]]


def ids(row):
    return row.ids.tolist()


def test_a_pair_holds_both_answers_after_the_same_prompt():
    rows = build("dpo", PROMPTS, CHOSEN, REJECTED, SPECIAL, 8)
    assert [type(row) for row in rows.rows] == [Pair] * 3
    assert [ids(row) for row in rows.rows[1].learnt] == [[12, 13, 21, 22, 1], [12, 13, 32, 1]]
    assert rows.answer_tokens == sum(len(a) + len(b) + 2 for a, b in zip(CHOSEN, REJECTED, strict=True))


def test_kto_makes_a_row_of_each_answer_and_sets_it_beside_the_answer_to_another_prompt():
    rows = build("kto", PROMPTS, [*CHOSEN[:2], None], [None, *REJECTED[1:]], SPECIAL, 8).rows
    assert [type(row) for row in rows] == [Opinion] * 4
    assert [(ids(row), row.desirable) for row in rows] == [
        ([10, 11, 20, 1], True),
        ([12, 13, 21, 22, 1], True),
        ([12, 13, 32, 1], False),
        ([14, 15, 33, 1], False),
    ]
    assert [ids(row.mismatched) for row in rows] == [
        [10, 11, 33, 1],
        [12, 13, 20, 1],
        [12, 13, 20, 1],
        [14, 15, 32, 1],
    ]


def test_what_the_limit_cuts_is_counted_and_pairs_without_a_difference_left_are_skipped():
    rows = build("dpo", PROMPTS, [[20, 21, 22], [20], [20]], [[20, 21, 23], [21], [21]], SPECIAL, 4)
    assert rows.skipped == [0]
    assert (rows.cut_rows, rows.cut_answer_tokens) == (1, 4)
    assert [ids(row) for row in rows.rows] == [[12, 13, 20, 1], [14, 15, 20, 1]]
    assert build("dpo", [[1] * 9], [[20]], [[21]], SPECIAL, 4).skipped == [0]
    assert build("kto", [[1] * 9], [[20]], [[21]], SPECIAL, 4).skipped == [0, 0]


@pytest.fixture
def useful(affinage, llm_config):
    """What is left of some rows, and what was left out."""
    from affinage.preference_columns import keep_useful
    from affinage.training import resolve

    def keep(kind, *rows, split="train", **keys):
        table = pd.DataFrame(rows, columns=["output", "rejected"]).assign(instruction="copie", input="le chat")
        splits = {split: table}
        dropped = keep_useful(splits, resolve(llm_config(trainer=section(kind, **keys)), "test"))
        return splits[split]["output"].tolist(), dropped

    return keep


@pytest.mark.parametrize("kind", ["dpo", "orpo"])
def test_pairs_without_two_different_answers_are_left_out_and_counted_by_reason(kind, useful):
    rows = [("a", "b"), ("", "b"), (" ", "b"), ("a", ""), ("a", None), ("a", " a ")]
    kept, dropped = useful(kind, *rows)
    assert kept == ["a"]
    assert dropped == {"train": 2, "train: no rejected answer": 2, "train: both answers are the same": 1}


def test_kto_takes_rows_with_one_of_the_two_answers(useful):
    kept, dropped = useful("kto", ("a", "b"), ("", "b"), ("a", ""), ("", ""), ("a", "a"))
    assert kept == ["a", "", "a"]
    assert dropped == {"train": 0, "train: neither answer": 1, "train: both answers are the same": 1}


def test_a_test_row_needs_only_the_answer_it_is_compared_with(useful):
    assert useful("dpo", ("a", ""), ("", "b"), split="test") == (["a"], {"test": 1})


def test_what_is_left_out_is_said_by_split_and_reason():
    from affinage.reports import dropped_sentences

    assert dropped_sentences({"train": 0, "test": 2, "train: no rejected answer": 3}) == [
        "2 test rows are left out: no answer",
        "3 train rows are left out: no rejected answer",
    ]


def test_a_missing_column_is_named_with_those_there_are(useful):
    with pytest.raises(AffinageError, match=r"train split: no column 'worse'\. Allowed: .*rejected"):
        useful("dpo", ("a", "b"), rejected_column="worse")


def test_ludwig_rows_and_their_rejected_answers_stay_together(affinage, prepare, llm_config, sentences):
    data = pairs(sentences(9))
    trainer = ready(prepare, llm_config(trainer=section("dpo")), data)
    decode = trainer.model.tokenizer.decode
    read = [
        tuple(decode(row.ids[row.answer_start :], skip_special_tokens=True) for row in pair.learnt)
        for pair in trainer.rows.rows
    ]
    assert read == list(zip(data["output"], data["rejected"], strict=True))
    assert all(np.isfinite(pair.references).all() for pair in trainer.rows.rows)


def test_lengths_count_every_answer_and_rows_are_those_of_the_trainer(affinage, llm_config, sentences):
    from affinage.token_lengths import tokenize, tokenizer_of
    from affinage.training import resolve

    data = pairs(sentences(5))
    for kind, n in (("dpo", 5), ("kto", 10)):
        resolved = resolve(llm_config(trainer=section(kind)), "test")
        found = tokenize(resolved, data, tokenizer_of(resolved))
        assert len(found.answer) == 10
        assert len(found.rows) == n
        assert found.lost_answer_tokens == found.cut == 0
