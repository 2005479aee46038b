"""Paragraphs of plain text files, for steps that make questions from them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from affinage.curation.formats.encodings import find_encoding, text_lines
from affinage.curation.formats.records import MAX_CHARS, Place, Record, RecordFile, broken
from affinage.curation.rows import Row
from affinage.paths import display

NOTE = "plain text has no questions: each paragraph is an output, with an empty instruction and input"
LINE_OVERHEAD = 64  # bytes that Python takes for a line besides its characters


def open_text_file(path: Path, name: str) -> RecordFile:
    """The paragraphs of a text file, numbered by their first line; blank lines part them."""
    encoding, encoding_note = find_encoding(path)
    notes = (NOTE, encoding_note) if encoding_note else (NOTE,)
    return RecordFile(name, display(path), "text", "line", lambda: _paragraphs(path, encoding), notes=notes)


def _paragraphs(path: Path, encoding: str) -> Iterator[Record]:
    lines: list[str] = []
    size = 0
    n = 0
    for n, line in enumerate(text_lines(path, encoding), start=1):
        line = line.rstrip()
        if line:
            lines.append(line)
            size += len(line) + LINE_OVERHEAD
            if size > MAX_CHARS:
                found = f"the paragraph is longer than {MAX_CHARS // 2**20} MiB."
                raise broken(path, n - len(lines) + 1, found, "Part the paragraphs with blank lines.")
        elif lines:
            yield n - len(lines), {"text": "\n".join(lines)}
            lines, size = [], 0
    if lines:
        yield n - len(lines) + 1, {"text": "\n".join(lines)}


def text_rows(record: dict[str, Any], place: Place) -> Iterator[Row]:
    """The row of one paragraph; its group is the file."""
    row = place.row({"output": record["text"]}, group=place.file.name)
    if row:
        yield row
