"""Records from CSV and TSV tables, streamed; the encoding and the delimiter are found and told."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from affinage.curation.formats.encodings import find_encoding, text_lines, text_start
from affinage.curation.formats.records import MAX_CHARS, Record, RecordFile, broken
from affinage.errors import AffinageError
from affinage.paths import display

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SAMPLE_CHARS = 2**16
SAMPLE_ROWS = 50
SPREADSHEET_LINE = "sep="  # some spreadsheets write the delimiter on a line of its own, before the header


def open_table(path: Path, name: str, tabs: bool = False) -> RecordFile:
    """The rows of a CSV table as records of texts; `tabs` says that it is a TSV table.

    Raises AffinageError when the file or its header is broken.
    """
    encoding, encoding_note = find_encoding(path)
    sample = text_start(path, encoding, SAMPLE_CHARS)
    delimiter, guessed = ("\t", False) if tabs else _delimiter(sample)
    first, header = next(_rows(path, encoding, delimiter), (1, []))
    columns = _columns(path, first, header)
    notes = [encoding_note] if encoding_note else []
    if guessed:
        notes.append(f"delimiter {DELIMITERS[delimiter]}, guessed from the first lines")
    unnamed = [name for name, cell in zip(columns, header, strict=True) if not cell.strip()]
    if unnamed:
        notes.append(f"columns without a name are called {', '.join(unnamed)}")

    def records() -> Iterator[Record]:
        rows = _rows(path, encoding, delimiter)
        next(rows)
        for n, cells in rows:
            if len(cells) != len(columns):
                raise _ragged(path, n, cells, columns, delimiter)
            yield n, dict(zip(columns, cells, strict=True))

    kind = "tsv" if delimiter == "\t" else "csv"
    return RecordFile(name, display(path), kind, "line", records, columns, tuple(notes))


def _rows(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, the header included, each with the line on which it begins."""
    csv.field_size_limit(MAX_CHARS)
    lines = text_lines(path, encoding, newline="")
    skipped = 0
    first = next(lines)
    if first.lower().startswith(SPREADSHEET_LINE) and len(first.strip()) <= len(SPREADSHEET_LINE) + 1:
        skipped, first = 1, ""
    reader = csv.reader(_rejoined(first, lines), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + skipped + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _broken_row(path, start, error) from error
        if cells:
            yield start, cells


def _rejoined(first: str, lines: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from lines


def _delimiter(sample: str) -> tuple[str, bool]:
    """The delimiter that cuts the first rows into the same number of cells, and whether that was a guess."""
    first = sample.partition("\n")[0].rstrip("\r")
    if first.lower().startswith(SPREADSHEET_LINE) and first[len(SPREADSHEET_LINE) :] in DELIMITERS:
        return first[len(SPREADSHEET_LINE) :], False
    scores = {delimiter: _regularity(sample, delimiter) for delimiter in DELIMITERS}
    best = max(scores, key=lambda delimiter: scores[delimiter])
    return (best, True) if scores[best][0] else (",", False)


def _regularity(sample: str, delimiter: str) -> tuple[float, int]:
    """The share of rows that have as many cells as the header, and that number; 0 when the header has one cell."""
    widths: list[int] = []
    try:
        for cells in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            if cells:
                widths.append(len(cells))
            if len(widths) > SAMPLE_ROWS:
                break
    except csv.Error:
        pass  # the reader of the whole file says where
    if len(widths) > 1 and len(sample) == SAMPLE_CHARS:
        widths.pop()  # the sample may end inside this row
    if not widths or widths[0] < 2:
        return 0.0, 0
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def _columns(path: Path, line: int, header: list[str]) -> tuple[str, ...]:
    columns = tuple(cell.strip() or f"column {n}" for n, cell in enumerate(header, start=1))
    twice = [name for name, n in Counter(columns).items() if n > 1]
    if twice:
        names = ", ".join(f"'{name}'" for name in twice)
        raise broken(path, line, f"more than one column is called {names}.", "Give each column its own name.")
    if not any(cell.strip() for cell in header):
        raise broken(path, line, "no header.", "Write the names of the columns on the first line.")
    return columns


def _ragged(path: Path, line: int, cells: list[str], columns: tuple[str, ...], delimiter: str) -> AffinageError:
    found = f"the row has {len(cells)} cells, the header has {len(columns)} ({', '.join(columns)})."
    remedy = f'Put texts that hold a {DELIMITERS[delimiter]} between quotes ("), or fill in what is missing.'
    return broken(path, line, found, remedy)


def _broken_row(path: Path, line: int, error: csv.Error) -> AffinageError:
    reasons = {
        "unexpected end of data": "a quote opens in this row and is never closed.",
        "field larger": f"a cell is longer than {MAX_CHARS // 2**20} MiB: a quote may never be closed.",
        "expected after": "text follows a closing quote.",
    }
    found = next((text for part, text in reasons.items() if part in str(error)), f"{error}.")
    return broken(path, line, found, 'Double the quotes ("") that are part of a text.')
