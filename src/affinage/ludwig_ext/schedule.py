"""The learning rate of every optimizer step, as a multiple of the base rate."""

import math
from collections.abc import Callable
from typing import Any

from ludwig.modules.lr_scheduler import ReduceLROnPLateauCappedDecreases
from ludwig.schema.lr_scheduler import LRSchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_steps(config: LRSchedulerConfig, total_steps: int, steps_per_evaluation: int) -> int:
    """Optimizer steps of linear warmup: the larger of `warmup_fraction` and `warmup_evaluations`."""
    return round(max(config.warmup_fraction * total_steps, config.warmup_evaluations * steps_per_evaluation))


def _cosine_restarts(step: int, period: int, multiplier: int) -> float:
    while step >= period:
        step, period = step - period, period * multiplier
    return 0.5 * (1 + math.cos(math.pi * step / period))


def _one_cycle(config: LRSchedulerConfig, step: int, total: int, base_lr: float) -> float:
    """The two cosine phases of Smith and Topin (2018), arXiv:1708.07120, as torch's OneCycleLR computes them."""
    peak = (config.max_lr if config.max_lr is not None else base_lr) / base_lr
    low, final = peak / config.div_factor, peak / config.div_factor / config.final_div_factor
    rise_end = config.pct_start * total - 1
    if step <= rise_end and rise_end > 0:
        return peak + (low - peak) * 0.5 * (1 + math.cos(math.pi * step / rise_end))
    if total == 1:
        return peak
    progress = (step - rise_end) / (total - 1 - rise_end)
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))


def _wsd(config: LRSchedulerConfig, step: int, total: int) -> float:
    """Warmup, stable, decay (MiniCPM, arXiv:2404.06395), with a cosine as the decay."""
    warm = round(config.wsd_warmup_fraction * total)
    stable = warm + config.wsd_stable_fraction * total
    if step < warm:
        return (step + 1) / max(1.0, warm)
    if step < stable:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - stable) / max(1.0, total - stable))))


def _decay(config: LRSchedulerConfig, step: int, total: int, base_lr: float) -> float:
    """The multiple `step` steps after the warmup, with `total` steps from there to the end."""
    progress = min(1.0, step / max(1, total))
    if config.decay is None:
        return 1.0
    if config.decay == "linear":
        return 1.0 - progress
    if config.decay == "cosine":
        floor = min(1.0, (config.eta_min or 0.0) / base_lr)
        wave = (
            _cosine_restarts(step, config.t_0, config.t_mult or 1)
            if config.t_0
            else 0.5 * (1 + math.cos(math.pi * progress))
        )
        return floor + (1 - floor) * wave
    if config.decay == "polynomial":
        end = config.polynomial_end_lr
        return end + (1 - end) * (1 - progress) ** config.polynomial_power
    if config.decay == "exponential":
        exponent = step / config.decay_steps
        return config.decay_rate ** (math.floor(exponent) if config.staircase else exponent)
    if config.decay == "inverse_sqrt":
        return 1 / math.sqrt(max(step, config.inverse_sqrt_warmup_steps))
    raise ValueError(f"unknown decay {config.decay!r}")


def lr_factor(
    config: LRSchedulerConfig, total_steps: int, steps_per_evaluation: int, base_lr: float
) -> Callable[[int], float]:
    """A function from the optimizer step (0 for the first) to the multiple of `base_lr` used in that step.

    Steps are optimizer steps, never micro-batches. The warmup rises linearly to 1 and its first step is above 0.
    `cosine` is one half wave over the run; only a given `t_0` makes it restart. `one_cycle` and `wsd` hold their
    own warmup. `polynomial_end_lr` is a fraction of the base rate; `eta_min` and `max_lr` are rates.
    """
    warm = warmup_steps(config, total_steps, steps_per_evaluation)

    def factor(step: int) -> float:
        if config.decay == "one_cycle":
            return _one_cycle(config, step, total_steps, base_lr)
        if config.decay == "wsd":
            return _wsd(config, step, total_steps)
        if step < warm:
            return (step + 1) / warm
        return _decay(config, step - warm, total_steps - warm, base_lr)

    return factor


class Schedule:
    """Sets the learning rate before every optimizer step and lowers it on a plateau when the config asks for it."""

    def __init__(
        self, config: LRSchedulerConfig, optimizer: Optimizer, total_steps: int, steps_per_evaluation: int
    ) -> None:
        base_lr = optimizer.param_groups[0]["lr"]
        self.config = config
        self._by_step = LambdaLR(optimizer, lr_factor(config, total_steps, steps_per_evaluation, base_lr))
        self._plateau = None
        if config.reduce_on_plateau > 0:
            self._plateau = ReduceLROnPLateauCappedDecreases(
                optimizer,
                mode="min",
                reduce_limit=config.reduce_on_plateau,
                factor=config.reduce_on_plateau_rate,
                patience=config.reduce_on_plateau_patience,
            )

    def step(self) -> None:
        """Moves on to the rate of the next optimizer step."""
        self._by_step.step()
        if self._plateau is not None:
            self._plateau.apply_lr()

    def evaluated(self, train_loss: float, validation_loss: float | None) -> None:
        """Tells the plateau rule the losses of an evaluation; lower is better."""
        if self._plateau is not None:
            watched = train_loss if self.config.reduce_eval_split == "training" else validation_loss
            for group, lr in zip(self._plateau.optimizer.param_groups, self._by_step.get_last_lr(), strict=True):
                group["lr"] = lr
            reductions = self._plateau.num_reduce_lr
            self._plateau.step(train_loss if watched is None else watched)
            if self._plateau.num_reduce_lr == reductions:
                self._plateau.apply_lr()

    def state_dict(self) -> dict[str, Any]:
        state = {"by_step": self._by_step.state_dict()}
        if self._plateau is not None:
            state["plateau"] = self._plateau.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._by_step.load_state_dict(state["by_step"])
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])
