"""Scores of answers against references; higher is better for all of them."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.chrf import CHRF


@dataclass(frozen=True)
class Scores:
    """Exact match (share in 0..1) and chrF (0..100) over `n` answers."""

    exact_match: float
    chrf: float
    n: int


def normalise(text: str) -> str:
    """NFC, with runs of white space as one space and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def score(answers: Sequence[str], references: Sequence[str]) -> Scores:
    """Exact match after `normalise`, and corpus chrF (Popović 2015) as sacrebleu computes it.

    Raises ValueError for lists that are empty or of different lengths.
    """
    if not answers or len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers for {len(references)} references")
    pairs = [(normalise(a), normalise(r)) for a, r in zip(answers, references, strict=True)]
    exact = sum(answer == reference for answer, reference in pairs) / len(pairs)
    chrf = CHRF().corpus_score([answer for answer, _ in pairs], [[reference for _, reference in pairs]])
    return Scores(exact, chrf.score, len(pairs))
