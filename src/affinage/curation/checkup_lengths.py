"""How long prompts and answers are, and what the limits of a config cut off them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from affinage.curation.rows import Row

if TYPE_CHECKING:
    from affinage.token_lengths import SplitTokens

BINS = 30
PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True)
class Histogram:
    """Rows per bin, for each split. Bin i holds lengths from `edges[i]` up to, but without, `edges[i + 1]`.

    When `open_ended`, the last bin holds every longer row as well.
    """

    edges: list[int]
    rows: dict[str, list[int]]
    open_ended: bool


@dataclass(frozen=True)
class Part:
    """Lengths of one part of the rows: `mean`, `p50`, `p90`, `p95`, `p99` and `max` of each split, and a histogram."""

    summary: dict[str, dict[str, float]]
    histogram: Histogram


@dataclass(frozen=True)
class Lengths:
    """Lengths of the parts of a row ("prompt", "answer", "prompt and answer") in `unit`: tokens or characters.

    Tokens are those of the config's tokenizer on the rendered prompt; an answer counts its end token.
    """

    unit: str
    parts: dict[str, Part]


@dataclass(frozen=True)
class Cuts:
    """What the limits take from one split: `cut` rows lose a token, `lost_answers` rows their whole answer.

    `beyond_generation` counts answers longer than `generation.max_new_tokens`. Rows without an answer are left out.
    """

    rows: int
    cut: int
    answer_tokens: int
    lost_answer_tokens: int
    lost_answers: int
    beyond_generation: int


@dataclass(frozen=True)
class Truncation:
    """The limits of a config, in tokens, what they cut, and the limits that would keep all or 99 % of training rows.

    `max_new_tokens` is None when the config leaves the length of answers open; `answers_p95` is that of all splits.
    """

    limit: int
    context: int
    max_new_tokens: int | None
    keep_all: int
    keep_99_percent: int
    answers_p95: int
    splits: dict[str, Cuts]


def measure_characters(splits: Mapping[str, Sequence[Row]]) -> Lengths:
    """Characters of instruction and input together, and of the answer, of every row."""
    prompts = {name: _lengths(rows, lambda row: row["instruction"] + row["input"]) for name, rows in splits.items()}
    answers = {name: _lengths(rows, lambda row: row["output"]) for name, rows in splits.items()}
    return _lengths_of("characters", prompts, answers)


def _lengths(rows: Sequence[Row], text: Callable[[Row], str]) -> np.ndarray:
    return np.fromiter((len(text(row)) for row in rows), dtype=np.int64, count=len(rows))


def measure_tokens(resolved: Any, splits: Mapping[str, pd.DataFrame]) -> tuple[Lengths, Truncation]:
    """Tokens of every row as training sees it, and what the config's limits cut.

    `resolved` is the resolved Ludwig config; `splits` hold no row without an answer, and some row.
    """
    from affinage.token_lengths import tokenize, tokenizer_of

    tokenizer = tokenizer_of(resolved)
    measured = {name: tokenize(resolved, rows, tokenizer) for name, rows in splits.items() if len(rows)}
    prompts = {name: split.prompt for name, split in measured.items()}
    answers = {name: split.answer for name, split in measured.items()}
    return _lengths_of("tokens", prompts, answers), _truncation(resolved, measured)


def _truncation(resolved: Any, measured: Mapping[str, "SplitTokens"]) -> Truncation:
    from affinage.token_lengths import context_length, length_limit

    new = resolved.generation.max_new_tokens
    train = measured.get("train", next(iter(measured.values())))
    return Truncation(
        length_limit(resolved),
        context_length(resolved),
        new,
        int((train.prompt + train.answer).max()),
        _percentile(train.prompt + train.answer, 99),
        _percentile(np.concatenate([split.answer for split in measured.values()]), 95),
        {name: _cuts(split, new) for name, split in measured.items()},
    )


def _cuts(split: "SplitTokens", max_new_tokens: int | None) -> Cuts:
    return Cuts(
        rows=len(split.prompt),
        cut=split.cut,
        answer_tokens=int(split.answer.sum()),
        lost_answer_tokens=split.lost_answer_tokens,
        lost_answers=split.lost_answers,
        beyond_generation=int((split.answer > max_new_tokens).sum()) if max_new_tokens else 0,
    )


def _lengths_of(unit: str, prompts: dict[str, np.ndarray], answers: dict[str, np.ndarray]) -> Lengths:
    both = {name: prompts[name] + answers[name] for name in prompts}
    parts = {"prompt": prompts, "answer": answers, "prompt and answer": both}
    return Lengths(unit, {name: Part(_summaries(part), histogram(part)) for name, part in parts.items()})


def _summaries(lengths: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "mean": round(float(values.mean()), 1),
            **{f"p{p}": _percentile(values, p) for p in PERCENTILES},
            "max": int(values.max()),
        }
        for name, values in lengths.items()
        if len(values)
    }


def _percentile(values: np.ndarray, p: int) -> int:
    """The smallest length that at least `p` percent of the rows do not exceed."""
    return int(np.percentile(values, p, method="inverted_cdf"))


def histogram(lengths: Mapping[str, np.ndarray]) -> Histogram:
    """Rows of each split in at most about 30 bins of a round width that all splits share.

    When the longest row is more than twice as long as 99 % of them, the last bin is open-ended.
    """
    every = np.concatenate(list(lengths.values()))
    low, high = int(every.min()), int(every.max())
    usual = _percentile(every, 99)
    open_ended = high > 2 * max(usual, 1)
    top = round(1.25 * usual) + 1 if open_ended else high
    width = _round_width(max(1.0, (top - low + 1) / BINS))
    edges = list(range(low - low % width, top + width + 1, width))
    while len(edges) > 2 and edges[-2] > top:
        edges.pop()
    rows = {
        name: np.histogram(np.minimum(values, edges[-1] - 1), edges)[0].tolist() for name, values in lengths.items()
    }
    return Histogram(edges, rows, open_ended)


def _round_width(least: float) -> int:
    power = 10 ** int(np.floor(np.log10(least)))
    return int(next(step * power for step in (1, 2, 5, 10) if step * power >= least))
