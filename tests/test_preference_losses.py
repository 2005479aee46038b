"""The losses of DPO, KTO and ORPO and their gradients, against those of TRL on the same rows."""

import copy
import runpy
from pathlib import Path

import pytest
import torch

from affinage.ludwig_ext import preference_losses as losses
from affinage.ludwig_ext.batches import Row, collate

helper = runpy.run_path(str(Path(__file__).with_name("preference_rows.py")))
gradients, move, pairs, ready, section = (helper[name] for name in ("gradients", "move", "pairs", "ready", "section"))

PAIRS = [{"prompt": "le chat", "chosen": " mange", "rejected": " lit"}] * 2


@pytest.fixture
def before_first_step(affinage, prepare, llm_config, sentences):
    def make(kind, n=6, **keys):
        sections = {name: keys.pop(name) for name in ("quantization", "adapter") if name in keys}
        return ready(prepare, llm_config(trainer=section(kind, **keys), **sections), pairs(sentences(n)))

    return make


def made_by(trl_class, config_class, trainer, folder, rows=PAIRS, **settings):
    """TRL's trainer on a copy of a trainer's model, with the untrained adapter as its reference."""
    from datasets import Dataset

    common = {"output_dir": str(folder), "report_to": [], "bf16": False, "use_cpu": True, "max_length": 256}
    return trl_class(
        model=copy.deepcopy(trainer.model.model),
        args=config_class(**common, gradient_checkpointing=False, **settings),
        train_dataset=Dataset.from_list(rows),
        processing_class=copy.deepcopy(trainer.model.tokenizer),
    )


def ours(trainer):
    """The mean loss of one step on all rows, and its gradients."""
    trainer.model.zero_grad()
    move(trainer.model.model)
    rows = trainer.rows.rows
    return trainer._accumulate(trainer._lay_out(rows))[0] / len(rows), gradients(trainer.model.model)


def theirs(trl, batch, compute=None):
    move(trl.model)
    trl.model.zero_grad()
    loss = (compute or trl.compute_loss)(trl.model, batch)
    loss = loss[0] if isinstance(loss, tuple) else loss
    loss.backward()
    return loss.item(), gradients(trl.model)


def assert_same(one, other):
    (loss, moved), (their_loss, their_moved) = one, other
    assert loss == pytest.approx(their_loss, rel=1e-5)
    assert moved.keys() == their_moved.keys()
    for name, gradient in moved.items():
        assert torch.allclose(gradient, their_moved[name], rtol=1e-3, atol=1e-5 * float(gradient.abs().max())), name
    assert max(float(g.abs().max()) for g in moved.values()) > 1e-4


def parts(row):
    return row.ids[: row.answer_start].tolist(), row.ids[row.answer_start :].tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "beta"), [("sigmoid", 0.1), ("ipo", 0.4)])
def test_dpo_equals_that_of_trl(loss, beta, before_first_step, tmp_path):
    from trl import DPOConfig, DPOTrainer

    trainer = before_first_step("dpo", dpo_beta=beta, dpo_loss_type=loss)
    trl = made_by(DPOTrainer, DPOConfig, trainer, tmp_path, beta=beta, loss_type=loss)
    examples = []
    for row in trainer.rows.rows:
        (prompt, chosen), (_, rejected) = parts(row), parts(row.rejected)
        examples.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    assert_same(ours(trainer), theirs(trl, trl.data_collator(examples)))


@pytest.mark.slow
def test_kto_equals_that_of_trl_its_estimate_of_the_divergence_included(before_first_step, tmp_path):
    from trl import KTOConfig, KTOTrainer

    trainer = before_first_step("kto", kto_beta=0.2)
    rows = [{"prompt": "le chat", "completion": " mange", "label": label} for label in (True, False)]
    trl = made_by(KTOTrainer, KTOConfig, trainer, tmp_path, rows, beta=0.2, per_device_train_batch_size=2)
    examples = []
    for row in trainer.rows.rows:
        (prompt, answer), (_, other) = parts(row), parts(row.mismatched)
        one = {"prompt_ids": prompt, "completion_ids": answer, "KL_completion_ids": other, "label": row.desirable}
        examples.append(one)
    assert sum(example["label"] for example in examples) == 6
    assert len(examples) == 12
    assert_same(ours(trainer), theirs(trl, trl.data_collator(examples)))
    assert trainer._kl > 0
    assert trainer._kl == pytest.approx(trl._metrics["train"]["kl"][-1], rel=1e-4)


@pytest.mark.slow
def test_orpo_equals_that_of_trl(before_first_step, tmp_path):
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    trainer = before_first_step("orpo", orpo_beta=0.3)
    trl = made_by(ORPOTrainer, ORPOConfig, trainer, tmp_path, beta=0.3)
    batch = {}
    for side, rows in (("chosen", trainer.rows.rows), ("rejected", [row.rejected for row in trainer.rows.rows])):
        one = collate([Row(row.ids, row.answer_start) for row in rows], trainer.model.special.pad)
        batch |= {f"{side}_input_ids": one.input_ids, f"{side}_attention_mask": one.attention_mask}
        batch[f"{side}_labels"] = one.labels
    assert_same(ours(trainer), theirs(trl, batch, trl.get_batch_loss_metrics))


def test_label_smoothing_is_that_of_ludwigs_own_function(before_first_step):
    from ludwig.modules.dpo_loss import dpo_loss

    trainer = before_first_step("dpo", dpo_beta=0.5, dpo_label_smoothing=0.2)
    rows = trainer.rows.rows
    loss, _ = ours(trainer)
    sides = [
        collate([Row(r.ids, r.answer_start) for r in side], trainer.model.special.pad)
        for side in (rows, [row.rejected for row in rows])
    ]
    logits = [trainer.model.model(**side.inputs).logits for side in sides]
    references = torch.tensor([row.references for row in rows]).T
    expected, _, _ = dpo_loss(*logits, *(side.labels for side in sides), *references, beta=0.5, label_smoothing=0.2)
    assert loss == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("bits", [None, 4])
def test_the_reference_is_the_base_with_the_adapter_off(bits, before_first_step):
    quantization = {"bits": 4, "bnb_4bit_compute_dtype": "float32"} if bits else None
    trainer = before_first_step("dpo", quantization=quantization)
    move(trainer.model.model)
    rows = trainer.rows.rows
    sequences = [sequence for row in rows for sequence in row.referenced]
    moved = trainer.logps(sequences)
    with trainer.model.model.disable_adapter():
        base = trainer.logps(sequences)
    known = [reference for row in rows for reference in row.references]
    assert known == pytest.approx(base, abs=1e-4)
    assert max(abs(a - b) for a, b in zip(known, moved, strict=True)) > 0.1


@pytest.mark.parametrize("kind", ["dpo", "kto", "orpo"])
def test_micro_batches_add_up_to_one_batch(kind, before_first_step):
    trainer = before_first_step(kind)
    whole, expected = ours(trainer)
    trainer.model.zero_grad()
    rows = trainer.rows.rows
    cuts = [trainer._collate(rows[i : i + 2]) for i in range(0, len(rows), 2)]
    assert trainer._accumulate(cuts)[0] / len(rows) == pytest.approx(whole, rel=1e-5)
    for name, gradient in gradients(trainer.model.model).items():
        assert torch.allclose(gradient, expected[name], rtol=1e-3, atol=1e-6), name


def test_the_gradient_is_the_same_with_logits_of_a_few_positions_at_a_time(before_first_step, monkeypatch):
    from affinage.ludwig_ext import loss

    trainer = before_first_step("dpo")
    whole, expected = ours(trainer)
    trainer.model.zero_grad()
    monkeypatch.setattr(loss, "LOGITS_AT_ONCE", 320 * 7)
    rows = trainer.rows.rows
    assert trainer._accumulate(trainer._lay_out(rows))[0] / len(rows) == pytest.approx(whole, rel=1e-5)
    for name, gradient in gradients(trainer.model.model).items():
        assert torch.allclose(gradient, expected[name], rtol=1e-3, atol=1e-6), name


def test_an_answer_that_is_certain_has_finite_odds_and_gradient():
    chosen = torch.tensor([0.0, -1e-9, -0.5], requires_grad=True)
    found = losses.orpo(chosen, torch.tensor([-1.0, -2.0, -3.0]), 0.1)
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(chosen.grad).all()
