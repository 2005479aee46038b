"""Splits rows into train, validation and test, or into folds, so that the rows of a group stay together."""

import heapq
import random
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from affinage.data import SPLITS
from affinage.errors import AffinageError, Problem

RATIOS = {"train": 0.8, "validation": 0.1, "test": 0.1}
FEW_TEST_ROWS = 20
FAR_FROM_ASKED = 0.05  # part of all rows

Cells = Sequence[tuple[int, int]]  # (label, rows of it) of one group


@dataclass(frozen=True)
class Split:
    """Which split every row goes to, and how near the sizes came to those asked for.

    `warnings` says what a person should know before trusting a score on these splits.
    """

    of_row: np.ndarray  # (rows,) int8, an index into SPLITS
    asked: dict[str, int]  # rows by split
    got: dict[str, int]
    labels: dict[str, dict[str, int]]  # label -> split -> rows
    warnings: list[str]


def sample(rows: int, n: int, seed: int) -> np.ndarray:
    """The numbers, rising, of `n` of `rows` rows drawn without replacement; all of them when there are not more."""
    if n >= rows:
        return np.arange(rows)
    return np.array(sorted(random.Random(seed).sample(range(rows), n)), dtype=np.int64)


def split_rows(
    rows_meta: Iterable[tuple[Hashable, Hashable]],
    ratios: Mapping[str, float] = RATIOS,
    seed: int = 42,
    by: Literal["group", "row"] = "group",
    stratify: Literal["label"] | None = None,
    given: Sequence[int] | np.ndarray | None = None,
) -> Split:
    """Splits rows, each a pair of its group and its label; the same rows, ratios and seed give the same split.

    No group is broken with `by="group"`. Groups are dealt from the largest to the smallest, in seeded order among
    equals, to the split that lacks the greatest part of what it is asked to hold and has room. With
    `stratify="label"` that part is counted label by label, so each split nears the labels' shares of the whole.
    `given` holds for each row an index into SPLITS, which is kept, or -1; the other rows of a kept row's group follow
    it, and the ratios are those of the rows left. Raises AffinageError for ratios that are none, no row, or fewer
    groups than splits.
    """
    groups, labels, names = _codes(rows_meta)
    if fault := ratio_fault(ratios):
        raise AffinageError(Problem("split", fault, "parts of at least 0 for train, validation and test that sum to 1"))
    if not len(groups):
        raise AffinageError(Problem("split", "there is no row to split."))
    if by == "row":
        groups = np.arange(len(groups))
    of_row = _follow(groups, given)
    free = np.flatnonzero(of_row < 0)
    kept = np.bincount(of_row[of_row >= 0], minlength=len(SPLITS))
    asked = kept + _whole([ratios.get(name, 0) for name in SPLITS], len(free))
    if len(free):
        dealt_by = labels[free] if stratify else np.zeros(len(free), dtype=np.int64)
        wanted = [split for split, name in enumerate(SPLITS) if ratios.get(name)]
        of_row[free] = _deal(groups[free], dealt_by, asked - kept, wanted, seed)
    got = np.bincount(of_row, minlength=len(SPLITS))
    return Split(
        of_row,
        _named(asked),
        _named(got),
        {str(name): _named(np.bincount(of_row[labels == code], minlength=3)) for code, name in enumerate(names)},
        _warnings(asked, got, test_wanted=ratios.get("test", 0) > 0 or not len(free)),
    )


def kfold(groups: Sequence[Hashable], k: int, seed: int) -> np.ndarray:
    """The fold, 0 to k-1, of every row: (rows,); a group lies in one fold, and the folds' sizes are near each other.

    Groups go, largest first and in seeded order among equals, to the fold with the fewest rows. Raises AffinageError
    for fewer than 2 folds or fewer groups than folds.
    """
    codes, _, _ = _codes((group, 0) for group in groups)
    sizes = np.bincount(codes) if len(codes) else np.zeros(0, dtype=np.int64)
    if not 2 <= k <= len(sizes):
        raise AffinageError(Problem("folds", f"{k} folds of {len(sizes)} groups.", "2 folds to as many as groups"))
    folds = [(0, fold) for fold in range(k)]
    of_group = np.empty(len(sizes), dtype=np.int64)
    for group in _largest_first(sizes, seed):
        rows, fold = folds[0]
        of_group[group] = fold
        heapq.heapreplace(folds, (rows + int(sizes[group]), fold))
    return of_group[codes]


def ratio_fault(ratios: Mapping[str, float]) -> str:
    """What is wrong with the parts of the splits, as a sentence; empty when nothing is."""
    if unknown := [name for name in ratios if name not in SPLITS]:
        return f"'{unknown[0]}' is no split."
    if any(not 0 <= part <= 1 for part in ratios.values()):
        return f"a part of {next(part for part in ratios.values() if not 0 <= part <= 1):g}."
    if abs(sum(ratios.values()) - 1) > 1e-6:
        return f"the parts sum to {sum(ratios.values()):g}."
    return "" if ratios.get("train") else "no part for train."


def _codes(rows_meta: Iterable[tuple[Hashable, Hashable]]) -> tuple[np.ndarray, np.ndarray, list[Hashable]]:
    """Groups and labels as numbers in order of appearance, and the labels' names."""
    group_codes: dict[Hashable, int] = {}
    label_codes: dict[Hashable, int] = {}
    pairs = np.fromiter(
        (
            (group_codes.setdefault(group, len(group_codes)), label_codes.setdefault(label, len(label_codes)))
            for group, label in rows_meta
        ),
        dtype=np.dtype((np.int64, 2)),
    )
    return pairs[:, 0], pairs[:, 1], list(label_codes)


def _follow(groups: np.ndarray, given: Sequence[int] | np.ndarray | None) -> np.ndarray:
    """The split of each row that has one, or whose group has one by its first such row; -1 for the others."""
    if given is None:
        return np.full(len(groups), -1, dtype=np.int8)
    of_row = np.asarray(given, dtype=np.int8)
    fixed = np.flatnonzero(of_row >= 0)
    of_group = np.full(groups.max() + 1, -1, dtype=np.int8)
    of_group[groups[fixed[::-1]]] = of_row[fixed[::-1]]  # the last written wins, so the first row of a group does
    return np.where(of_row >= 0, of_row, of_group[groups])


def _whole(parts: Sequence[float], rows: int) -> np.ndarray:
    """Whole numbers that sum to `rows`, by largest remainder; a part above 0 gets a row where rows suffice."""
    exact = np.array(parts) * rows
    whole = np.floor(exact + 1e-9).astype(np.int64)
    for place in np.argsort(whole - exact, kind="stable")[: rows - whole.sum()]:
        whole[place] += 1
    for place in np.flatnonzero((exact > 0) & (whole == 0)):
        if whole.max() > 1:
            whole[np.argmax(whole)] -= 1
            whole[place] = 1
    return whole


def _largest_first(sizes: np.ndarray, seed: int) -> list[int]:
    order = list(range(len(sizes)))
    random.Random(seed).shuffle(order)
    return sorted(order, key=(-sizes).tolist().__getitem__)


def _deal(groups: np.ndarray, labels: np.ndarray, asked: np.ndarray, wanted: list[int], seed: int) -> np.ndarray:
    """The split of each row, group by group; `labels` are numbers from 0, `asked` the rows of each `wanted` split."""
    _, codes = np.unique(groups, return_inverse=True)
    sizes, cells_of = np.bincount(codes), _cells(codes, labels)
    if len(sizes) < len(wanted):
        raise AffinageError(
            Problem(
                "split",
                f"{len(sizes)} groups for {len(wanted)} splits.",
                "at least one group for each split",
                "Split by row, give fewer splits a part, or bring more data.",
            )
        )
    room = _Room(asked, np.bincount(labels))
    of_group = np.empty(len(sizes), dtype=np.int8)
    empty = set(wanted)
    for dealt, group in enumerate(_largest_first(sizes, seed)):
        last_chance = len(sizes) - dealt <= len(empty)
        split = room.best(sorted(empty) if last_chance else wanted, cells_of[group], int(sizes[group]))
        room.take(split, cells_of[group], int(sizes[group]))
        of_group[group] = split
        empty.discard(split)
    return of_group[codes]


def _cells(groups: np.ndarray, labels: np.ndarray) -> list[Cells]:
    """For each group, how many rows it has of each of its labels."""
    width = int(labels.max()) + 1
    keys, counts = np.unique(groups * width + labels, return_counts=True)
    owners, found = np.divmod(keys, width)
    pairs = list(zip(found.tolist(), counts.tolist(), strict=True))
    edges = [*np.flatnonzero(np.diff(owners, prepend=-1)).tolist(), len(pairs)]
    return [pairs[start:end] for start, end in pairwise(edges)]


class _Room:
    """How many rows each split still lacks, in all and of each label."""

    def __init__(self, asked: np.ndarray, by_label: np.ndarray) -> None:
        self.asked = asked.tolist()
        self.left = asked.tolist()
        self.aim = np.outer(asked, by_label / by_label.sum()).tolist()  # split, label
        self.lack = [list(row) for row in self.aim]

    def best(self, splits: Sequence[int], cells: Cells, size: int) -> int:
        """The split that lacks the greatest part of such rows, among those with room for the group and its labels.

        Where the labels have no room, the split that they overfill least; where the group has none, the one with most.
        """
        with_room = [split for split in splits if size <= self.left[split]]
        if not with_room:
            return max(splits, key=self.left.__getitem__)
        fitting = [split for split in with_room if all(rows < self.lack[split][label] + 1 for label, rows in cells)]
        if not fitting:
            return max(with_room, key=lambda split: sum(rows * self.lack[split][label] for label, rows in cells))
        return max(fitting, key=lambda split: self._part_lacking(split, cells))

    def _part_lacking(self, split: int, cells: Cells) -> tuple[float, float]:
        lack, aim = self.lack[split], self.aim[split]
        return sum(rows * lack[label] / aim[label] for label, rows in cells), self.left[split] / self.asked[split]

    def take(self, split: int, cells: Cells, size: int) -> None:
        self.left[split] -= size
        for label, rows in cells:
            self.lack[split][label] -= rows


def _named(numbers: np.ndarray) -> dict[str, int]:
    return dict(zip(SPLITS, numbers.tolist(), strict=True))


def _warnings(asked: np.ndarray, got: np.ndarray, test_wanted: bool) -> list[str]:
    found = []
    if test_wanted and got[-1] < FEW_TEST_ROWS:
        found.append(f"The test split has {got[-1]} rows: a score on fewer than {FEW_TEST_ROWS} rows says little.")
    far = np.abs(got - asked) > FAR_FROM_ASKED * got.sum()
    found += [
        f"{name} has {got[i]:,} rows where {asked[i]:,} were asked for: groups are too large to come nearer."
        for i, name in enumerate(SPLITS)
        if far[i]
    ]
    return found
