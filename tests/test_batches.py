"""Special tokens, rows and batches, against ids put together by hand from a tokenizer that adds nothing."""

import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import AutoTokenizer

from affinage.ludwig_ext.batches import IGNORED, Row, SpecialTokens, build_rows, collate, epoch_batches

BOS, EOS, PAD = 0, 1, 2
# name: (tokenizer fixture, template of every encoded text, prefix, suffix, pad)
KINDS = {
    "adds nothing": ("plain", None, [], [], PAD),
    "adds BOS, pads with EOS": ("bos", None, [BOS], [], EOS),
    "adds BOS and EOS": ("plain", "<s> $A </s>", [BOS], [EOS], PAD),
    "adds BOS and EOS, pads with EOS": ("bos", "<s> $A </s>", [BOS], [EOS], EOS),
    "one token for pad, EOS and BOS": ("no_pad", None, [], [], EOS),
    "one token for pad, EOS and BOS, added in front": ("no_pad", "</s> $A", [EOS], [], EOS),
}
TEXTS = ["a", "le chat lit", "un livre\n\n### Response:\n", "deux</s>textes</s>ici", ""]
SPECIAL = SpecialTokens((), (), pad=9, eos=8)


@pytest.fixture(params=KINDS)
def kind(request, tiny_model):
    """(tokenizer, prefix, suffix, pad) of one kind of tokenizer."""
    name, template, prefix, suffix, pad = KINDS[request.param]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama", name))
    if template:
        names = [("<s>", BOS), ("</s>", EOS)]
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=names
        )
    return tokenizer, prefix, suffix, pad


def as_ludwig_stores(tokenizer, text, pad, padding=5):
    """Encoded with special tokens and padded on the left."""
    return [pad] * padding + tokenizer.encode(text)


def plain_ids(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def test_special_tokens_are_read_off_any_kind_of_tokenizer(kind):
    tokenizer, prefix, suffix, pad = kind
    assert SpecialTokens.of(tokenizer) == SpecialTokens(tuple(prefix), tuple(suffix), pad, EOS)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("padding", [0, 5])
def test_a_prompt_has_the_prefix_once_and_neither_padding_nor_suffix(kind, text, padding):
    tokenizer, prefix, _, pad = kind
    stored = as_ludwig_stores(tokenizer, text, pad, padding)
    assert SpecialTokens.of(tokenizer).prompt(stored) == prefix + plain_ids(tokenizer, text)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("padding", [0, 5])
def test_an_answer_has_no_bos_and_ends_with_one_eos(kind, text, padding):
    tokenizer, _, _, pad = kind
    text = text.removesuffix("</s>")
    stored = as_ludwig_stores(tokenizer, text, pad, padding)
    assert SpecialTokens.of(tokenizer).answer(stored) == [*plain_ids(tokenizer, text), EOS]


def test_an_end_token_inside_a_text_is_one_token_and_stays(kind):
    tokenizer, prefix, _, pad = kind
    stored = as_ludwig_stores(tokenizer, "deux</s>textes</s>ici", pad)
    special = SpecialTokens.of(tokenizer)
    assert special.prompt(stored)[len(prefix) :].count(EOS) == 2
    assert special.answer(stored).count(EOS) == 3


def test_no_bos_stands_between_prompt_and_answer(kind):
    tokenizer, prefix, _, pad = kind
    prompts, answers = ([as_ludwig_stores(tokenizer, text, pad)] for text in ("le chat", "LE CHAT"))
    row = build_rows(prompts, answers, SpecialTokens.of(tokenizer), 256).rows[0]
    assert row.ids.tolist() == [*prefix, *plain_ids(tokenizer, "le chat"), *plain_ids(tokenizer, "LE CHAT"), EOS]
    assert row.answer_start == len(prefix) + len(plain_ids(tokenizer, "le chat"))


def test_a_row_beyond_the_limit_loses_its_end_and_is_counted():
    prompts = np.array([[9, 9, 1, 2], [9, 9, 1, 2], [1, 2, 3, 4]])
    answers = np.array([[9, 5, 6, 7], [9, 9, 9, 5], [4, 5, 6, 7]])
    rows = build_rows(prompts, answers, SPECIAL, max_length=5)
    assert [row.ids.tolist() for row in rows.rows] == [[1, 2, 5, 6, 7], [1, 2, 5, 8], [1, 2, 3, 4, 4]]
    assert [row.answer_tokens for row in rows.rows] == [3, 2, 1]
    assert (rows.skipped, rows.cut_rows, rows.cut_answer_tokens) == ([], 2, 1 + 4)
    assert (len(rows), rows.answer_tokens) == (3, 6)


def test_a_row_that_fits_exactly_is_whole():
    rows = build_rows(np.array([[9, 1, 2]]), np.array([[9, 9, 5]]), SPECIAL, max_length=4)
    assert rows.rows[0].ids.tolist() == [1, 2, 5, 8]
    assert (rows.cut_rows, rows.cut_answer_tokens) == (0, 0)


def test_a_row_whose_prompt_fills_the_limit_is_skipped_with_its_position():
    prompts = np.array([[9, 9, 9, 1], [9, 1, 2, 3], [9, 9, 1, 2], [1, 2, 3, 4]])
    answers = np.array([[9, 9, 5], [9, 5, 6], [9, 9, 7], [9, 9, 5]])
    rows = build_rows(prompts, answers, SPECIAL, max_length=3)
    assert [row.ids.tolist() for row in rows.rows] == [[1, 5, 8], [1, 2, 7]]
    assert rows.skipped == [1, 3]
    assert rows.cut_answer_tokens == 0 + 3 + 1 + 2


def test_an_answer_without_a_token_before_it_is_skipped():
    rows = build_rows(np.array([[9, 9], [9, 1]]), np.array([[4, 5], [4, 5]]), SPECIAL, max_length=10)
    assert rows.skipped == [0]
    assert [row.ids.tolist() for row in rows.rows] == [[1, 4, 5, 8]]


def test_prompts_and_answers_of_different_length_are_refused():
    with pytest.raises(ValueError):
        build_rows(np.array([[1], [2]]), np.array([[1]]), SPECIAL, 10)


def test_a_batch_is_padded_on_the_right_with_labels_on_the_answer_alone():
    rows = [Row(np.array([1, 2, 5, 8]), 2), Row(np.array([3, 8]), 1), Row(np.array([4, 4, 4, 6, 6, 8]), 3)]
    batch = collate(rows, pad=8)
    no = IGNORED
    assert batch.input_ids.tolist() == [[1, 2, 5, 8, 8, 8], [3, 8, 8, 8, 8, 8], [4, 4, 4, 6, 6, 8]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1] * 6]
    assert batch.labels.tolist() == [[no, no, 5, 8, no, no], [no, 8, no, no, no, no], [no, no, no, 6, 6, 8]]
    assert (batch.answer_tokens, batch.tokens) == (2 + 1 + 3, 4 + 2 + 6)


def test_the_ignored_label_is_the_one_torch_leaves_out():
    logits, labels = torch.randn(3, 7), torch.tensor([2, IGNORED, 4])
    loss = torch.nn.functional.cross_entropy(logits, labels)
    assert torch.equal(loss, torch.nn.functional.cross_entropy(logits[[0, 2]], labels[[0, 2]]))


def test_a_batch_moves_whole():
    moved = collate([Row(np.array([1, 2]), 1)], pad=0).to("meta")
    assert {moved.input_ids.device, moved.attention_mask.device, moved.labels.device} == {torch.device("meta")}


@pytest.mark.parametrize(("n_rows", "batch_size"), [(9, 4), (8, 4), (3, 8), (1, 1), (101, 10)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_holds_every_row_exactly_once(n_rows, batch_size, shuffle):
    batches = epoch_batches(n_rows, batch_size, 42, 0, shuffle)
    assert sorted(row for batch in batches for row in batch) == list(range(n_rows))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert len(batches[-1]) == n_rows - batch_size * (len(batches) - 1)


def test_a_last_batch_of_one_row_is_kept():
    assert len(epoch_batches(9, 4, 42, 0)[-1]) == 1


def test_the_order_is_fixed_by_seed_and_epoch_alone():
    first = [list(batch) for batch in epoch_batches(50, 4, 42, 3)]
    np.random.seed(0)
    other_epoch, other_seed = epoch_batches(50, 4, 42, 4), epoch_batches(50, 4, 43, 3)
    assert epoch_batches(50, 4, 42, 3) == first  # the cache holds one epoch, so this one is drawn again
    assert other_epoch != first
    assert other_seed != first
    assert other_epoch != other_seed


def test_without_shuffling_the_order_is_that_of_the_data():
    assert epoch_batches(5, 2, 42, 7, shuffle=False) == [[0, 1], [2, 3], [4]]
