"""Answers of language models kept on disk under the hash of what was asked, so that work can be interrupted."""

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affinage.errors import AffinageError, Problem
from affinage.paths import display


def answer_key(question: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, of everything that decides an answer, whatever the order of its keys."""
    canonical = json.dumps(question, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class AnswerCache:
    """A file of JSON lines, one for each answer, that is only ever appended to; several threads may use it.

    The first answer to a question stays, also when two threads ask it at once. A line that a killed run left
    unfinished is counted in `broken_lines` and its question asked again. `retry` forgets answers whose status is not
    "ok", so that they are asked again; an answer that is "ok" then stands in their place.
    """

    def __init__(self, path: Path, retry: bool = False) -> None:
        self.path = path
        self.broken_lines = 0
        self._answers: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._retry = retry
        if path.exists():
            self._load()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer under this key, None when there is none."""
        return self._answers.get(key)

    def put(self, key: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Keeps the answer, on disk before this returns; gives back the one that is kept, an earlier one if any.

        Raises AffinageError when the file cannot be written.
        """
        with self._lock:
            if key not in self._answers:
                try:
                    self._append({"key": key, "answer": answer})
                except OSError as error:
                    raise AffinageError(Problem(display(self.path), f"cannot be written: {error}.")) from error
                self._answers[key] = dict(answer)
            return self._answers[key]

    def _load(self) -> None:
        for line in filter(None, self.path.read_bytes().split(b"\n")):
            try:
                entry = json.loads(line)
                key, answer = str(entry["key"]), dict(entry["answer"])
            except (ValueError, KeyError, TypeError):
                self.broken_lines += 1
                continue
            ok = answer.get("status") == "ok"
            if (ok or not self._retry) and (key not in self._answers or (ok and not self._is_ok(key))):
                self._answers[key] = answer

    def _is_ok(self, key: str) -> bool:
        return self._answers[key].get("status") == "ok"

    def _append(self, entry: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(entry, ensure_ascii=True, allow_nan=False).encode() + b"\n"
        with self.path.open("ab", buffering=0) as file:
            if file.tell() and not self._ends_with_newline():
                line = b"\n" + line
            if file.write(line) != len(line):  # one call, so that two processes never mix their lines
                raise OSError(f"{self.path}: only a part of an answer could be written; is the disk full?")

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
