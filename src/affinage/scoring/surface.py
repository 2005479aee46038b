"""Metrics that compare the text of an answer with its reference: exact match, token F1, chrF, BLEU, lengths."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from affinage.metrics import normalise
from affinage.scoring.measures import Array, Measure, mean_of, ratio_of
from affinage.scoring.texts import loose

BETA_2 = CHRF.BETA**2
ORDERS = 4  # n-gram orders of BLEU


def exact_match(answers: Sequence[str], references: Sequence[str], mode: Literal["strict", "loose"]) -> Measure:
    """The share of answers equal to their reference, in 0..1.

    `strict` sees past Unicode composition and runs of white space; `loose` also past case and punctuation.
    """
    form = normalise if mode == "strict" else loose
    return mean_of([form(answer) == form(reference) for answer, reference in zip(answers, references, strict=True)])


def token_f1(answers: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> Measure:
    """The mean F1 of the words that answer and reference share, in 0..1, as for SQuAD (Rajpurkar et al. 2016).

    Takes the words of each text. Two texts without a word are equal: 1.
    """
    return mean_of([_overlap_f1(found, wanted) for found, wanted in zip(answers, references, strict=True)])


def _overlap_f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    if not found or not wanted:
        return float(not found and not wanted)
    common = sum((Counter(found) & Counter(wanted)).values())
    return 2 * common / (len(found) + len(wanted))


def chrf(answers: Sequence[str], references: Sequence[str]) -> tuple[Measure, str]:
    """Corpus chrF (Popović 2015) in 0..100 on normalised texts, and sacrebleu's signature of it.

    sacrebleu counts the n-grams of each row; they add up over rows, which makes resampling cheap.
    """
    metric = CHRF()
    sums = _statistics(metric, answers, references)
    return Measure(sums, chrf_of_sums, chrf_of_sums(sums)), metric.get_signature().format()


def bleu(answers: Sequence[str], references: Sequence[str]) -> tuple[Measure, str]:
    """Corpus BLEU (Papineni et al. 2002) in 0..100 on normalised texts, and sacrebleu's signature of it.

    A row's own value is sentence BLEU with the effective order, as sacrebleu advises for single sentences.
    """
    metric = BLEU(force=True)  # no advice about tokenized text on screen
    sums = _statistics(metric, answers, references)
    return Measure(sums, bleu_of_sums, bleu_of_sums(sums, effective_order=True)), metric.get_signature().format()


def _statistics(metric: CHRF | BLEU, answers: Sequence[str], references: Sequence[str]) -> Array:
    texts = [[normalise(text) for text in side] for side in (answers, references)]
    return np.array(metric._extract_corpus_statistics(texts[0], [texts[1]]), dtype=float)


def chrf_of_sums(sums: Array) -> Array:
    """chrF (...) from sums (..., 18) of n-grams of answer, reference and both, for each of 6 orders.

    The formula of sacrebleu's `CHRF._compute_f_score` for many resamples at once.
    """
    answer, reference, both = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
    counted = (answer > 0) & (reference > 0)
    orders = np.maximum(counted.sum(axis=-1), 1)
    precision = np.where(counted, both / np.maximum(answer, 1), 0).sum(axis=-1) / orders
    recall = np.where(counted, both / np.maximum(reference, 1), 0).sum(axis=-1) / orders
    below = BETA_2 * precision + recall
    return 100 * (1 + BETA_2) * precision * recall / np.where(below > 0, below, 1)


def bleu_of_sums(sums: Array, effective_order: bool = False) -> Array:
    """BLEU (...) from sums (..., 10): lengths of answer and reference, then n-grams matched and in all by order.

    The formula of sacrebleu's `BLEU.compute_bleu` with its exponential smoothing, for many resamples at once.
    """
    length, wanted = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    smooth, logs, orders = np.ones_like(length), np.zeros_like(length), np.zeros_like(length)
    for n in range(ORDERS):
        there = total[..., n] > 0
        smooth = np.where(there & (correct[..., n] == 0), smooth * 2, smooth)
        matched = np.where(correct[..., n] > 0, correct[..., n], 1 / smooth)
        logs += np.where(there, np.log(matched / np.maximum(total[..., n], 1)), 0)
        orders += there
    penalty = np.exp(np.minimum(0, 1 - wanted / np.maximum(length, 1)))
    defined = (correct > 0).any(axis=-1) & (effective_order | (orders == ORDERS))
    return np.where(defined, 100 * penalty * np.exp(logs / np.maximum(orders, 1)), 0)


def length_ratio(answers: Sequence[str], references: Sequence[str]) -> Measure:
    """Characters of all answers over characters of all references; 1 is as long as the references."""
    return ratio_of(*([len(normalise(text)) for text in side] for side in (answers, references)))
