"""Gradient checkpointing computes activations twice and changes nothing: not the loss, not a gradient."""

import pytest
import torch

from affinage.ludwig_ext.batches import collate

PLAIN = {"type": "finetune", "epochs": 1, "batch_size": 4, "learning_rate": 0.001}
CHECKPOINTING = {**PLAIN, "enable_gradient_checkpointing": True}


def loss_and_gradients(trainer):
    """One batch in training mode, dropout included, from the same random state and non-zero adapter weights."""
    model = trainer.dist_model.train()
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad and "lora_" in name:
                parameter.normal_(0, 0.1)
    nll = trainer.nll(collate(trainer.rows.rows, trainer.model.special.pad))
    nll.backward()
    return nll.item(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("adapter", [{"type": "lora", "dropout": 0.1}, None], ids=["LoRA", "full"])
def test_the_loss_and_every_gradient_are_those_without(llm_config, sentences, trainer_of, architecture, adapter):
    plain = trainer_of(llm_config(architecture, adapter=adapter, trainer=PLAIN), sentences(6))
    saving = trainer_of(llm_config(architecture, adapter=adapter, trainer=CHECKPOINTING), sentences(6))
    assert not plain.model.model.is_gradient_checkpointing and saving.model.model.is_gradient_checkpointing
    loss, gradients = loss_and_gradients(plain)
    same_loss, same_gradients = loss_and_gradients(saving)
    assert same_loss == pytest.approx(loss, rel=1e-6)
    assert gradients.keys() == same_gradients.keys() and gradients
    for name, gradient in gradients.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(same_gradients[name], gradient, rtol=1e-6, atol=1e-6 * gradient.abs().max().item())
