"""Signs that a run has gone wrong, seen in its losses, with what most often causes them."""

import math
from collections.abc import Sequence
from typing import Any

from affinage.errors import AffinageError, Problem

CAUSES = {
    "not a number": [
        "trainer.learning_rate is too high, or the warmup too short",
        "gradient_clipping is off while some rows are very long or odd",
        "float16 somewhere: use bfloat16 for bnb_4bit_compute_dtype",
    ],
    "exploded": [
        "trainer.learning_rate is too high: try a tenth of it",
        "no warmup: set learning_rate_scheduler.warmup_fraction to 0.03",
        "a restart of the schedule (t_0, one_cycle): look at the curve of make check",
    ],
    "does not move": [
        "trainer.learning_rate is too low, or its schedule keeps it near 0: look at the curve of make check",
        "the adapter reaches too few weights: raise adapter.r or name more target_modules",
        "the answers cannot be told from the prompts: look at the sample of make check",
    ],
}
RISE = 0.5  # nats above the best, and half as much again, is no noise of a batch
MOVE = 0.02  # relative fall below which an epoch has brought nothing


def not_a_number(step: int, loss: float) -> AffinageError:
    """What to raise when the loss of an optimizer step is infinite or not a number."""
    found = f"the loss is {loss}, so the weights are of no use from here on."
    return AffinageError(
        Problem(f"training step {step}", found, remedy=f"Likely causes: {'; '.join(CAUSES['not a number'])}.")
    )


def signs(losses: Sequence[float | None], steps_per_epoch: int) -> list[dict[str, Any]]:
    """What is wrong with the training losses (nats per answer token, one per step, None where not a number).

    Each sign is {"sign", "step", "found", "causes"}. "exploded": the mean of the last window of steps lies both 0.5
    nats and half as much again above the lowest window. "does not move": over the first epoch the mean loss of its last
    quarter is less than 2 % below that of its first, and by less than two standard errors.
    """
    bad = next((i for i, loss in enumerate(losses) if loss is None or not math.isfinite(loss)), None)
    numbers = [loss for loss in losses[:bad] if loss is not None]
    found = [] if bad is None else [_sign("not a number", bad + 1, f"the loss of step {bad + 1} is not a number")]
    return [sign for sign in [*found, _explosion(numbers), _standstill(numbers, steps_per_epoch)] if sign]


def _sign(name: str, step: int, found: str) -> dict[str, Any]:
    return {"sign": name, "step": step, "found": found, "causes": CAUSES[name]}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _explosion(losses: Sequence[float]) -> dict[str, Any] | None:
    window = max(3, len(losses) // 50)
    means = [_mean(losses[i : i + window]) for i in range(0, len(losses) - window + 1, window)]
    if len(means) < 2:
        return None
    lowest, last = min(means), means[-1]
    if last - lowest < RISE or last < 1.5 * lowest:
        return None
    return _sign("exploded", len(losses), f"the loss rose from {lowest:.3f} to {last:.3f} (means of {window} steps)")


def _standstill(losses: Sequence[float], steps_per_epoch: int) -> dict[str, Any] | None:
    epoch = losses[:steps_per_epoch]
    quarter = len(epoch) // 4
    if len(epoch) < steps_per_epoch or quarter < 2:
        return None
    first, last = epoch[:quarter], epoch[-quarter:]
    noise = 2 * math.sqrt(sum(_variance(part) / len(part) for part in (first, last)))
    fall = _mean(first) - _mean(last)
    if fall >= MOVE * _mean(first) or fall > noise:
        return None
    found = f"the loss was {_mean(first):.3f} at the start of the first epoch and {_mean(last):.3f} at its end"
    return _sign("does not move", len(epoch), found)


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)


def sentence(sign: dict[str, Any]) -> str:
    """The sign as one line for a person."""
    return f"{sign['sign']}: {sign['found']}. Likely causes: {'; '.join(sign['causes'])}."
