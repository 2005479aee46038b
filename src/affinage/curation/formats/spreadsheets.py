"""Records from the first sheet of an XLSX file, streamed."""

import datetime
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.cell.cell import ERROR_CODES

from affinage.curation.formats.encodings import beginning, head
from affinage.curation.formats.records import Record, RecordFile, broken
from affinage.paths import display

MAX_UNPACKED_BYTES = 2 * 2**30
SAVE_AGAIN = "Save it again as .xlsx without a password, or as CSV in UTF-8."


def open_spreadsheet(path: Path, name: str) -> RecordFile:
    """The rows of the first sheet as records; the first row that is not blank holds the names of the columns.

    Raises AffinageError when the file or its header is broken, or when it has a password.
    """
    _refuse_other_files(path)
    sheets = _sheet_names(path)
    notes = []
    if len(sheets) > 1:
        notes.append(f"only the sheet '{sheets[0]}' is read, not {', '.join(repr(sheet) for sheet in sheets[1:])}")
    n, header = next(_rows(path), (1, ()))
    columns = _columns(path, n, header)

    def records() -> Iterator[Record]:
        rows = _rows(path)
        next(rows, None)
        for n, cells in rows:
            yield n, _record(path, n, cells, columns)

    return RecordFile(name, display(path), "xlsx", "row", records, columns, tuple(notes))


def _refuse_other_files(path: Path) -> None:
    kind = beginning(head(path))
    if "zip" not in kind:
        raise broken(path, None, f"holds {kind or 'no zip archive'}, not an XLSX file.", SAVE_AGAIN)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise _unreadable(path, error) from error
    if unpacked > MAX_UNPACKED_BYTES:
        found = f"unpacks to {unpacked / 2**30:.1f} GiB."
        raise broken(path, None, found, "Save it as CSV.", f"{MAX_UNPACKED_BYTES // 2**30} GiB")


def _sheet_names(path: Path) -> list[str]:
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # whatever the archive or its XML raised
        raise _unreadable(path, error) from error
    names = [sheet.title for sheet in book.worksheets]
    book.close()
    if not names:
        raise broken(path, None, "no sheet with cells.", SAVE_AGAIN)
    return names


def _rows(path: Path) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """The rows of the first sheet that are not blank, with their numbers in the sheet, without blank last cells."""
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # other programs write sizes that are too small
        rows = sheet.iter_rows(values_only=True)
    except Exception as error:  # whatever the archive or its XML raised
        raise _unreadable(path, error) from error
    n = 0
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            break
        except Exception as error:  # as above
            raise _unreadable(path, error, n + 1) from error
        n += 1
        while cells and cells[-1] in (None, ""):
            cells = cells[:-1]
        if cells:
            yield n, cells
    book.close()


def _unreadable(path: Path, error: Exception, row: int = 0) -> Exception:
    place = f" in row {row}" if row else ""
    return broken(path, None, f"not a whole XLSX file{place}: {error or type(error).__name__}.", SAVE_AGAIN)


def _columns(path: Path, n: int, header: tuple[Any, ...]) -> tuple[str, ...]:
    columns = tuple(str(cell).strip() if cell not in (None, "") else f"column {i}" for i, cell in enumerate(header, 1))
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        names = ", ".join(f"'{name}'" for name in twice)
        raise broken(path, None, f"row {n}: more than one column is called {names}.", "Give each its own name.")
    if not columns:
        raise broken(path, None, "the first sheet is empty.", "Put the table on the first sheet.")
    return columns


def _record(path: Path, n: int, cells: tuple[Any, ...], columns: tuple[str, ...]) -> dict[str, Any]:
    if len(cells) > len(columns):
        found = f"row {n} has {len(cells)} cells, the header has {len(columns)}."
        raise broken(path, None, found, "Name every column, or empty the cells beside the table.")
    record = dict.fromkeys(columns, "") | {name: _plain(cell) for name, cell in zip(columns, cells, strict=False)}
    wrong = [name for name, value in record.items() if value in ERROR_CODES]
    if wrong:
        raise broken(path, None, f"row {n}: the formula in '{wrong[0]}' gives {record[wrong[0]]}.", "Mend the formula.")
    return record


def _plain(cell: Any) -> Any:
    if cell is None:
        return ""
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time.min:
        return cell.date().isoformat()
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    return cell if isinstance(cell, str | bool | int | float) else str(cell)
