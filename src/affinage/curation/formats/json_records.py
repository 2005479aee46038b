"""Records from JSON files: one object on each line, or one array, alone or in an object."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from affinage.curation.formats.encodings import marked_encoding, refuse_binary, text_lines, text_start
from affinage.curation.formats.json_stream import CHUNK, LISTS, streamed_records
from affinage.curation.formats.json_values import DECODER, checked_record, reason
from affinage.curation.formats.records import Record, RecordFile, broken
from affinage.paths import display

LINE_SUFFIXES = (".jsonl", ".ndjson")
PEEKED = 100  # records whose keys are the columns


def open_json(path: Path, name: str, lines: bool = False) -> RecordFile:
    """The records of a JSON file; `lines` says that there is one on each line, whatever the file is called.

    Raises AffinageError when the file or one of its first records is broken, or when there is none.
    """
    refuse_binary(path, "JSON")
    encoding = marked_encoding(path)
    by_line = _one_per_line(path, encoding, lines or path.suffix.lower() in LINE_SUFFIXES)
    read = _line_records if by_line else streamed_records

    def records() -> Iterator[Record]:
        return read(path, encoding)

    first = list(islice(records(), PEEKED))
    if not first:
        raise broken(path, None, "holds no record.", "Name a file that holds rows.")
    columns = tuple(dict.fromkeys(key for _, record in first for key in record))
    kind, unit = ("jsonl", "line") if by_line else ("json", "record")
    return RecordFile(name, display(path), kind, unit, records, columns)


def _one_per_line(path: Path, encoding: str, said: bool) -> bool:
    """Whether each line is a record; without a telling name, a lone object is one unless it holds a list of them."""
    start = text_start(path, encoding, CHUNK).lstrip()
    if said or not start.startswith("{"):
        return not start.startswith("[")
    first, _, rest = start.partition("\n")
    try:
        value = DECODER.decode(first)
    except (ValueError, RecursionError):
        return False
    return bool(rest.strip()) or not any(isinstance(value.get(key), list) for key in LISTS)


def _line_records(path: Path, encoding: str) -> Iterator[Record]:
    for n, line in enumerate(text_lines(path, encoding), start=1):
        if not line.strip():
            continue
        try:
            value = DECODER.decode(line)
        except json.JSONDecodeError as error:
            cut = " The line may be cut." if "Unterminated" in error.msg or error.pos >= len(line.rstrip()) else ""
            raise broken(path, n, f"broken JSON: {error.msg} at character {error.colno}.{cut}") from error
        except (ValueError, RecursionError) as error:
            raise broken(path, n, reason(error)) from error
        yield n, checked_record(value, line, path, n, "the line")
