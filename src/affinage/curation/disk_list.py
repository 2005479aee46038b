"""A list that waits on disk, for what must be read again but would not fit in memory."""

import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from typing import Any


class DiskList:
    """Items in a temporary file, which TMPDIR places and which goes with this object; 8 bytes of memory an item."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
        self._starts = array("Q", [0])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, place: int) -> Any:
        if not 0 <= place < len(self):
            raise IndexError(place)
        self._file.seek(self._starts[place])
        return pickle.loads(self._file.read(self._starts[place + 1] - self._starts[place]))

    def append(self, item: Any) -> None:
        """Writes one item behind the last; raises OSError when the disk is full."""
        self._file.seek(self._starts[-1])
        self._starts.append(self._starts[-1] + self._file.write(pickle.dumps(item)))

    def filled(self, items: Iterable[Any]) -> Iterator[Any]:
        """Appends each item and passes it on."""
        for item in items:
            self.append(item)
            yield item
