"""The loss on answer tokens, with logits computed at the answer positions alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from affinage.ludwig_ext.batches import IGNORED, Batch


@contextmanager
def _head_sees_only(head: torch.nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Inside, the output layer gets the hidden states at `positions` (batch, sequence; bool) as (1, n, hidden)."""

    def gather(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = args[0]  # (batch, sequence, hidden)
        return (hidden[positions].unsqueeze(0), *args[1:])

    handle = head.register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def answer_nll(model: Any, batch: Batch) -> torch.Tensor:
    """Sum over the answer tokens of -log p(token | everything before it), as a float32 scalar.

    `model` is a causal language model of transformers, with or without a PEFT wrapper. The sum equals the
    mean loss of `model(input_ids, attention_mask, labels=labels)` times the number of answer tokens.
    """
    return _token_nll(model, batch, "sum")


def answer_nll_by_row(model: Any, batch: Batch) -> list[float]:
    """The same sum for each row of the batch, in nats."""
    rows = (batch.labels[:, 1:] != IGNORED).nonzero()[:, 0]
    tokens = _token_nll(model, batch, "none")
    return torch.zeros(len(batch.labels), device=tokens.device).index_add(0, rows, tokens).tolist()


def _token_nll(model: Any, batch: Batch, reduction: str) -> torch.Tensor:
    predicts_answer = torch.zeros_like(batch.labels, dtype=torch.bool)
    predicts_answer[:, :-1] = batch.labels[:, 1:] != IGNORED
    targets = batch.labels[:, 1:][predicts_answer[:, :-1]]  # (n,)
    with _head_sees_only(model.get_output_embeddings(), predicts_answer):
        outputs = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    return cross_entropy(outputs.logits[0].float(), targets, reduction=reduction)
