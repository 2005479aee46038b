"""How many parameters a config trains and how much memory that takes, without loading a weight."""

from dataclasses import dataclass
from typing import Any

import psutil
import torch
from ludwig.utils.torch_utils import get_torch_device
from peft.tuners.tuners_utils import BaseTunerLayer

from affinage.footprint.needs import Footprint
from affinage.footprint.skeleton import empty_base, freeze, is_quantized, not_quantized, with_adapter
from affinage.footprint.step import Batch
from affinage.ludwig_ext.model import parameter_counts


@dataclass(frozen=True)
class Parameters:
    """Counts of weights: `trainable` and `quantized` are parts of `total`; `adapted` names the adapter's modules."""

    trainable: int
    total: int
    quantized: int
    adapted: list[str]


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by what they hold, and the bytes free now on the device (cuda, mps or cpu) that would train."""

    items: dict[str, int]
    device: str
    free: int

    @property
    def total(self) -> int:
        return sum(self.items.values())


def count_parameters(resolved: Any) -> Parameters:
    """Counts what a resolved Ludwig config trains; the base is on torch's meta device, where tensors take no memory.

    Raises AffinageError for an adapter that does not fit the base model.
    """
    model = empty_base(resolved)
    quantized = _quantized_weights(model) if is_quantized(resolved) else 0
    model.requires_grad_(not is_quantized(resolved))
    model = with_adapter(model, resolved)
    freeze(model, resolved.trainer.layers_to_freeze_regex)
    adapted = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    return Parameters(*parameter_counts(model), quantized, sorted(adapted))


def _quantized_weights(model: Any) -> int:
    head, kinds, kept = model.get_output_embeddings(), ("Linear", "Conv1D"), set(not_quantized(model))
    linear = [
        module
        for name, module in model.named_modules()
        if type(module).__name__ in kinds and module is not head and kept.isdisjoint(name.split("."))
    ]
    return sum(module.weight.numel() for module in linear)


def estimate_memory(
    resolved: Any, batch: int, longest: int, longest_answer: int, device: str | None = None
) -> MemoryEstimate:
    """What training needs for `batch` rows of `longest` tokens, `longest_answer` of them learnt; see `Footprint`."""
    device = device or get_torch_device()
    items = Footprint(resolved, device).items(Batch(batch, longest, longest_answer))
    return MemoryEstimate(items, device, free_memory(device))


def free_memory(device: str) -> int:
    """Bytes free now on cuda, mps or cpu."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    if device == "mps":
        return torch.mps.recommended_max_memory()
    return psutil.virtual_memory().available


def memory_of(device: str) -> int:
    """Bytes of all the memory there is on cuda, mps or cpu."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[1]
    return torch.mps.recommended_max_memory() if device == "mps" else psutil.virtual_memory().total
