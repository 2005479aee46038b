"""Processes that train one model together: a strategy and a backend of Ludwig's for torch.distributed.

Fault: Ludwig's trainer for language models knows one process. Its own strategies are selected by nothing, and its Ray
trainer exchanges no gradients.
"""

import atexit
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from ludwig.backend.base import LocalBackend
from ludwig.constants import AUTO
from ludwig.distributed.base import LocalStrategy
from torch.distributed.tensor import DTensor

from affinage.errors import AffinageError, Problem, raise_all
from affinage.launch import PATIENCE, TASK, in_group
from affinage.ludwig_ext import sharding
from affinage.model_types import ECD

Item = TypeVar("Item")
Found = TypeVar("Found")
BUCKET = 2**24  # gradients that are added up in one message


def join() -> "Workers":
    """The workers that this process belongs to, as torchrun's variables say; waits for all of them.

    Without these variables it is alone. Ray sets up its own process group beforehand.
    """
    if in_group() and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
        atexit.register(dist.destroy_process_group)
    return Workers()


def refuse(resolved: Any, workers: int = 2) -> None:
    """Raises AffinageError, naming all of them, for settings that so many workers cannot train with."""
    raise_all(list(_problems(resolved, workers)))


def _problems(resolved: Any, workers: int) -> Iterator[Problem]:
    if resolved.model_type == ECD:
        yield Problem("model_type", "runs of encoders are trained by one process.", "llm", "Leave GPUS= out.")
    for key in ("batch_size", "eval_batch_size"):
        if workers > 1 and getattr(resolved.trainer, key) == AUTO:
            found = "'auto' would be looked for by each worker for itself."
            yield Problem(f"trainer.{key}", found, "a whole number", "make fit and make bench show what fits.")
    if resolved.model_type != ECD and workers > 1:
        yield from sharding.problems(resolved)


class Workers(LocalStrategy):
    """Equal copies of a model, one per process. Each learns from its share of the rows of a step, and their gradients
    are added up once a step, before they are clipped.

    Without a process group there is one worker, and nothing is sent. All methods but `share`, `rank` and `size` must
    be called by every worker.
    """

    def __init__(self) -> None:
        self.waited = 0.0  # seconds spent on sending and on waiting for the others

    def size(self) -> int:
        return dist.get_world_size() if dist.is_initialized() else 1

    def rank(self) -> int:
        return dist.get_rank() if dist.is_initialized() else 0

    def barrier(self) -> None:
        if self.size() > 1:
            dist.barrier()

    def broadcast_object(self, v: Any, name: str | None = None) -> Any:
        """What the first worker holds."""
        return self.gather(v)[0]

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This worker's part of what all of them hold: every n-th item, so that a sorted sequence is dealt evenly."""
        return list(items[self.rank() :: self.size()])

    def spread(self, work: Callable[[list[Item]], list[Found]], items: Sequence[Item]) -> list[Found]:
        """One result per item, in their order, each from the worker whose share the item is in."""
        parts = iter(self.gather(work(self.share(items))))
        found: list[Any] = [None] * len(items)
        for rank, part in enumerate(parts):
            found[rank :: self.size()] = part
        return found

    def gather(self, value: Found) -> list[Found]:
        """What each worker holds, by rank."""
        if self.size() == 1:
            return [value]
        values: list[Any] = [None] * self.size()
        with self._waiting():
            dist.all_gather_object(values, value)
        return values

    def sum(self, *values: float) -> list[float]:
        """The sums over all workers, in float64; what is alone comes back as it is."""
        if self.size() == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=_device())
        self._add(sums)
        return sums.tolist()

    def any(self, flag: bool) -> bool:
        """Whether it is true for one of them."""
        return self.sum(flag)[0] > 0

    def sync_model(self, model: torch.nn.Module) -> None:
        """Gives every worker the trained weights of the first."""
        if self.size() > 1:
            for parameter in model.parameters():
                if parameter.requires_grad and not isinstance(parameter, DTensor):
                    dist.broadcast(parameter.data, 0)

    def wait_optimizer_synced(self, optimizer: torch.optim.Optimizer) -> None:
        """Adds up the gradients; Ludwig calls it before it clips them and takes the step."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if self.size() == 1 or any(isinstance(parameter, DTensor) for parameter in parameters):
            return  # those of a model in parts came together in the backward pass
        there = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.int32)
        there = there.to(_device())
        self._add(there)
        for parameter, workers in zip(parameters, there.tolist(), strict=True):
            if workers and parameter.grad is None:  # a worker without rows in this step
                parameter.grad = torch.zeros_like(parameter)
        for bucket in _buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            self._add(flat)
            for gradient, part in zip(bucket, flat.split([gradient.numel() for gradient in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def _add(self, tensor: torch.Tensor) -> None:
        with self._waiting():
            dist.all_reduce(tensor)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.waited += time.monotonic() - started


class WorkersBackend(LocalBackend):
    """Ludwig's local backend, of which the first worker alone writes files."""

    BACKEND_TYPE = "workers"

    @staticmethod
    def is_coordinator() -> bool:
        return Workers().rank() == 0


def backend_of(config: dict[str, Any]) -> Any:
    """What Ludwig runs on, named so that no cluster within reach changes it; its workers are there already."""
    section = config.get("backend", "local")
    if Workers().size() > 1:
        return WorkersBackend()
    kind = section.get("type", "local") if isinstance(section, dict) else section
    if kind != "ray":
        cache = section.get("cache_dir") if isinstance(section, dict) else None
        return {"type": kind, "cache_dir": cache} if cache else kind
    if not dist.is_initialized() and TASK not in os.environ:
        found = "'ray' is for make train, kfold and sweep, and this command trains in one process."
        raise AffinageError(Problem("backend.type", found, "local", "Remove the section, or type make train."))
    return "local"


def _device() -> torch.device:
    """Where tensors must be to be sent."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def _buckets(gradients: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """The gradients in groups of one type, of `BUCKET` numbers or little more."""
    bucket: list[torch.Tensor] = []
    for gradient in gradients:
        if bucket and (sum(g.numel() for g in bucket) >= BUCKET or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
