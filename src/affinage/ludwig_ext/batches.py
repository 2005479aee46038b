"""Turns Ludwig's padded prompt and answer matrices into training rows and right-padded batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch

IGNORED = -100  # the label torch.nn.functional.cross_entropy skips


@dataclass(frozen=True)
class SpecialTokens:
    """The ids a tokenizer puts around every text it encodes, and the ids used for padding and stopping."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    pad: int
    eos: int

    @classmethod
    def of(cls, tokenizer: Any) -> "SpecialTokens":
        """Reads them off a Hugging Face tokenizer by encoding one letter with and without special tokens."""
        plain = tokenizer.encode("a", add_special_tokens=False)
        full = tokenizer.encode("a")
        start = next(i for i in range(len(full) + 1) if full[i : i + len(plain)] == plain)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        return cls(tuple(full[:start]), tuple(full[start + len(plain) :]), pad, tokenizer.eos_token_id)

    def prompt(self, padded: Sequence[int]) -> list[int]:
        """The prompt as the model must see it: left padding off, the prefix (BOS) once, no suffix (EOS)."""
        ids = self._without_padding(padded)
        ids = self._without(ids, prefix=False)
        if tuple(ids[: len(self.prefix)]) != self.prefix:  # a prefix equal to the padding went with it
            ids = [*self.prefix, *ids]
        return ids

    def answer(self, padded: Sequence[int]) -> list[int]:
        """The answer as it must be learnt: no padding, no BOS between prompt and answer, EOS at the end."""
        return [*self._without(self._without_padding(padded), prefix=True), self.eos]

    def _without_padding(self, padded: Sequence[int]) -> list[int]:
        ids = [int(i) for i in padded]
        first = next((i for i, token in enumerate(ids) if token != self.pad), len(ids))
        return ids[first:]

    def _without(self, ids: list[int], prefix: bool) -> list[int]:
        if prefix and self.prefix and tuple(ids[: len(self.prefix)]) == self.prefix:
            ids = ids[len(self.prefix) :]
        if self.suffix and tuple(ids[-len(self.suffix) :]) == self.suffix:
            ids = ids[: -len(self.suffix)]
        return ids


@dataclass(frozen=True)
class Row:
    """One sample: prompt and answer ids in one sequence, and where the answer starts."""

    ids: np.ndarray  # (tokens,) int64
    answer_start: int

    @property
    def answer_tokens(self) -> int:
        return len(self.ids) - self.answer_start


@dataclass(frozen=True)
class Rows:
    """The rows of one split that hold at least one answer token, and what the length limit cost.

    `skipped` holds the positions (0-based, in the split) of rows whose answer lies wholly beyond the limit.
    """

    rows: list[Row]
    skipped: list[int] = field(default_factory=list)
    cut_rows: int = 0
    cut_answer_tokens: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def answer_tokens(self) -> int:
        return sum(row.answer_tokens for row in self.rows)


def build_rows(
    prompts: Iterable[Sequence[int]], answers: Iterable[Sequence[int]], special: SpecialTokens, max_length: int
) -> Rows:
    """Rows from two left-padded id matrices, each (rows, columns); beyond `max_length` tokens a row loses its end."""
    rows, skipped, cut_rows, cut_tokens = [], [], 0, 0
    for position, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        prompt_ids, answer_ids = special.prompt(prompt), special.answer(answer)
        excess = max(0, len(prompt_ids) + len(answer_ids) - max_length)
        cut_rows += excess > 0
        cut_tokens += min(excess, len(answer_ids))
        # an answer cannot be learnt without a token before it
        if len(prompt_ids) >= max_length or not prompt_ids:
            skipped.append(position)
            continue
        ids = np.array(prompt_ids + answer_ids, dtype=np.int64)[:max_length]
        rows.append(Row(ids, len(prompt_ids)))
    return Rows(rows, skipped, cut_rows, cut_tokens)


@dataclass(frozen=True)
class Batch:
    """Right-padded tensors, each (batch, sequence): token ids, mask of real tokens, labels with IGNORED elsewhere.

    In a packed batch, one sequence holds several rows: it has no mask, and position ids that start again at each row.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    labels: torch.Tensor
    position_ids: torch.Tensor | None = None

    @property
    def answer_tokens(self) -> int:
        return int((self.labels != IGNORED).sum())

    @property
    def tokens(self) -> int:
        return self.input_ids.numel() if self.attention_mask is None else int(self.attention_mask.sum())

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """What the model's forward pass takes."""
        given = {n: getattr(self, n) for n in ("input_ids", "attention_mask", "position_ids")}
        return {name: tensor for name, tensor in given.items() if tensor is not None}

    def to(self, device: torch.device | str) -> "Batch":
        mask, positions = (None if t is None else t.to(device) for t in (self.attention_mask, self.position_ids))
        return Batch(self.input_ids.to(device), mask, self.labels.to(device), positions)


def collate(rows: Sequence[Row], pad: int) -> Batch:
    """One batch, padded on the right to its longest row, so that positions start at 0 in every row."""
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED, dtype=torch.long)
    for i, row in enumerate(rows):
        tokens = torch.from_numpy(row.ids)
        ids[i, : len(tokens)] = tokens
        mask[i, : len(tokens)] = 1
        labels[i, row.answer_start : len(tokens)] = tokens[row.answer_start :]
    return Batch(ids, mask, labels)


@lru_cache(maxsize=1)
def epoch_batches(n_rows: int, batch_size: int, seed: int, epoch: int, shuffle: bool = True) -> list[list[int]]:
    """Row positions of every batch of one epoch, fixed by seed and epoch; the last batch may be smaller."""
    order = np.random.default_rng((seed, epoch)).permutation(n_rows).tolist() if shuffle else list(range(n_rows))
    return [order[i : i + batch_size] for i in range(0, n_rows, batch_size)]
