"""One JSON text, an array of records or an object around one, read piece by piece in bounded memory."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from affinage.curation.formats.encodings import open_text, undecodable
from affinage.curation.formats.json_values import DECODER, checked_record, reason
from affinage.curation.formats.records import MAX_CHARS, Record, broken
from affinage.errors import AffinageError

LISTS = ("data", "rows", "records", "examples", "items")  # keys of an object that may hold its records
CHUNK = 2**20
# This near to the end of what was read, a number, a literal or an escape may have been cut in two.
NEAR_THE_END = 16
SPACE = re.compile(r"[ \t\r\n]*")


def streamed_records(path: Path, encoding: str) -> Iterator[Record]:
    """The records of the array in a JSON file, numbered from 1. Raises AffinageError naming the line."""
    with open_text(path, encoding, "") as file:
        text = _JsonText(path, file, encoding)
        yield from text.items() if text.peek() == "[" else text.items_of_object()
        if text.peek():
            raise text.error("something follows the end of the JSON.")


class _JsonText:
    """A JSON text, read as far as was needed, and the place reached; `line` is the line of the place `counted`."""

    def __init__(self, path: Path, file: IO[str], encoding: str) -> None:
        self.path, self.file, self.encoding = path, file, encoding
        self.text, self.pos, self.ended = "", 0, False
        self.line, self.counted = 1, 0

    def peek(self) -> str:
        """The next character that is no space, "" at the end; `pos` is then its place."""
        while True:
            self.pos = SPACE.match(self.text, self.pos).end()  # type: ignore[union-attr]  # it matches "" too
            if self.pos < len(self.text):
                return self.text[self.pos]
            if self.ended:
                return ""
            self._read_more()

    def take(self, expected: str) -> None:
        """Moves past the next character. Raises AffinageError when it is another than expected."""
        found = self.peek()
        if not found:
            raise self.error(f"the file ends where '{expected}' is expected: it may be cut.")
        if found != expected:
            raise self.error(f"broken JSON: '{expected}' is expected, not '{found}'.")
        self.pos += 1

    def value(self) -> tuple[Any, str]:
        """The next value and its text; moves past it."""
        self.peek()
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.pos)
            except json.JSONDecodeError as error:
                if self.ended or not self._may_be_cut(error):
                    raise self.error(f"broken JSON: {error.msg}.", error.pos) from error
            except (ValueError, RecursionError) as error:
                raise self.error(reason(error)) from error
            else:
                if (self.ended or end < len(self.text) - NEAR_THE_END) and end - self.pos <= MAX_CHARS:
                    text, self.pos = self.text[self.pos : end], end
                    return value, text
            if len(self.text) - self.pos > MAX_CHARS:
                raise self.error(f"the record is longer than {MAX_CHARS // 2**20} MiB.", remedy="Cut texts that long.")
            self._read_more()

    def items(self) -> Iterator[Record]:
        """The records of the array that comes next."""
        self.take("[")
        n = 0
        while self.peek() != "]":
            if n:
                self.take(",")
                self.peek()
            n += 1
            line = self._count_lines()
            value, text = self.value()
            yield n, checked_record(value, text, self.path, line, f"record {n}")
        self.take("]")

    def items_of_object(self) -> Iterator[Record]:
        """The records of the one list in an object that may hold them."""
        self.take("{")
        keys: list[str] = []
        while self.peek() != "}":
            if keys:
                self.take(",")
            keys.append(self._key())
            if keys[-1] in LISTS and self.peek() == "[":
                yield from self.items()
            else:
                self.value()
        self.take("}")
        lists = [key for key in keys if key in LISTS]
        if len(lists) != 1:
            shown = ", ".join(keys[:10]) or "none"
            raise broken(
                self.path,
                None,
                f"one object with {len(lists)} lists of records. Its keys are: {shown}.",
                "Write a list of records, or one record on each line of a .jsonl file.",
                f"one list under {', '.join(LISTS)}",
            )

    def _key(self) -> str:
        key, _ = self.value()
        if not isinstance(key, str):
            raise self.error("broken JSON: a key is no text.")
        self.take(":")
        return key

    def error(self, found: str, pos: int | None = None, remedy: str = "Mend the file.") -> AffinageError:
        """The error for what stands at `pos`, by default the place reached."""
        cut = " The file may be cut." if self.ended and pos is not None and self._near_the_end(pos) else ""
        return broken(self.path, self._line(self.pos if pos is None else pos), found + cut, remedy)

    def _line(self, pos: int) -> int:
        return self.line + self.text.count("\n", self.counted, pos)

    def _count_lines(self) -> int:
        self.line, self.counted = self._line(self.pos), self.pos
        return self.line

    def _near_the_end(self, pos: int) -> bool:
        return pos >= len(self.text.rstrip()) - NEAR_THE_END

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return "Unterminated string" in error.msg or error.pos >= len(self.text) - NEAR_THE_END

    def _read_more(self) -> None:
        self._count_lines()
        rest = self.text[self.pos :]
        try:
            new = self.file.read(max(CHUNK, len(rest)))
        except UnicodeDecodeError as error:
            raise undecodable(self.path, self.encoding) from error
        self.text, self.pos, self.counted, self.ended = rest + new, 0, 0, not new
