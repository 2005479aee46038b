"""Token lengths and cuts against transformers' tokenization and the rows of a real trainer."""

import numpy as np
import pandas as pd
import pytest
from transformers import AutoTokenizer

from affinage.errors import AffinageError

TEMPLATE = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"


@pytest.fixture
def measure(affinage, llm_config):
    """The SplitTokens of rows and the resolved config, for sections of a config on a tiny model."""
    from affinage import token_lengths, training

    def go(data, architecture="llama", tokenizer="plain", **sections):
        resolved = training.resolve(llm_config(architecture, tokenizer, **sections), "test")
        return token_lengths.tokenize(resolved, data, token_lengths.tokenizer_of(resolved)), resolved

    return go


def lengths(folder, data):
    """Tokens of prompt and of answer with EOS, by transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = [len(tokenizer(TEMPLATE.format(**row)).input_ids) for row in data.to_dict("records")]
    answer = [len(tokenizer(text, add_special_tokens=False).input_ids) + 1 for text in data["output"]]
    return np.array(prompt), np.array(answer)


@pytest.mark.parametrize(
    ("architecture", "tokenizer"), [("llama", "plain"), ("llama", "bos"), ("gpt2", "no_pad"), ("mistral", "bos")]
)
def test_lengths_are_those_of_transformers(measure, sentences, tiny_model, architecture, tokenizer):
    data = sentences(30)
    split, _ = measure(data, architecture, tokenizer)
    prompt, answer = lengths(tiny_model(architecture, tokenizer), data)
    for ours, theirs in ((split.prompt, prompt), (split.answer, answer)):
        assert ours.tolist() == theirs.tolist()
        for q in (50, 95, 100):
            assert np.percentile(ours, q) == np.percentile(theirs, q)
    assert (split.cut, split.lost_answer_tokens, split.lost_answers) == (0, 0, 0)


def test_the_global_limit_cuts_what_an_independent_count_says(measure, sentences, tiny_model):
    data = sentences(40)
    prompt, answer = lengths(tiny_model(), data)
    limit = int(np.percentile(prompt, 75))
    split, _ = measure(data, preprocessing={"global_max_sequence_length": limit})
    assert split.cut == int((prompt + answer > limit).sum())
    assert split.lost_answers == int((prompt >= limit).sum()) > 0
    assert split.lost_answer_tokens == int(np.minimum(answer, np.maximum(0, prompt + answer - limit)).sum())


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"preprocessing": {"global_max_sequence_length": 80}},
        {
            "output_features": [{"name": "output", "type": "text", "preprocessing": {"max_sequence_length": 6}}],
        },
        {
            "input_features": [{"name": "prompt", "type": "text", "preprocessing": {"max_sequence_length": 60}}],
        },
    ],
    ids=["none", "global", "answer", "prompt"],
)
@pytest.mark.parametrize(("architecture", "tokenizer"), [("llama", "plain"), ("llama", "bos"), ("gpt2", "no_pad")])
def test_rows_are_those_of_a_trainer(measure, trainer_of, llm_config, sentences, architecture, tokenizer, limits):
    data = sentences(24)
    split, _ = measure(data, architecture, tokenizer, **limits)
    trainer = trainer_of(llm_config(architecture, tokenizer, **limits), data)
    assert len(split.rows) == len(trainer.rows) > 0
    for ours, theirs in zip(split.rows.rows, trainer.rows.rows, strict=True):
        assert ours.ids.tolist() == theirs.ids.tolist()
        assert ours.answer_start == theirs.answer_start
    assert split.rows.skipped == trainer.rows.skipped


def test_a_limit_of_a_feature_is_counted_by_itself(measure, sentences, tiny_model):
    data = sentences(30)
    _, answer = lengths(tiny_model(), data)
    output = [{"name": "output", "type": "text", "preprocessing": {"max_sequence_length": 6}}]
    split, resolved = measure(data, output_features=output)
    assert split.answers_cut == split.cut == int((answer - 1 > 6).sum()) > 1
    assert split.lost_answer_tokens == int(np.maximum(0, answer - 1 - 6).sum())
    from affinage.token_lengths import check_cuts

    with pytest.raises(AffinageError, match=r"output_features\.0\.preprocessing\.max_sequence_length"):
        check_cuts(resolved, split)


def test_more_than_the_context_is_cut_without_any_setting(measure, sentences):
    data = sentences(10)
    data.loc[0, "input"] = "le chat " * 400
    split, _ = measure(data)
    assert split.cut == split.lost_answers == 1
    assert split.rows.skipped == [0]


def rows_with_long_ones(sentences, n, long):
    data = sentences(n)
    data.loc[: long - 1, "output"] = "LE CHAT " * 300
    return data


@pytest.mark.parametrize(("n", "long", "refused"), [(100, 2, True), (200, 2, False), (199, 2, True), (100, 0, False)])
def test_more_than_one_row_in_a_hundred_cut_is_refused(measure, sentences, n, long, refused, monkeypatch):
    from affinage.token_lengths import check_cuts

    monkeypatch.delenv("ALLOW_TRUNCATION", raising=False)
    split, resolved = measure(rows_with_long_ones(sentences, n, long))
    if not refused:
        check_cuts(resolved, split)
        return
    with pytest.raises(AffinageError, match=rf"{long} of {n} training rows .* would be cut.*ALLOW_TRUNCATION=1"):
        check_cuts(resolved, split)


def test_truncation_can_be_allowed(measure, sentences, monkeypatch):
    from affinage.token_lengths import check_cuts

    split, resolved = measure(rows_with_long_ones(sentences, 20, 5))
    check_cuts(resolved, split, allow_truncation=True)
    monkeypatch.setenv("ALLOW_TRUNCATION", "1")
    check_cuts(resolved, split)
    with pytest.raises(AffinageError):
        check_cuts(resolved, split, allow_truncation=False)


def test_rows_that_all_lose_their_answer_are_refused_even_when_truncation_is_allowed(measure, sentences):
    from affinage.token_lengths import check_cuts

    split, resolved = measure(sentences(10), preprocessing={"global_max_sequence_length": 20})
    with pytest.raises(AffinageError, match="nothing would be trained"):
        check_cuts(resolved, split, allow_truncation=True)


def test_what_training_asks_first_looks_at_the_training_split(affinage, llm_config, sentences):
    from affinage import token_lengths, training

    config = llm_config()
    resolved = training.resolve(config, "test")
    good, bad = sentences(20), rows_with_long_ones(sentences, 20, 5)

    def plan(train: pd.DataFrame, test: pd.DataFrame):
        return training.Plan("copie", "tiny", config, resolved, "", [], {"train": train, "test": test}, {})

    token_lengths.refuse_truncation(plan(good, bad))
    with pytest.raises(AffinageError, match="5 of 20 training rows"):
        token_lengths.refuse_truncation(plan(bad, good))
