"""Which format a file has, and how its records become rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from affinage.curation.formats.columns import ALPACA, DOLLY, column_rows, plan_columns
from affinage.curation.formats.conversations import conversation_rows
from affinage.curation.formats.encodings import beginning, head
from affinage.curation.formats.json_records import open_json
from affinage.curation.formats.medquad import medquad_rows, open_medquad
from affinage.curation.formats.parquet import open_parquet
from affinage.curation.formats.plain_text import open_text_file, text_rows
from affinage.curation.formats.records import Place, RecordFile, broken
from affinage.curation.formats.reviews import review_rows
from affinage.curation.formats.seeds import seed_rows
from affinage.curation.formats.spreadsheets import open_spreadsheet
from affinage.curation.formats.squad import squad_rows
from affinage.curation.formats.tables import open_table
from affinage.curation.rows import Row
from affinage.errors import AffinageError, Problem

MakeRows = Callable[[dict[str, Any], Place], Iterator[Row]]

# How a file is opened, by the ending of its name; the name of the opener is also its family.
SUFFIXES = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".parquet": "parquet",
    ".xml": "medquad",
    ".txt": "text",
}
# FORMAT= -> the family of files it names; "" when the records may lie in a file of any family.
FORMATS = {
    "alpaca": "",
    "sharegpt": "",
    "messages": "",
    "dolly": "",
    "squad": "",
    "seeds": "",
    "reviews": "",
    "csv": "csv",
    "tsv": "csv",
    "xlsx": "xlsx",
    "parquet": "parquet",
    "jsonl": "json",
    "json": "json",
    "medquad": "medquad",
    "text": "text",
}
# The columns by which records are known; the first format that has all of one set is the one.
TELLING = {
    "sharegpt": [{"conversations"}],
    "messages": [{"messages"}],
    "seeds": [{"instruction", "instances"}],
    "squad": [{"paragraphs"}, {"context", "question", "answers"}],
    "reviews": [{"review", "reviewed", "turns_before"}],
    "dolly": [{"instruction", "context", "response"}],
    "alpaca": [{"instruction", "output"}],
}
COLUMNS_OF = {"alpaca": ALPACA, "dolly": DOLLY}
UNANSWERABLE = "unanswerable"


@dataclass(frozen=True)
class Recipe:
    """How the records of a file become rows, and sentences about what was guessed."""

    format: str
    make_rows: MakeRows
    notes: tuple[str, ...] = ()
    one_row_each: bool = True


def check_format(format: str, allowed: Sequence[str]) -> None:
    """Raises AffinageError for a format that the source cannot have."""
    if format not in allowed:
        raise AffinageError(Problem(f"FORMAT={format}", "no such format for this source.", ", ".join(allowed)))


def family_of(path: Path, format: str) -> str:
    """Which opener a file needs: by its format, the ending of its name or its first bytes; "" for none."""
    by_name = FORMATS.get(format) or SUFFIXES.get(path.suffix.lower())
    if by_name:
        return by_name
    start = head(path).removeprefix(b"\xef\xbb\xbf").lstrip()
    signs = {b"PAR1": "parquet", b"{": "json", b"[": "json", b"<": "medquad"}
    return next((family for sign, family in signs.items() if start.startswith(sign)), "")


def open_file(path: Path, name: str, format: str) -> RecordFile:
    """The records of a file, which rows will call `name`. Raises AffinageError when no format fits."""
    match family_of(path, format):
        case "json":
            return open_json(path, name, lines=format == "jsonl")
        case "csv":
            tabs = format == "tsv" or (format != "csv" and path.suffix.lower() in (".tsv", ".tab"))
            return open_table(path, name, tabs)
        case "xlsx":
            return open_spreadsheet(path, name)
        case "parquet":
            return open_parquet(path, name)
        case "medquad":
            return open_medquad(path, name)
        case "text":
            return open_text_file(path, name)
    seen = beginning(head(path)) or f"text that begins with {head(path, 40)!r}"
    allowed = f"formats {', '.join(FORMATS)}; files {', '.join(SUFFIXES)}"
    raise broken(path, None, f"no format fits. The file holds {seen}.", "Name the format with FORMAT=.", allowed)


def recognise(file: RecordFile, format: str, columns: Mapping[str, str]) -> Recipe:
    """How the records of `file` become rows, for a FORMAT= and COLUMNS= as given.

    Raises AffinageError when a column is missing, when nothing fits, or when COLUMNS= says what the format cannot use.
    """
    given = {part: column for part, column in columns.items() if part != UNANSWERABLE}
    if file.kind in ("medquad", "text"):
        _refuse_columns(file.kind, columns)
        return Recipe(file.kind, medquad_rows if file.kind == "medquad" else text_rows)
    named = format if format in TELLING else _known(file)
    if format not in TELLING and named != "reviews" and (file.kind in ("csv", "tsv", "xlsx") or given):
        named = ""
    if format in TELLING:
        _refuse_other_columns(file, format)
    if named == "reviews":
        chosen, notes = plan_columns(file.shown, file.columns, given, {})
        return Recipe(named, partial(review_rows, chosen), (*_told(named, format, file), *notes))
    if named != "squad" and UNANSWERABLE in columns:
        _refuse_columns(named or file.kind, {UNANSWERABLE: columns[UNANSWERABLE]})
    if named in TELLING and named not in COLUMNS_OF:
        _refuse_columns(named, given)
        return Recipe(named, _record_rows(named, columns), _told(named, format, file), False)
    chosen, notes = plan_columns(file.shown, file.columns, given, COLUMNS_OF.get(named, {}))
    return Recipe(named or file.kind, partial(column_rows, chosen), (*_told(named, format, file), *notes))


def _record_rows(named: str, columns: Mapping[str, str]) -> MakeRows:
    match named:
        case "squad":
            return partial(squad_rows, columns.get(UNANSWERABLE, ""))
        case "seeds":
            return seed_rows
    return partial(conversation_rows, "messages" if named == "messages" else "conversations")


def _known(file: RecordFile) -> str:
    return next((name for name, sets in TELLING.items() if any(one <= set(file.columns) for one in sets)), "")


def _told(named: str, format: str, file: RecordFile) -> tuple[str, ...]:
    told = []
    if named and format != named:
        told.append(f"recognised as {named} by its columns {', '.join(file.columns)}")
    if "split" in file.columns:
        told.append("its column 'split' is kept: 0, 1, 2, val and dev become train, validation and test")
    return tuple(told)


def _refuse_other_columns(file: RecordFile, format: str) -> None:
    if not any(one <= set(file.columns) for one in TELLING[format]):
        allowed = " or ".join(", ".join(sorted(one)) for one in TELLING[format])
        found = f"no {format}: the columns are {', '.join(file.columns)}."
        raise AffinageError(Problem(file.shown, found, allowed, "Name another FORMAT=, or leave it out."))


def _refuse_columns(format: str, columns: Mapping[str, str]) -> None:
    if columns:
        pairs = " ".join(f"{part}={column}" for part, column in columns.items())
        raise AffinageError(
            Problem(f"COLUMNS {pairs}", f"{format} has no such columns to name.", remedy="Leave it out.")
        )
