"""Rows with a chosen and a rejected answer, and trainers that are about to take the first step on them."""

from types import SimpleNamespace

import torch

TRAINER = {"epochs": 1, "batch_size": 8, "eval_batch_size": 4, "learning_rate": 0.01}


def pairs(rows):
    """The chosen answer is the input in capitals; the rejected one is the input itself, said twice."""
    return rows.assign(rejected=rows["input"] + " " + rows["input"])


def section(kind, **keys):
    return {"type": kind} | TRAINER | keys


def ready(prepare, config, data):
    """The trainer of a config with its rows, referenced, as just before the first step."""
    from affinage.token_lengths import encoded_beforehand

    trainer, training_set = prepare(config, data)
    encoded_beforehand(trainer.model.config_obj, {"train": data})[-1].on_preprocess_end(training_set, None, None, None)
    trainer.rows, trainer.call_cost = trainer.build(training_set), 1.0
    trainer.evaluations = SimpleNamespace(validation=None)
    trainer.before_first_step()
    return trainer


def move(model, seed=3):
    """Moves the adapter away from where it starts, by the same amounts for the same seed."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".default." in name:
                parameter += 0.1 * torch.randn(parameter.shape, generator=draw)


def gradients(model):
    """The gradients of the adapter, by name."""
    return {name: p.grad.clone() for name, p in model.named_parameters() if ".default." in name}
