"""Counts the bytes of one training step on fake tensors: the real code runs, but nothing is computed or allocated."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import bitsandbytes.autograd._functions as bitsandbytes_functions
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import cross_entropy

from affinage.errors import AffinageError, Problem
from affinage.footprint.ledger import Entry, Ledger
from affinage.footprint.skeleton import build, held
from affinage.ludwig_ext.loss import LOGITS_AT_ONCE, ChunkedNll

ACTIVATIONS, LOGITS, BACKWARD, GRADIENTS = "activations", "logits of answers", "backward pass", "gradients"
EVALUATION = "evaluation"


@dataclass(frozen=True)
class Batch:
    """The shape of a batch: rows, tokens of each with prompt and answer, and how many of these are learnt.

    An encoder-decoder reads the others in its encoder.
    """

    rows: int
    tokens: int
    answer_tokens: int


class Skeleton:
    """A model of fake tensors that trains and evaluates on batches of any shape, as on the CPU or as on "cuda"."""

    def __init__(self, resolved: Any, device: str) -> None:
        self.resolved, self.device = resolved, device
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.model = build(resolved, self.mode)
        self.held = held(self.model)
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def weights(self) -> dict[str, int]:
        """Bytes of the base or frozen weights with their scales and buffers, and of the adapter."""
        return {
            item: sum(tensor.untyped_storage().nbytes() for tensor in tensors)
            for item, tensors in self.held.items()
            if tensors
        }

    def training(self, batch: Batch) -> list[Entry]:
        """The book of one forward and backward pass. Raises AffinageError for a model that needs real values."""
        self.model.train()
        self.model.zero_grad()
        with self._book() as ledger:
            loss = self._loss(batch, ledger)
            ledger.item = BACKWARD
            loss.backward()
            del loss
            ledger.rename([p.grad for p in self.trained if p.grad is not None], GRADIENTS)
        return ledger.entries

    def evaluation(self, batch: Batch) -> list[Entry]:
        """The book of one forward pass without gradients. Raises AffinageError as `training` does."""
        self.model.eval()
        with self._book() as ledger, torch.no_grad():
            self._loss(batch, ledger)
        return [replace(entry, item=EVALUATION) for entry in ledger.entries]

    @contextlib.contextmanager
    def _book(self) -> Iterator[Ledger]:
        known = [tensor for tensors in self.held.values() for tensor in tensors]
        try:
            with self.mode, _kernels_of(self.device), Ledger(known, ACTIVATIONS) as ledger:
                yield ledger
        except RuntimeError as error:
            kind, reason = self.model.config.model_type, str(error).strip().partition("\n")[0]
            found = f"the memory of a {kind} model cannot be counted, it does not run without weights: {reason}"
            raise AffinageError(Problem("base_model", found, remedy="'make bench' measures it.")) from error

    def _loss(self, batch: Batch, ledger: Ledger) -> torch.Tensor:
        """The mean loss as `ludwig_ext.loss` computes it, with positions in a form that needs no content."""
        answers = batch.rows * batch.answer_tokens
        rows, columns, targets = (torch.zeros(answers, dtype=torch.long) for _ in range(3))
        head = self.model.get_output_embeddings()
        at_once = max(1, LOGITS_AT_ONCE // self.model.config.get_text_config().vocab_size)
        seen: list[torch.Tensor] = []

        def gather(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            ledger.item = LOGITS
            seen.append(args[0][rows, columns])
            return (seen[0][: 1 if answers > at_once else answers].unsqueeze(0), *args[1:])

        handle = head.register_forward_pre_hook(gather)
        try:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.resolved.trainer.use_mixed_precision):
                outputs = self.model(**self._inputs(batch), use_cache=False)
                handle.remove()
                if answers <= at_once:
                    return cross_entropy(outputs.logits[0].float(), targets, reduction="none").sum() / answers
                parameters = [p for p in head.parameters() if p.requires_grad]
                return ChunkedNll.apply(seen[0], targets, head, at_once, *parameters).sum() / answers
        finally:
            handle.remove()

    def _inputs(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Padded rows, or with packing all rows in one sequence and the mask that transformers makes for them."""
        if self.model.config.is_encoder_decoder:
            read, answer = ((batch.rows, n) for n in (batch.tokens - batch.answer_tokens, batch.answer_tokens))
            ids, mask, answers = (torch.ones(shape, dtype=torch.long) for shape in (read, read, answer))
            return {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": answers}
        if not getattr(self.resolved.trainer, "packing", False):
            shape = (batch.rows, batch.tokens)
            return {name: torch.ones(shape, dtype=torch.long) for name in ("input_ids", "attention_mask")}
        tokens = batch.rows * batch.tokens
        ids, positions = (torch.ones(1, tokens, dtype=torch.long) for _ in range(2))
        mask = torch.ones(1, 1, tokens, tokens, dtype=torch.bool)
        return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}


@contextlib.contextmanager
def _kernels_of(device: str) -> Iterator[None]:
    """On a GPU, bitsandbytes multiplies 8-bit weights by a function that keeps its input; on a CPU it does not."""
    if device == "cpu":
        yield
        return
    with patch.object(bitsandbytes_functions, "MatMul8bitFp", bitsandbytes_functions.MatMul8bitLt):
        yield
