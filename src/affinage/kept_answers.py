"""Answers to the rows of a split, on disk as they come, from one process or from several that share the rows."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affinage.runs import json_line

PARTS = "predictions.partial*.jsonl"


class KeptAnswers:
    """Records by row position, in a file of its own for each process; each reads those of all.

    `fingerprint` stands for all that decides an answer: what was kept under another one counts for nothing, and is
    removed by the process that writes there. `rank` is the place of this process among those that share the rows.
    """

    def __init__(self, folder: Path, fingerprint: str, rows: int, rank: int = 0) -> None:
        self._folder, self._head = folder, {"fingerprint": fingerprint, "rows": rows}
        self._path = folder / f"predictions.partial{f'-{rank}' if rank else ''}.jsonl"
        self._read: dict[Path, int] = {}  # bytes of each file
        self.records: dict[int, Any] = {}
        _mend(self._path, self._head)
        self.refresh()

    def refresh(self) -> int:
        """Reads what other processes have added; returns how many rows have an answer."""
        for path in self._folder.glob(PARTS):
            head, lines, size = _lines(path, self._read.get(path, 0))
            if head == self._head:
                self.records |= {line["position"]: line["record"] for line in map(json.loads, lines)}
                self._read[path] = size
        return len(self.records)

    def holds(self, batch: list[int]) -> bool:
        return all(position in self.records for position in batch)

    def add(self, records: Mapping[int, dict[str, Any]]) -> None:
        """Keeps the records, on disk before this returns. Raises OSError when the disk is full."""
        text = "".join(json_line({"position": n, "record": r}) for n, r in records.items()).encode()
        with self._path.open("ab", buffering=0) as file:
            data = text if file.tell() else json_line(self._head).encode() + text
            if file.write(data) != len(data):  # one call, so that no other process sees a line without its end
                raise OSError(f"{self._path}: only a part of the answers could be written; is the disk full?")
            os.fsync(file.fileno())
        self.records |= records

    def finish(self, path: Path) -> Path:
        """Puts the records in the order of the rows into `path`, and all files of kept answers away."""
        partial = path.with_name(path.name + ".partial")
        partial.write_text("".join(json_line(self.records[n]) for n in sorted(self.records)), encoding="utf-8")
        partial.replace(path)
        for part in self._folder.glob(PARTS):
            part.unlink()
        return path


def progress_of(folder: Path) -> tuple[int, int]:
    """Rows with an answer and rows in all, of the evaluation that was last at work in the folder; (0, 0) before."""
    newest_first = sorted(folder.glob(PARTS), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    found = [(head, len(lines)) for head, lines, _ in (_lines(path, 0) for path in newest_first) if head]
    return sum(n for head, n in found if head == found[0][0]), found[0][0]["rows"] if found else 0


def _lines(path: Path, start: int) -> tuple[dict[str, Any] | None, list[bytes], int]:
    """The first line of a file, the whole lines from byte `start` on without it, and where they end."""
    try:
        with path.open("rb") as file:
            head = file.readline()
            if not head.endswith(b"\n"):
                return None, [], 0
            file.seek(max(start, len(head)))
            text = file.read()
    except FileNotFoundError:  # the process it belongs to has just removed it
        return None, [], 0
    whole = text[: text.rfind(b"\n") + 1]  # the last may be cut
    return json.loads(head), whole.splitlines(), max(start, len(head)) + len(whole)


def _mend(path: Path, head: dict[str, Any]) -> None:
    """Removes a file that belongs to another question, and the line that a killed process left unfinished."""
    if not path.exists():
        return
    found, _, size = _lines(path, 0)
    if found == head:
        os.truncate(path, size)
    else:
        path.unlink()
