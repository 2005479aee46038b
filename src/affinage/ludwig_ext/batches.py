"""Turns Ludwig's padded prompt and answer matrices into training rows and right-padded batches.

A row is a prompt and its answer. A causal model reads both as one sequence and shares one limit of tokens between them.
An encoder-decoder reads the prompt in its encoder and writes the answer with its decoder: the limit holds for each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional

IGNORED = -100  # the label torch.nn.functional.cross_entropy skips


@dataclass(frozen=True)
class SpecialTokens:
    """The ids a tokenizer puts around every text it encodes, and the ids used for padding and stopping.

    With `encoder_decoder`, prompts are for an encoder, which wants them as they were encoded.
    """

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    pad: int
    eos: int
    encoder_decoder: bool = False

    @classmethod
    def of(cls, tokenizer: Any, encoder_decoder: bool = False) -> "SpecialTokens":
        """Reads them off a Hugging Face tokenizer by encoding one letter with and without special tokens."""
        plain = tokenizer.encode("a", add_special_tokens=False)
        full = tokenizer.encode("a")
        start = next(i for i in range(len(full) + 1) if full[i : i + len(plain)] == plain)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        suffix = tuple(full[start + len(plain) :])
        return cls(tuple(full[:start]), suffix, pad, tokenizer.eos_token_id, encoder_decoder)

    def prompt(self, padded: Sequence[int]) -> list[int]:
        """The prompt as the model must see it: left padding off, the prefix (BOS) once.

        The suffix (EOS) would end the answer before it begins, and stays for an encoder alone.
        """
        ids = self._without_padding(padded)
        ids = self._without(ids, prefix=False)
        if tuple(ids[: len(self.prefix)]) != self.prefix:  # a prefix equal to the padding went with it
            ids = [*self.prefix, *ids]
        return [*ids, *self.suffix] if self.encoder_decoder else ids

    def answer(self, padded: Sequence[int]) -> list[int]:
        """The answer as it must be learnt: no padding, no BOS between prompt and answer, EOS at the end."""
        return [*self._without(self._without_padding(padded), prefix=True), self.eos]

    def within(self, prompt: list[int], answer: list[int], max_length: int) -> tuple[list[int], list[int]]:
        """What a limit in tokens leaves of a prompt and its answer; whatever is cut loses its end.

        One sequence of both loses it from the answer alone. An encoder and a decoder have the limit each, and a
        prompt that is cut keeps its suffix.
        """
        if not self.encoder_decoder:
            return prompt, answer[: max(0, max_length - len(prompt))]
        if len(prompt) > max_length:
            prompt = [*prompt[: max_length - len(self.suffix)], *self.suffix]
        return prompt, answer[:max_length]

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
    """One sample: prompt and answer ids, one after the other, and where the answer starts."""

    ids: np.ndarray  # (tokens,) int64
    answer_start: int
    encoder_decoder: bool = False

    @property
    def answer_tokens(self) -> int:
        return len(self.ids) - self.answer_start

    @property
    def learnt(self) -> tuple["Row", ...]:
        """The sequences that the loss is made of: this one."""
        return (self,)


@dataclass(frozen=True)
class Rows:
    """The rows of one split that hold at least one answer token, and what the length limit cost.

    `skipped` holds the positions (0-based, in the split) of rows whose answer lies wholly beyond the limit.
    """

    rows: Sequence[Row]
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
    """Rows from two left-padded id matrices, each (rows, columns), cut to `max_length` tokens: `SpecialTokens.within`.

    A prompt that is cut counts among `cut_rows` as well.
    """
    rows, skipped, cut_rows, cut_tokens = [], [], 0, 0
    for position, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        prompt_ids, answer_ids = special.prompt(prompt), special.answer(answer)
        kept_prompt, kept_answer = special.within(prompt_ids, answer_ids, max_length)
        lost = len(answer_ids) - len(kept_answer)
        cut_rows += lost > 0 or len(kept_prompt) < len(prompt_ids)
        cut_tokens += lost
        # an answer cannot be learnt without a token before it
        if not kept_answer or not kept_prompt:
            skipped.append(position)
            continue
        ids = np.array(kept_prompt + kept_answer, dtype=np.int64)
        rows.append(Row(ids, len(kept_prompt), special.encoder_decoder))
    return Rows(rows, skipped, cut_rows, cut_tokens)


@dataclass(frozen=True)
class Batch:
    """Right-padded tensors, each (batch, sequence): token ids, mask of real tokens, labels with IGNORED elsewhere.

    In a packed batch, one sequence holds several rows: it has no mask, and position ids that start again at each row.
    For an encoder-decoder, ids and mask are those of the prompts, and the labels, as wide as the longest answer, those
    of the answers.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    labels: torch.Tensor
    position_ids: torch.Tensor | None = None
    encoder_decoder: bool = False

    @property
    def answer_tokens(self) -> int:
        return int((self.labels != IGNORED).sum())

    @property
    def weight(self) -> int:
        """What the mean loss is taken over: answer tokens."""
        return self.answer_tokens

    @property
    def tokens(self) -> int:
        read = self.input_ids.numel() if self.attention_mask is None else int(self.attention_mask.sum())
        return read + self.answer_tokens if self.encoder_decoder else read

    @property
    def targets(self) -> torch.Tensor:
        """The token to learn at each position that the model has logits for, (batch, positions); else IGNORED."""
        return self.labels if self.encoder_decoder else functional.pad(self.labels[:, 1:], (0, 1), value=IGNORED)

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """What the model's forward pass takes, but for what a decoder is given (`loss.decoder_inputs`)."""
        given = {n: getattr(self, n) for n in ("input_ids", "attention_mask", "position_ids")}
        return {name: tensor for name, tensor in given.items() if tensor is not None}

    def to(self, device: torch.device | str) -> "Batch":
        mask, positions = (None if t is None else t.to(device) for t in (self.attention_mask, self.position_ids))
        return Batch(self.input_ids.to(device), mask, self.labels.to(device), positions, self.encoder_decoder)


def right_padded(sequences: Sequence[Any], fill: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, each (batch, longest), with every sequence beginning in the first column."""
    shape = (len(sequences), max(len(sequence) for sequence in sequences))
    ids, mask = torch.full(shape, fill, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.as_tensor(sequence)
        mask[i, : len(sequence)] = 1
    return ids, mask


def collate(rows: Sequence[Row], pad: int) -> Batch:
    """One batch, padded on the right to its longest row, so that positions start at 0 in every row."""
    answers = [row.ids[row.answer_start :] for row in rows]
    if rows[0].encoder_decoder:
        ids, mask = right_padded([row.ids[: row.answer_start] for row in rows], pad)
        return Batch(ids, mask, right_padded(answers, IGNORED)[0], encoder_decoder=True)
    ids, mask = right_padded([row.ids for row in rows], pad)
    labels = torch.full_like(ids, IGNORED)
    for i, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        labels[i, row.answer_start : len(row.ids)] = torch.from_numpy(answer)
    return Batch(ids, mask, labels)


@lru_cache(maxsize=1)
def epoch_batches(n_rows: int, batch_size: int, seed: int, epoch: int, shuffle: bool = True) -> list[list[int]]:
    """Row positions of every batch of one epoch, fixed by seed and epoch; the last batch may be smaller."""
    order = np.random.default_rng((seed, epoch)).permutation(n_rows).tolist() if shuffle else list(range(n_rows))
    return [order[i : i + batch_size] for i in range(0, n_rows, batch_size)]
