"""What training with a config needs at its worst moment, item by item."""

from dataclasses import replace
from typing import Any

from affinage.footprint.ledger import Entry, peak
from affinage.footprint.skeleton import is_quantized
from affinage.footprint.step import BACKWARD, GRADIENTS, Batch, Skeleton

FLOAT32 = 4  # bytes
ONE_STATE = ("adagrad", "lars", "lion", "muon")  # optimizers that keep one number per weight, not two
STATE, UPDATE = "optimizer state", "optimizer update"


class Footprint:
    """The memory that a resolved config's training needs, for batches of any shape.

    The model of the config, with its adapter and its quantized layers, takes a training and an evaluation step on
    torch's fake tensors, and every storage that torch would allocate is noted from its birth to its death: weights,
    what the forward pass keeps for the backward pass, logits, gradients, and what comes and goes. An optimizer keeps
    `state_bytes` per trained weight, and its update has a moment of its own. The worst moment counts.

    benchmarks/memory.json compares this with what real steps allocate; no GPU was measured. Not in it: Python, its
    libraries, the CUDA context, what kernels allocate inside themselves, gaps between blocks, loading the model (see
    `loading`) and answering the test rows after training.
    """

    def __init__(self, resolved: Any, device: str) -> None:
        self.skeleton, self.trainer = Skeleton(resolved, device), resolved.trainer
        self._evaluations: dict[Batch, list[Entry]] = {}

    def items(self, batch: Batch) -> dict[str, int]:
        """Bytes by what they hold at the worst moment of training with batches like this one."""
        trained = sum(parameter.numel() for parameter in self.skeleton.trained)
        kept = {**self.skeleton.weights(), STATE: trained * state_bytes(self.trainer.optimizer)}
        update = {**kept, GRADIENTS: trained * FLOAT32, UPDATE: self._update_bytes(trained)}
        moments = [peak(self._micro_batch(self.skeleton.training(batch)), kept), update]
        if not self.trainer.skip_all_evaluation:
            moments.append(peak(self._evaluation(batch), kept))
        return max(moments, key=lambda items: sum(items.values()))

    def loading(self) -> int:
        """Bytes of main memory for the base model's float32 weights on their way; 0 for those loaded in few bits."""
        return 0 if is_quantized(self.skeleton.resolved) else FLOAT32 * self.skeleton.model.num_parameters()

    def _micro_batch(self, book: list[Entry]) -> list[Entry]:
        """With accumulation, earlier batches' gradients are there, and each new one lives until it is added."""
        if self.trainer.gradient_accumulation_steps in (1, "auto"):
            return book
        gradients = [entry for entry in book if entry.item == GRADIENTS]
        others = [entry for entry in book if entry.item != GRADIENTS]
        kept = [Entry(entry.size, GRADIENTS, 0) for entry in gradients]
        added = [Entry(entry.size, BACKWARD, entry.born, entry.born + 1) for entry in gradients]
        return [*kept, *others, *added]

    def _update_bytes(self, trained: int) -> int:
        """torch's optimizers take the square root of a state: of all weights at once on a GPU, one by one on a CPU.

        Adam's has a second copy there, divided by what corrects its bias.
        """
        optimizer = self.trainer.optimizer
        if optimizer.is_8bit or optimizer.is_paged or _states(optimizer) == 0 or optimizer.type == "sgd":
            return 0
        if self.skeleton.device == "cuda":
            return trained * FLOAT32
        copies = 2 if _states(optimizer) > 1 else 1
        return copies * FLOAT32 * max((parameter.numel() for parameter in self.skeleton.trained), default=0)

    def _evaluation(self, batch: Batch) -> list[Entry]:
        rows = self.trainer.eval_batch_size
        evaluated = replace(batch, rows=rows) if isinstance(rows, int) and rows > 0 else batch
        if evaluated not in self._evaluations:
            self._evaluations[evaluated] = self.skeleton.evaluation(evaluated)
        return self._evaluations[evaluated]


def state_bytes(optimizer: Any) -> int:
    """Bytes of optimizer state per trained weight; the 8-bit optimizers keep a byte per number."""
    return _states(optimizer) * (1 if optimizer.type.endswith("_8bit") else FLOAT32)


def _states(optimizer: Any) -> int:
    name = optimizer.type.removeprefix("paged_").removesuffix("_8bit")
    if name == "sgd":
        return int(optimizer.momentum > 0)
    if name == "rmsprop":
        return 1 + int(optimizer.momentum > 0) + int(optimizer.centered)
    return (1 if name in ONE_STATE else 2) + int(getattr(optimizer, "amsgrad", False))
