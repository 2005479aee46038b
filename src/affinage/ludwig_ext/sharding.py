"""A model of which every worker holds a part: weights, gradients and the state of the optimizer (PyTorch's FSDP2).

What one worker computes with is brought together layer by layer, so all of them must call the model equally often.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from affinage.errors import Problem

FSDP = "fsdp"
OPTIMIZERS = ("sgd", "adam", "adamw", "adamax", "adagrad", "nadam", "radam", "rmsprop")  # all elementwise
FINETUNE = "finetune"


def wanted(resolved: Any) -> bool:
    """Whether a resolved config asks for it: `backend: {trainer: {strategy: fsdp}}`."""
    trainer = (resolved.backend or {}).get("trainer") or {}
    return trainer.get("strategy") == FSDP


def problems(resolved: Any) -> Iterator[Problem]:
    """What a resolved config asks for that a model in parts cannot be trained with."""
    if not wanted(resolved):
        return
    remedy = "Leave out backend.trainer.strategy: every worker then holds the whole model."
    adapter, optimizer = getattr(resolved.adapter, "type", None), resolved.trainer.optimizer.type
    if resolved.quantization is not None:
        yield Problem("quantization", "4 and 8 bits cannot be dealt out with fsdp.", "no quantization", remedy)
    if adapter not in (None, "lora"):
        yield Problem("adapter.type", f"'{adapter}' is not performed with fsdp.", "lora, or no adapter", remedy)
    if resolved.trainer.type != FINETUNE:
        yield Problem("trainer.type", f"'{resolved.trainer.type}' is not performed with fsdp.", FINETUNE, remedy)
    if optimizer not in OPTIMIZERS:
        found = f"'{optimizer}' does not work on parts of a weight."
        yield Problem("trainer.optimizer.type", found, ", ".join(OPTIMIZERS), remedy)


def skeleton(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of the model without the numbers of its parameters, to be filled by `gathered`."""
    empty = {
        id(parameter): torch.nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
        for parameter in model.parameters()
    }
    return copy.deepcopy(model, empty)


def shard(model: Any) -> None:
    """Leaves, in place, each worker a part of a model of transformers, with or without LoRA."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = [module for module in base.modules() if type(module).__name__ in (base._no_split_modules or ())]
    for module in (*layers, base):
        fully_shard(module, reshard_after_forward=module is not base)
    for module in base.modules():
        if isinstance(module, FSDPModule):  # gradients are added up, and gloo multiplies nothing on the way
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    base._is_fsdp_managed_module = True  # `generate` then waits for the worker with the longest answer


def gathered(empty: torch.nn.Module, model: torch.nn.Module) -> torch.nn.Module:
    """The skeleton with the whole weights of the model in parts; all workers must call this."""
    full = {
        id(place): torch.nn.Parameter(whole(parameter.detach()), parameter.requires_grad)
        for place, parameter in zip(empty.parameters(), model.parameters(), strict=True)
    }
    for module in empty.modules():
        for name, place in list(module.named_parameters(recurse=False)):
            module.register_parameter(name, full[id(place)])
    return empty


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself, or what the workers hold of it together; then all of them must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_of(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """What belongs in the place of `like`: of a tensor that every worker holds whole, this worker's part of it."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def optimizer_state(optimizer: torch.optim.Optimizer, keep: bool = True) -> dict[str, Any]:
    """The optimizer's state with whole tensors, on the CPU those that were in parts; {} for who does not keep it."""
    state = optimizer.state_dict()  # the dictionaries in it are the optimizer's own
    full = {
        position: {name: _whole_on_cpu(value, keep) for name, value in values.items()}
        for position, values in state["state"].items()
    }
    return {**state, "state": full} if keep else {}


def _whole_on_cpu(value: Any, keep: bool) -> Any:
    if not isinstance(value, DTensor):
        return value
    full = whole(value)
    return full.cpu() if keep else None


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Puts back what `optimizer_state` returned, whatever the number of workers was."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    parts = {
        position: {
            name: part_of(value, parameters[position]) if isinstance(value, torch.Tensor) else value
            for name, value in values.items()
        }
        for position, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": parts})


def filled_up[Item](items: Sequence[Item], spare: Item) -> list[tuple[Item, float]]:
    """The items, which count, each with 1, and then the spare one with 0 until every worker has equally many."""
    counts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(counts, len(items))
    return [*((item, 1.0) for item in items), *[(spare, 0.0)] * (max(counts) - len(items))]
