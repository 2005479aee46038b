"""The loss on answer tokens, with logits computed at the answer positions alone and never too many at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.nn.functional import cross_entropy

from affinage.ludwig_ext.batches import IGNORED, Batch

LOGITS_AT_ONCE = 2**25  # elements: 128 MiB in float32, 262 positions of a vocabulary of 128,000
_head_is_last: "WeakKeyDictionary[torch.nn.Module, bool]" = WeakKeyDictionary()


@contextmanager
def _head_sees_only(head: torch.nn.Module, positions: torch.Tensor, first: int | None = None) -> Iterator[list[Any]]:
    """Inside, the output layer gets the hidden states at `positions` (batch, sequence; bool) as (1, n, hidden).

    With `first`, only so many of them. The list then holds all of them, as (n, hidden).
    """
    seen: list[Any] = []

    def gather(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = args[0][positions]  # (batch, sequence, hidden) -> (n, hidden)
        seen.append(hidden)
        return (hidden[:first].unsqueeze(0), *args[1:])

    handle = head.register_forward_pre_hook(gather)
    try:
        yield seen
    finally:
        handle.remove()


def answer_nll(model: Any, batch: Batch) -> torch.Tensor:
    """Sum over the answer tokens of -log p(token | everything before it), as a float32 scalar.

    `model` is a causal language model or an encoder-decoder of transformers, with or without a PEFT wrapper. The sum
    equals the mean loss of `model(input_ids, attention_mask, labels=labels)` times the number of answer tokens.
    """
    return answer_token_nll(model, batch).sum()


def answer_nll_by_row(model: Any, batch: Batch) -> list[float]:
    """The same sum for each row of the batch, in nats."""
    rows = (batch.targets != IGNORED).nonzero()[:, 0]
    tokens = answer_token_nll(model, batch)
    return torch.zeros(len(batch.labels), device=tokens.device).index_add(0, rows, tokens).tolist()


def decoder_inputs(model: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """What a decoder is given beside the inputs of a batch: its start token, then the answer without its last token."""
    if not batch.encoder_decoder:
        return {}
    return {"decoder_input_ids": model.prepare_decoder_input_ids_from_labels(batch.labels)}


def answer_token_nll(model: Any, batch: Batch, weighted: bool = False) -> torch.Tensor:
    """-log p of every answer token, (n,) float32, in the order of the batch's rows.

    `weighted` says that tokens will not weigh the same in what is differentiated: an output layer that is trained then
    gets all logits at once.
    """
    predicts_answer = batch.targets != IGNORED
    targets = batch.targets[predicts_answer]  # (n,)
    head = model.get_output_embeddings()
    at_once = max(1, LOGITS_AT_ONCE // model.config.get_text_config().vocab_size)
    in_chunks = len(targets) > at_once and _head_is_last.get(head, True)
    in_chunks = in_chunks and not (weighted and any(p.requires_grad for p in head.parameters()))
    with _head_sees_only(head, predicts_answer, 1 if in_chunks else None) as seen:
        outputs = model(**batch.inputs, **decoder_inputs(model, batch), use_cache=False)
    if not in_chunks:
        return cross_entropy(outputs.logits[0].float(), targets, reduction="none")
    if head not in _head_is_last:
        with torch.no_grad():
            _head_is_last[head] = torch.equal(outputs.logits[0], head(seen[0][:1]))
        if not _head_is_last[head]:  # the model scales or caps its logits, so they must come from the model
            return answer_token_nll(model, batch, weighted)
    return ChunkedNll.apply(seen[0], targets, head, at_once, *[p for p in head.parameters() if p.requires_grad])


class ChunkedNll(torch.autograd.Function):
    """-log p of the targets (n,) given hidden states (n, hidden), holding the logits of `at_once` positions only.

    The gradient of each chunk's sum is taken while its logits are there, so that no logits wait for the backward
    pass and none are computed twice; therefore, for the gradient of the head's own parameters, every token must weigh
    the same in whatever is differentiated.
    """

    @staticmethod
    def forward(ctx, hidden, targets, head, at_once, *parameters):
        nll, hidden_gradients = [], []
        sums = [torch.zeros_like(p) for p in parameters]
        wanted = any(ctx.needs_input_grad)
        for h, t in zip(hidden.split(at_once), targets.split(at_once), strict=True):
            with torch.set_grad_enabled(wanted):
                h = h.detach().requires_grad_(wanted)
                chunk = cross_entropy(head(h).float(), t, reduction="none")
                total_nll = chunk.sum()
            nll.append(chunk.detach())
            if wanted:
                h_gradient, *gradients = torch.autograd.grad(total_nll, [h, *parameters])
                hidden_gradients.append(h_gradient)
                for total, gradient in zip(sums, gradients, strict=True):
                    total += gradient
        if wanted:
            ctx.save_for_backward(torch.cat(hidden_gradients), *sums)
        return torch.cat(nll)

    @staticmethod
    def backward(ctx, grad_output):
        hidden_gradient, *sums = ctx.saved_tensors
        hidden = grad_output.unsqueeze(1).to(hidden_gradient.dtype) * hidden_gradient
        return hidden, None, None, None, *[grad_output[0] * total for total in sums]
