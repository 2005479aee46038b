"""The blind sheet that people fill in: a CSV file that spreadsheets open with its accents and without formulas."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from affinage.calibration.evaluation import Evaluation, Item
from affinage.curation.formats.encodings import find_encoding, text_lines
from affinage.errors import AffinageError, Problem
from affinage.judging.items import case_of
from affinage.paths import display

COLUMNS = ("item", "instruction", "input", "reference", "answer", "score", "comment")
NEEDED = ("item", "score")
LONGEST_CELL = 30_000  # characters; spreadsheets hold 32,767
# What a spreadsheet may run as a formula, its full-width forms among them; cells that are marked already count too.
FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
MARKED = re.compile("'+[=+\\-@\t\r\n＝＋－＠]")
SAVE_AS_CSV = "Save the sheet as CSV (UTF-8) from the spreadsheet."


def guarded(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula: an apostrophe stands before what looks like one."""
    text = text.replace("\0", "�")
    text = text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"
    return "'" + text if FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text of a cell that `guarded` made."""
    return cell[1:] if MARKED.match(cell) else cell


def cells_of(evaluation: Evaluation, items: Sequence[Item], codes: Mapping[Item, str]) -> list[dict[str, str]]:
    """The lines of a sheet in this order, guarded; nothing in them says which system answered."""
    rows = {row["id"]: row for row in evaluation.predictions.rows}
    lines = []
    for item in items:
        row, system = rows[item[0]], item[1]
        case = case_of(row)
        texts = (case.instruction, case.input, case.reference, row[system])
        lines.append(dict(zip(COLUMNS, (codes[item], *map(guarded, texts), "", ""), strict=True)))
    return lines


def write_sheet(path: Path, lines: Sequence[Mapping[str, str]]) -> None:
    """Writes the sheet under a temporary name first. Raises AffinageError where people's work would be lost."""
    refuse_to_overwrite(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8-sig", newline="") as file:  # spreadsheets tell UTF-8 by its mark
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
    partial.replace(path)


def refuse_to_overwrite(path: Path) -> None:
    """Raises AffinageError for a sheet in which something was filled in, and for a file that is no empty sheet."""
    where, remedy = display(path), "Give the new sheet another name: SHEET=other.csv, or move the old one away."
    if path.suffix.lower() != ".csv":
        raise AffinageError(Problem(where, "the sheet is a CSV file.", "a name that ends in .csv"))
    if not path.exists():
        return
    try:
        filled = sum(bool((line.get("score", "") + line.get("comment", "")).strip()) for _, line in read_lines(path))
    except AffinageError as error:
        raise AffinageError(Problem(where, "is there already and is no sheet of this command.", "", remedy)) from error
    if filled:
        raise AffinageError(Problem(where, f"{filled} of its lines are filled in already.", "", remedy))


def read_lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The lines of a sheet with the numbers at which they begin, their cells unguarded; empty lines are left out.

    Separated by commas, semicolons or tabs, in whatever encoding a spreadsheet saved it. Raises AffinageError for a
    file that is no table or lacks a column.
    """
    encoding, _ = find_encoding(path)
    records = _records(path, encoding)
    _, header = next(records, (1, []))
    names = [cell.strip().casefold() for cell in header]
    missing = [name for name in NEEDED if name not in names]
    if missing:
        found = f"no column {' and no column '.join(missing)}."
        raise AffinageError(Problem(f"{display(path)}:1", found, ", ".join(COLUMNS), "Put the header back."))
    lines = []
    for number, cells in records:
        if any(cell.strip() for cell in cells):
            texts = [unguarded(cell) for cell in cells] + [""] * (len(names) - len(cells))
            lines.append((number, dict(zip(names, texts, strict=False))))
    return lines


def _records(path: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """The records with the lines on which they begin; a record goes on over lines while a quote is open."""
    lines = list(text_lines(path, encoding, newline=""))
    header = next((line for line in lines if line.strip()), "")
    reader = csv.reader(lines, delimiter=max(",;\t", key=header.count), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            yield start, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            found = f"no CSV from here on: {error}."
            raise AffinageError(Problem(f"{display(path)}:{start}", found, remedy=SAVE_AS_CSV)) from error
