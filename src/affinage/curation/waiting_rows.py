"""Rows that wait on disk while it is decided where they go; little of each stays in memory."""

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from affinage.curation.rows import Row
from affinage.data import SPLITS
from affinage.runs import json_line

NOWHERE = -1


class WaitingRows:
    """Rows in a file of JSON lines; in memory, the group, label and split of each, and where it is to go.

    `groups` are numbers, one for each group; `given` is the split that a row came with, `to` the one it goes to, both
    an index into SPLITS or NOWHERE. `unknown` counts what stood in `split` and is none.
    """

    def __init__(self, path: Path, rows: Iterable[Row]) -> None:
        self.path = path
        self.labels: list[str] = []
        self.unknown: Counter[str] = Counter()
        groups, given = array("q"), array("b")
        group_codes: dict[str, int] = {}
        names: dict[str, str] = {}  # one object for each label, not for each row
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(json_line(row))
                groups.append(group_codes.setdefault(row["group"], len(group_codes)))
                label = str(row.get("label") or "")
                self.labels.append(names.setdefault(label, label))
                given.append(self._given(str(row.get("split") or "")))
        self.groups, self.given = np.array(groups), np.array(given)
        self.to = np.full(len(given), NOWHERE, dtype=np.int8)

    def __len__(self) -> int:
        return len(self.labels)

    def _given(self, split: str) -> int:
        if split and split not in SPLITS:
            self.unknown[split] += 1
        return SPLITS.index(split) if split in SPLITS else NOWHERE

    def going_to(self, split: str) -> Iterator[Row]:
        """The rows of one split, in order."""
        with self.path.open("rb") as file:
            for line, place in zip(file, self.to.tolist(), strict=True):
                if place == SPLITS.index(split):
                    yield json.loads(line)
