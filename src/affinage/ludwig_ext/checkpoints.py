"""Training checkpoints that hold only what training changes, written so that none is ever half there."""

import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affinage.ludwig_ext.sharding import part_of, whole


def trainable_state(model: torch.nn.Module, keep: bool = True) -> dict[str, torch.Tensor]:
    """Copies on the CPU of the parameters that receive gradients, by name; {} for a worker that does not keep them.

    Every worker must ask for those of a model in parts.
    """
    state = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            full = whole(parameter.detach())
            if keep:
                state[name] = full.to("cpu", copy=True)
    return state


def load_trainable_state(model: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Copies a saved state into the model. Raises KeyError unless it holds exactly the trainable ones."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if parameters.keys() != state.keys():
        raise KeyError(f"the checkpoint holds other parameters: {sorted(parameters.keys() ^ state.keys())[:5]}")
    stretched = [name for name, parameter in parameters.items() if parameter.shape != state[name].shape]
    if stretched:
        raise KeyError(f"the checkpoint holds other shapes: {stretched[:5]}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(part_of(state[name], parameter))


def random_state() -> dict[str, Any]:
    """The state of every random number generator that training draws from."""
    python = random.getstate()
    numpy: Any = np.random.get_state()
    return {
        "python": [python[0], list(python[1]), python[2]],
        "numpy": [numpy[0], torch.from_numpy(numpy[1].astype(np.int64)), *numpy[2:]],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Puts the generators back to a state that `random_state` returned."""
    python, numpy = state["python"], state["numpy"]
    random.setstate((python[0], tuple(python[1]), python[2]))
    np.random.set_state((numpy[0], numpy[1].numpy().astype(np.uint32), *numpy[2:]))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes the state to `path`, which holds either the old or the new one at every moment."""
    _written(path, state).replace(path)


def _written(path: Path, state: dict[str, Any]) -> Path:
    """The state, complete and on the disk, in a temporary file beside `path`. Leaves nothing there when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return partial


def load(path: Path) -> dict[str, Any]:
    """A state that `save` wrote; nothing in the file can run code."""
    return torch.load(path, map_location="cpu", weights_only=True)


class Checkpoints:
    """The last two checkpoints of a run: latest.pt, and previous.pt in case the latest cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.latest, self.previous = folder / "latest.pt", folder / "previous.pt"

    def save(self, state: dict[str, Any]) -> str:
        """Makes `state` the latest checkpoint; returns "" or why it could not, with the older ones untouched."""
        try:
            partial = _written(self.latest, state)
            if self.latest.exists():
                self.latest.replace(self.previous)
            partial.replace(self.latest)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            return f"the checkpoint of step {state['steps']} could not be written: {error}"
        return ""

    def load(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest state that can be read, or None, and a note for each file that could not."""
        notes: list[str] = []
        for path in (self.latest, self.previous):
            if not path.exists():
                continue
            try:
                return load(path), notes
            except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
                notes.append(f"{path.name} cannot be read and is left aside: {str(error).splitlines()[0][:120]}")
        return None, notes
