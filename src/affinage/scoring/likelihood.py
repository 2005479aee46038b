"""How probable a model finds the references: perplexity per answer token and bits per byte; lower is better."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from affinage.scoring.measures import Array, Measure, ratio


def perplexity(nll: Array, tokens: Array) -> Measure:
    """exp(sum of nll / sum of tokens), at least 1, over the tokens of all references with their end token.

    `nll` (rows,) is the summed -log p of a reference in nats, NaN for a row that is left out. A row's own value is its
    nll per token.
    """
    sums, rows = _sums(nll, tokens)
    return Measure(sums, _perplexity, rows)


def bits_per_byte(nll: Array, n_bytes: Array) -> Measure:
    """Sum of nll / ln 2 / sum of the references' UTF-8 bytes: comparable between models with other tokenizers."""
    sums, rows = _sums(nll / np.log(2), n_bytes)
    return Measure(sums, ratio, rows)


def _sums(nll: Array, lengths: Array) -> tuple[Array, Array]:
    counted = np.isfinite(nll)
    sums = np.stack([np.where(counted, nll, 0), np.where(counted, lengths, 0)], axis=1)
    return sums, np.where(counted, ratio(sums), np.nan)


def _perplexity(sums: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.exp(ratio(sums))


def column(rows: Sequence[dict[str, Any]], name: str) -> Array:
    """One numeric column (rows,), NaN where a row has null."""
    return np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=float)
