"""Computing in bfloat16: frozen weights are stored in it, trained ones are not, and the loss is that of float32."""

import pytest
import torch

from affinage.ludwig_ext.batches import collate

BFLOAT16 = {"bits": 4, "bnb_4bit_compute_dtype": "bfloat16"}
MIXED = {"type": "finetune", "epochs": 1, "batch_size": 4, "learning_rate": 0.001, "use_mixed_precision": True}


def dtypes(model, trainable):
    return {p.dtype for p in model.parameters() if p.requires_grad is trainable} - {torch.uint8}


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("sections", [{"quantization": BFLOAT16}, {"trainer": MIXED}], ids=["4-bit", "mixed"])
def test_frozen_weights_are_small_and_the_loss_is_that_of_float32(
    llm_config, sentences, trainer_of, architecture, sections
):
    exact = trainer_of(llm_config(architecture), sentences(8))
    small = trainer_of(llm_config(architecture, **sections), sentences(8))
    model = small.model.model
    assert dtypes(model, trainable=False) == {torch.bfloat16}
    assert dtypes(model, trainable=True) == {torch.float32}
    batch = collate(exact.rows.rows, exact.model.special.pad)
    loss = small.nll(batch)
    assert loss.item() == pytest.approx(exact.nll(batch).item(), rel=0.02)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


def test_what_trains_whole_or_by_other_adapters_stays_in_float32(llm_config, sentences, trainer_of):
    everything = trainer_of(llm_config(adapter=None, trainer=MIXED), sentences(4)).model.model
    assert dtypes(everything, trainable=True) == {torch.float32}
    scaled = trainer_of(llm_config(adapter={"type": "ia3"}, trainer=MIXED), sentences(4)).model.model
    assert dtypes(scaled, trainable=False) == {torch.float32}


def test_stock_ludwig_keeps_frozen_weights_in_float32(llm_config, sentences, prepare, stock):
    trainer, _ = prepare(llm_config(quantization=BFLOAT16), sentences(4))
    assert torch.float32 in dtypes(trainer.model.model, trainable=False)


def test_dora_learns_on_small_frozen_weights(llm_config, sentences, trainer_of):
    trainer = trainer_of(llm_config(adapter={"type": "lora", "use_dora": True}, quantization=BFLOAT16), sentences(4))
    trainer.nll(collate(trainer.rows.rows, trainer.model.special.pad)).backward()
    assert dtypes(trainer.model.model, trainable=False) == {torch.bfloat16}
    assert sum(float(p.grad.abs().sum()) for p in trainer.model.model.parameters() if p.requires_grad) > 0


@pytest.mark.slow
def test_a_model_with_small_frozen_weights_answers_after_training_and_after_loading(llm_config, sentences, train):
    from ludwig.api import LudwigModel

    data = sentences(12)
    ludwig, _, folder = train(llm_config(quantization=BFLOAT16), data)
    before, _ = ludwig.predict(data)
    after, _ = LudwigModel.load(str(folder), backend="local").predict(data)
    assert before["output_response"].tolist() == after["output_response"].tolist()
