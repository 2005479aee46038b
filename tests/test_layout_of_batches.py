"""How the rows of a step are laid out: the cut that costs least, and the same loss and gradients in every layout."""

import itertools
import random

import numpy as np
import pytest
import torch

from affinage.errors import AffinageError
from affinage.ludwig_ext import layout
from affinage.ludwig_ext.batches import IGNORED, Row, collate


def cost(lengths, cuts, per_call):
    return sum(len(cut) * max(lengths[i] for i in cut) + per_call for cut in cuts)


def every_cut(order, most_rows):
    for bars in itertools.product([False, True], repeat=len(order) - 1):
        cuts = [[order[0]]]
        for i, bar in zip(order[1:], bars, strict=True):
            cuts.append([i]) if bar else cuts[-1].append(i)
        if max(map(len, cuts)) <= most_rows:
            yield cuts


@pytest.mark.parametrize("per_call", [0, 3, 40, 1000])
@pytest.mark.parametrize("most_rows", [1, 3, 8])
def test_no_other_cut_of_rows_sorted_by_length_costs_less(per_call, most_rows):
    draw = random.Random(per_call + most_rows)
    for _ in range(5):
        lengths = [draw.randint(1, 60) for _ in range(8)]
        cuts = layout.cut_by_length(lengths, most_rows, per_call)
        assert sorted(i for cut in cuts for i in cut) == list(range(8))
        assert max(map(len, cuts)) <= most_rows
        order = sorted(range(8), key=lambda i: -lengths[i])
        best = min(cost(lengths, other, per_call) for other in every_cut(order, most_rows))
        assert cost(lengths, cuts, per_call) == best


def test_rows_of_one_length_stay_in_one_batch_and_no_batch_outgrows_the_padded_one():
    assert layout.cut_by_length([7] * 5, 8, 1) == [[0, 1, 2, 3, 4]]
    rows = [Row(np.arange(1, n + 1), 1) for n in (3, 90, 4, 88)]
    batches = layout.padded(rows, 4, 5, pad=0)
    assert [tuple(b.input_ids.shape) for b in batches] == [(2, 90), (2, 4)]
    assert all(b.input_ids.numel() <= 4 * 90 for b in batches)


def test_packed_rows_lose_no_token_and_start_at_position_zero():
    rows = [Row(np.array([5, 6, 7]), 2), Row(np.array([8, 9]), 1), Row(np.array([3, 4]), 1)]
    first, second = layout.packed(rows, 2)
    assert first.input_ids.tolist() == [[5, 6, 7, 8, 9]]
    assert first.position_ids.tolist() == [[0, 1, 2, 0, 1]]
    assert first.labels.tolist() == [[IGNORED, IGNORED, 7, IGNORED, 9]]
    assert first.attention_mask is None
    assert (first.tokens, first.answer_tokens) == (5, 2)
    assert second.input_ids.tolist() == [[3, 4]]


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gpt2"])
@pytest.mark.parametrize("adapter", [{"type": "lora", "dropout": 0.0}, None])
def test_loss_and_gradients_are_the_same_packed_cut_by_length_and_in_one_padded_batch(
    llm_config, sentences, trainer_of, architecture, adapter
):
    trainer = trainer_of(llm_config(architecture, adapter=adapter), sentences(6))
    model, rows, pad = trainer.model.model, trainer.rows.rows, trainer.model.special.pad
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and adapter:
                parameter.normal_(0, 0.1)

    def step(batches):
        model.zero_grad()
        total = sum(trainer.nll(batch) for batch in batches)
        total.backward()
        return total.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])

    loss, gradients = step([collate(rows, pad)])
    by_length = layout.padded(rows, 8, 1, pad)
    assert len(by_length) > 1
    for batches in (by_length, layout.packed(rows, 6), layout.packed(rows, 2)):
        other_loss, other = step(batches)
        assert other_loss == pytest.approx(loss, rel=1e-5)
        assert (other - gradients).norm() / gradients.norm() < 1e-5


def test_packing_is_refused_for_a_model_whose_rows_would_see_one_another(llm_config, sentences, trainer_of):
    for architecture, refused in (("llama", False), ("bloom", True)):
        trainer = trainer_of(llm_config(architecture), sentences(4))
        arguments = trainer.model.model, trainer.rows.rows, trainer.model.special.pad
        if refused:
            with pytest.raises(AffinageError, match="see one another"):
                layout.check_packing(*arguments)
        else:
            layout.check_packing(*arguments)


def test_ludwigs_packing_key_packs_and_its_limit_holds(llm_config, sentences, trainer_of):
    trainer_section = {"type": "finetune", "epochs": 1, "batch_size": 6, "packing": True}
    config = llm_config(trainer=trainer_section | {"packing_max_sequences_per_pack": 2})
    trainer = trainer_of(config, sentences(6))
    batches = trainer._lay_out(trainer.rows.rows)
    assert [len(b.input_ids) for b in batches] == [1, 1, 1]
    assert [int((b.position_ids == 0).sum()) for b in batches] == [2, 2, 2]
