"""Rows of one split that are, exactly or nearly, in another: what makes a test score say more than it should."""

import hashlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nlargest
from itertools import combinations
from typing import Any, Literal

import numpy as np

from affinage.curation.disk_list import DiskList
from affinage.curation.duplicates import row_text
from affinage.curation.minhash import NearDuplicates, first_equals, normalized, text_keys
from affinage.curation.rows import Counts, Row
from affinage.data import SPLITS
from affinage.errors import Problem, raise_all

LONG_ANSWER = 50  # characters once normalised; shorter answers ("Oui.", a label) repeat for good reasons
SEVERITIES = ("error", "warning", "note")

Policy = Literal["error", "drop_from_train", "warn"]


@dataclass(frozen=True)
class LeakExample:
    """Two rows that meet; `similarity` is 1 for an exact match, a Jaccard index for a near one, None for a group."""

    first_id: str
    second_id: str
    first_text: str
    second_text: str
    similarity: float | None


@dataclass(frozen=True)
class Leak:
    """The rows of two splits that meet in one way; `second` is the split nearer to the test."""

    first: str
    second: str
    on: str  # "question", "answer" or "group"
    kind: str  # "exact" or "near"
    severity: str  # "error", "warning" or "note"
    first_rows: np.ndarray  # places in the first split, rising
    second_rows: np.ndarray
    examples: tuple[LeakExample, ...]

    def __str__(self) -> str:
        what = "short answer" if self.severity == "note" else self.on
        article = "an" if what == "answer" else "a"
        nearly = "nearly " if self.kind == "near" else ""
        return f"{self.second} rows have {article} {what} that is {nearly}in {self.first}"


@dataclass(frozen=True)
class LeakReport:
    """Every way in which splits meet, errors first, and how many rows each split has."""

    sizes: dict[str, int]
    near_threshold: float | None
    leaks: tuple[Leak, ...]

    def of(self, severity: str) -> list[Leak]:
        """The leaks of one severity: error, warning or note."""
        return [leak for leak in self.leaks if leak.severity == severity]

    def to_json(self) -> dict[str, Any]:
        """The report without the places of rows, ready for a manifest."""
        leaks = [
            {name: getattr(leak, name) for name in ("first", "second", "on", "kind", "severity")}
            | {"first_rows": len(leak.first_rows), "second_rows": len(leak.second_rows)}
            | {"examples": [vars(example) for example in leak.examples]}
            for leak in self.leaks
        ]
        return {"rows": self.sizes, "near_threshold": self.near_threshold, "leaks": leaks}


def find_leaks(
    splits: Mapping[str, Iterable[Row]],
    near_threshold: float | None = 0.8,
    on: Collection[str] = ("question", "answer"),
    examples: int = 5,
    processes: int | None = None,
) -> LeakReport:
    """What train shares with validation and test, and validation with test; None looks for no near match.

    The question is the instruction and the input together. A question that is the same once `normalized`, or a group
    in two splits, is an error; one whose Jaccard index reaches the threshold is a warning. The same answer is an error
    when it is long (LONG_ANSWER), a nearly equal long one a warning, and a short one only a note: labels and "Oui."
    repeat (and where the question is the same too, the question is the error). Empty texts and groups meet nothing.
    A row may meet one row exactly and another nearly. Reads each split once; texts wait on disk.
    """
    read = _read(splits)
    found = list(_exact(read, "group", read.groups, read.groups != 0, "error", examples))
    for column in on:
        same = first_equals(text_keys(read.texts(column)))
        lengths = read.lengths[column]
        telling = lengths >= (LONG_ANSWER if column == "answer" else 1)
        found += _exact(read, column, same, telling, "error", examples)
        found += _exact(read, column, same, (lengths > 0) & ~telling, "note", examples)
        if near_threshold is not None:
            index = NearDuplicates(near_threshold, processes=processes)
            index.add(read.texts(column))
            found += _near(read, column, same, telling, index, examples)
    found.sort(key=lambda leak: (SEVERITIES.index(leak.severity), SPLITS.index(leak.second), SPLITS.index(leak.first)))
    sizes = {name: int((read.part == code).sum()) for code, name in enumerate(SPLITS) if name in splits}
    return LeakReport(sizes, near_threshold, tuple(found))


def apply_leak_policy(
    splits: Mapping[str, Iterable[Row]], report: LeakReport, policy: Policy, counts: Counts, near: bool = False
) -> dict[str, Iterator[Row]]:
    """The splits as the policy leaves them; `splits` must give the rows in the order the report was made from.

    "error" raises AffinageError when the report has errors, naming each; "warn" only counts them. "drop_from_train"
    drops from train every row that an error names (with `near`, a warning too), so that validation and test stay as
    they are; a row that validation shares with test leaves validation. Everything is counted in the step "leaks".
    """
    if policy == "error":
        raise_all(_problem(leak, report) for leak in report.of("error"))
    for leak in report.leaks:
        shown = "; ".join(f"{e.first_id} and {e.second_id}" for e in leak.examples[: Counts.EXAMPLES])
        counts.add("leaks", f"{leak.severity}: {leak}", len(leak.second_rows), example=shown)
    dropped: dict[str, dict[int, str]] = {name: {} for name in splits}
    if policy == "drop_from_train":
        for leak in report.of("error") + (report.of("warning") if near else []):
            reason = f"dropped: {leak.on} is in {leak.second} ({leak.kind})"
            dropped[leak.first] = dict.fromkeys(leak.first_rows.tolist(), reason) | dropped[leak.first]
    return {name: _without(rows, dropped[name], report.sizes[name], counts) for name, rows in splits.items()}


def _without(rows: Iterable[Row], dropped: Mapping[int, str], size: int, counts: Counts) -> Iterator[Row]:
    place = -1
    for place, row in enumerate(rows):
        counts.add("leaks", "seen")
        if place in dropped:
            counts.add("leaks", dropped[place], example=f"{row.get('id', place)}: {row_text(row)}")
        else:
            yield row
    if place + 1 != size:
        raise ValueError(f"the leak report is of {size} rows, but there are {place + 1}")


def _problem(leak: Leak, report: LeakReport) -> Problem:
    example = leak.examples[0]
    return Problem(
        f"{leak.first} and {leak.second}",
        f"{len(leak.second_rows)} of {report.sizes[leak.second]} {leak}, such as {example.first_id} and "
        f"{example.second_id}: {example.second_text[:100]!r}.",
        remedy=f"Drop {len(leak.first_rows)} {leak.first} rows (on leak: drop_from_train), or accept it (warn).",
    )


@dataclass(frozen=True)
class _Read:
    """All rows of all splits, one after the other in the order of SPLITS; texts on disk, the rest in memory."""

    rows: DiskList  # (id, {"question": text, "answer": text})
    part: np.ndarray  # (n,) uint8, an index into SPLITS
    groups: np.ndarray  # (n,) uint64, 0 for none
    lengths: dict[str, np.ndarray]  # (n,) characters of the normalised question and answer

    def texts(self, on: str) -> Iterator[str]:
        return (self.rows[place][1][on] for place in range(len(self.rows)))

    def within(self, code: int, rows: np.ndarray) -> np.ndarray:
        """Places in one split, from places among all rows."""
        return rows - np.searchsorted(self.part, code)

    def example(self, on: str, i: int, j: int, similarity: float | None) -> LeakExample:
        (first_id, first), (second_id, second) = self.rows[i], self.rows[j]
        shown = "answer" if on == "answer" else "question"
        return LeakExample(first_id, second_id, first[shown], second[shown], similarity)


def _read(splits: Mapping[str, Iterable[Row]]) -> _Read:
    rows, part, groups = DiskList(), array("B"), array("Q")
    lengths = {"question": array("Q"), "answer": array("Q")}
    for code, name in enumerate(SPLITS):
        for place, row in enumerate(splits.get(name, ())):
            texts = {"question": row_text(row, ("instruction", "input")), "answer": row_text(row, ("output",))}
            rows.append((str(row.get("id") or f"{name} row {place + 1}"), texts))
            part.append(code)
            groups.append(_group_key(row.get("group")))
            for on, text in texts.items():
                lengths[on].append(len(normalized(text)))
    counted = {on: np.array(values, dtype=np.int64) for on, values in lengths.items()}
    return _Read(rows, np.array(part, dtype=np.uint8), np.array(groups, dtype=np.uint64), counted)


def _group_key(group: Any) -> int:
    text = "" if group is None else str(group).strip()
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") if text else 0


def _exact(read: _Read, on: str, same: np.ndarray, usable: np.ndarray, severity: str, examples: int) -> Iterator[Leak]:
    """The leaks between each two splits, of usable rows with the same value in `same` (n,)."""
    for a, b in combinations(range(len(SPLITS)), 2):
        first, second = (np.flatnonzero(usable & (read.part == code)) for code in (a, b))
        met = np.intersect1d(same[first], same[second])
        first, second = (rows[np.isin(same[rows], met)] for rows in (first, second))
        if len(met):
            partners = ((int(first[same[first] == same[j]][0]), int(j)) for j in second[:examples])
            shown = tuple(read.example(on, i, j, None if on == "group" else 1.0) for i, j in partners)
            yield Leak(
                SPLITS[a], SPLITS[b], on, "exact", severity, read.within(a, first), read.within(b, second), shown
            )


def _near(
    read: _Read, on: str, same: np.ndarray, usable: np.ndarray, index: NearDuplicates, examples: int
) -> Iterator[Leak]:
    """The leaks between each two splits, of usable rows whose texts are like, but not the same as, one another."""
    met = np.zeros((len(same), len(SPLITS)), dtype=bool)  # does this text, where its split has it first, meet a split?
    best: dict[tuple[int, int], list[tuple[float, int, int]]] = {}
    texts = np.flatnonzero(usable)
    _, firsts = np.unique(same[texts] * len(SPLITS) + read.part[texts], return_index=True)

    def known(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return (same[i] == same[j]) | (met[i, read.part[j]] & met[j, read.part[i]])

    for i, j, jaccard in index.pairs(texts[np.sort(firsts)], read.part, known):
        a, b = int(read.part[i]), int(read.part[j])
        met[i, b] = met[j, a] = True
        best[a, b] = nlargest(examples, [*best.get((a, b), []), (jaccard, -j, -i)])
    for (a, b), pairs in best.items():
        first, second = (
            np.flatnonzero(mine & np.isin(same, same[mine & met[:, other]]))
            for mine, other in ((usable & (read.part == a), b), (usable & (read.part == b), a))
        )
        shown = tuple(read.example(on, -i, -j, jaccard) for jaccard, j, i in pairs)
        yield Leak(SPLITS[a], SPLITS[b], on, "near", "warning", read.within(a, first), read.within(b, second), shown)
