"""Keeps book of the tensors a piece of torch code makes: their bytes, and from when to when each of them lives."""

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

ALIVE = 2**62  # the death of a storage that outlives the book


@dataclass
class Entry:
    """One storage: bytes, what it holds, and the operations (0-based) after which it was there and gone."""

    size: int
    item: str
    born: int
    died: int = ALIVE


class Ledger(TorchDispatchMode):
    """Inside `with`, every new storage gets an entry under the present `item`; what was there before gets none.

    It sees every operation that reaches torch's dispatcher, backward included, on real and on fake tensors alike, but
    not what a kernel allocates and frees inside of itself.
    """

    def __init__(self, known: Iterable[torch.Tensor], item: str) -> None:
        super().__init__()
        self.item, self.entries, self.operations = item, list[Entry](), 0
        self._open: dict[int, tuple[Entry | None, Any]] = {}
        for tensor in known:
            storage = tensor.untyped_storage()
            self._open[storage._cdata] = (None, storage)  # held here, so that its address is not given out again

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for value in tree_iter(out):
            if isinstance(value, torch.Tensor):
                self._note(value.untyped_storage())
        self.operations += 1
        return out

    def _note(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._open:
            return
        entry = Entry(storage.nbytes(), self.item, self.operations)

        def close(_: Any) -> None:
            entry.died = self.operations
            del self._open[key]

        self.entries.append(entry)
        self._open[key] = (entry, weakref.ref(storage, close))

    def rename(self, tensors: Iterable[torch.Tensor], item: str) -> None:
        """Puts the entries of these tensors under another item."""
        for tensor in tensors:
            entry = self._open.get(tensor.untyped_storage()._cdata, (None,))[0]
            if entry is not None:
                entry.item = item


def peak(entries: list[Entry], kept: dict[str, int]) -> dict[str, int]:
    """Bytes by item at the moment when most are alive, on top of what is `kept` all the time."""
    births = np.array([entry.born for entry in entries], dtype=np.int64)
    deaths = np.array([entry.died for entry in entries], dtype=np.int64)
    sizes = np.array([entry.size for entry in entries], dtype=np.int64)
    change = np.zeros(births.max(initial=0) + 1, dtype=np.int64)
    np.add.at(change, births, sizes)
    gone = deaths < len(change)
    np.add.at(change, deaths[gone], -sizes[gone])
    moment = int(change.cumsum().argmax())
    items = dict(kept)
    for entry in entries:
        if entry.born <= moment < entry.died:
            items[entry.item] = items.get(entry.item, 0) + entry.size
    return items
