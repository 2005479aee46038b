"""The losses of DPO, KTO and ORPO, from the log-probabilities of whole answers; all tensors are (rows,) float32.

A log ratio is log p(answer | prompt) under the model less that under the reference, both summed over the answer's
tokens, in nats.
"""

from typing import NamedTuple

import torch
from torch.nn.functional import logsigmoid

CERTAIN = -1e-6  # a mean log-probability above it counts as it: the odds of a certain answer are infinite


class Answers(NamedTuple):
    """The log ratio of each answer, and its number of tokens."""

    ratio: torch.Tensor
    tokens: torch.Tensor


def dpo(chosen: Answers, rejected: Answers, beta: float, kind: str, label_smoothing: float) -> torch.Tensor:
    """The loss of each pair: "sigmoid" is Rafailov et al. (2023), arXiv:2305.18290, equation 7; "ipo" is Azar et al.
    (2023), arXiv:2310.12036, equation 17, on ratios per token, as its authors measured it.

    `label_smoothing` (0 to 0.5) is the part of the pairs taken to be the wrong way round; it is of "sigmoid" alone.
    """
    if kind == "ipo":
        difference = chosen.ratio / chosen.tokens - rejected.ratio / rejected.tokens
        return (difference - 1 / (2 * beta)) ** 2
    margin = beta * (chosen.ratio - rejected.ratio)
    return -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)


def kto(ratio: torch.Tensor, desirable: torch.Tensor, kl: torch.Tensor, beta: float) -> torch.Tensor:
    """The loss of each answer, Ethayarajh et al. (2024), arXiv:2402.01306, equation 8, both kinds weighing the same.

    `desirable` is bool; `kl` is the estimate of the divergence from the reference, in nats, a scalar of at least 0.
    """
    gain = beta * torch.where(desirable, ratio - kl, kl - ratio)
    return 1 - torch.sigmoid(gain)


def orpo(chosen: torch.Tensor, rejected: torch.Tensor, beta: float) -> torch.Tensor:
    """The odds ratio loss of each pair, without the likelihood term: Hong et al. (2024), arXiv:2403.07691, equation 7.

    `chosen` and `rejected` are the mean log p per token of the answers.
    """
    return -beta * logsigmoid(_log_odds(chosen) - _log_odds(rejected))


def _log_odds(logp: torch.Tensor) -> torch.Tensor:
    """log(p / (1 - p)) of log p."""
    logp = logp.clamp(max=CERTAIN)
    return logp - torch.log(-torch.expm1(logp))
