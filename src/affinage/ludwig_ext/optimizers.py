"""Optimizers: those of bitsandbytes made with the settings it has, and those that cannot train refused in time."""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from ludwig.schema.optimizers import optimizer_registry

from affinage.errors import Problem, raise_all

REMOVED = ("block_wise", "percentile_clipping")  # bitsandbytes 0.50 always works by blocks and has no such clipping


def leave_out_removed_settings() -> None:
    """Fault: Ludwig hands two settings to every optimizer of bitsandbytes that its present version does not take."""
    for name, (optimizer, config) in optimizer_registry.items():
        if getattr(optimizer, "__module__", "").startswith("bitsandbytes"):
            optimizer_registry[name] = (_without_removed_settings(optimizer), config)


def _without_removed_settings(optimizer: Any) -> Any:
    known = inspect.signature(optimizer.__init__).parameters

    def make(*args: Any, **settings: Any) -> torch.optim.Optimizer:
        return optimizer(*args, **{key: v for key, v in settings.items() if key in known or key not in REMOVED})

    return make if REMOVED[1] not in known else optimizer


def refuse(optimizer: Any, adapted: bool) -> None:
    """Raises one AffinageError for all that keeps the config's optimizer from training on this machine.

    Fault: Ludwig finds out after the model is loaded, and ends with a traceback that names no key.
    """
    raise_all([*_missing_gpu(optimizer), *_settings(optimizer, adapted)])


def _missing_gpu(optimizer: Any) -> Iterator[Problem]:
    if torch.cuda.is_available() or not (optimizer.is_8bit or optimizer.is_paged):
        return
    plain = optimizer.type.removeprefix("paged_").removesuffix("_8bit")
    yield Problem(
        "trainer.optimizer.type",
        f"'{optimizer.type}' needs a CUDA GPU, and there is none here.",
        "a type without 'paged' and '8bit' in its name",
        f"Write '{plain}', or train on a machine with a GPU.",
    )


def _settings(optimizer: Any, adapted: bool) -> Iterator[Problem]:
    fields = type(optimizer).model_fields
    for key in REMOVED:
        if key in fields and getattr(optimizer, key) != fields[key].default:
            yield Problem(f"trainer.optimizer.{key}", "bitsandbytes no longer has this setting.", remedy="Remove it.")
    if optimizer.type == "adafactor" and optimizer.lr is None:
        yield Problem(
            "trainer.optimizer",
            "adafactor would set a learning rate of its own, which no schedule can follow.",
            remedy="Add 'relative_step: false' and 'lr: 0.001'; the rate then used is trainer.learning_rate.",
        )
    if optimizer.type == "sgd_8bit" and not optimizer.momentum:
        yield Problem("trainer.optimizer.momentum", "sgd_8bit does not work without momentum.", "a number above 0")
    if adapted and getattr(optimizer, "max_unorm", 0) > 0:
        yield Problem(
            "trainer.optimizer.max_unorm",
            f"{optimizer.type} steps in proportion to a weight's size; an adapter starts at zero and would stay there.",
            "0",
        )
