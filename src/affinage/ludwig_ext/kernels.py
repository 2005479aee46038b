"""Liger's kernels in the place of a model's own functions, where there is a CUDA GPU and liger-kernel is installed."""

import inspect
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from transformers.integrations.liger import apply_liger_kernel

from affinage.errors import AffinageError, Problem
from affinage.generation import evaluation_mode
from affinage.ludwig_ext.batches import Row, collate
from affinage.ludwig_ext.loss import answer_nll

LOSSES = ("cross_entropy", "fused_linear_cross_entropy")  # loss.py sees to these, on answer tokens alone
SAME_LOSS = 1e-2  # relative, which bfloat16 stays within


def use_quick_kernels(model: Any, rows: Sequence[Row], pad: int) -> str:
    """Replaces what Liger has kernels for, and says what; "" where the model is on no CUDA GPU or Liger not there.

    `model` is a causal language model of transformers, with or without a PEFT wrapper. Its output layer and its own
    forward stay. Raises AffinageError when the loss of `rows` is no longer what it was.
    """
    if next(model.parameters()).device.type != "cuda" or find_spec("liger_kernel") is None:
        return ""
    kind = model.config.model_type
    parts = kernels_for(kind)
    if not parts:
        return f"Liger has no kernels for a {kind} model, so it trains with its own functions."
    before = _loss(model, rows, pad)
    replace(model)
    check_loss(before, _loss(model, rows, pad), kind)
    return f"Liger's kernels stand in for the model's own: {', '.join(parts)}."


def kernels_for(model_type: str) -> list[str]:
    """The names Liger gives to what it replaces in models of a type, the losses left out; empty for an unknown type."""
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    patch = MODEL_TYPE_TO_APPLY_LIGER_FN.get(model_type)
    parameters = inspect.signature(patch).parameters if patch else {}
    return [name for name, parameter in parameters.items() if parameter.default is True and name not in LOSSES]


def replace(model: Any) -> None:
    """Puts the kernels of `kernels_for` into the model, and the one for rotary positions into its module."""
    apply_liger_kernel(model, dict.fromkeys(LOSSES, False))


def check_loss(before: float, after: float, model_type: str) -> None:
    """Raises AffinageError when kernels have changed a loss by more than rounding."""
    if abs(after - before) <= SAME_LOSS * abs(before):
        return
    raise AffinageError(
        Problem(
            "liger-kernel",
            f"its kernels for {model_type} models change the loss of this one from {before:.4f} to {after:.4f}.",
            remedy="Take it out (.venv/bin/python -m pip uninstall liger-kernel) and train without.",
        )
    )


def _loss(model: Any, rows: Sequence[Row], pad: int) -> float:
    device = next(model.parameters()).device
    with evaluation_mode(model), torch.no_grad():
        return float(answer_nll(model, collate(rows, pad).to(device)))
