"""Rows from records with one column for the question and one for the answer, whatever these are called."""

import difflib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from affinage.curation.formats.records import Place
from affinage.curation.rows import TEXTS, Row
from affinage.errors import Problem, raise_all

# English and French names, without accents and capitals; our own names come first and win over the others.
ALIASES = {
    "instruction": "instruction consigne question prompt query requete demande".split(),
    "input": "input entree context contexte".split(),
    "output": "output sortie answer reponse response completion".split(),
    "id": "id identifiant".split(),
    "group": "group groupe conversation_id document_id thread_id".split(),
    "label": "label etiquette category categorie classe".split(),
}
NEEDED = ("instruction", "output")
ALPACA = {"instruction": "instruction", "input": "input", "output": "output"}
DOLLY = {"instruction": "instruction", "input": "context", "output": "response", "label": "category"}
NAME_THEM = 'Name them, such as COLUMNS="instruction=question output=réponse".'


def plan_columns(
    where: str, available: Sequence[str], given: Mapping[str, str], known: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Which column each part of a row comes from, and a sentence for each that was guessed.

    `given` wins over `known`, the columns of a format, and `known` over guesses from the names. Raises AffinageError
    when a given column is not there, when nothing fits, or when two columns fit equally well.
    """
    raise_all(_wrong_names(where, available, given))
    if known:
        return _with_own_names(dict(known) | dict(given)), []
    chosen, notes = dict(given), []
    problems: list[Problem | str] = []
    lacking = []
    for part in [part for part in ALIASES if part not in given]:
        fitting = _fitting(part, [name for name in available if name not in given.values()])
        if len(fitting) > 1:
            found = f"{part} can be {' or '.join(repr(name) for name in fitting)}."
            problems.append(Problem(where, found, remedy=f'Name one, such as COLUMNS="{part}={fitting[0]}".'))
        elif fitting:
            chosen[part] = fitting[0]
            if fitting[0] != part:
                notes.append(f"column '{fitting[0]}' is read as {part}, guessed from its name")
        elif part in NEEDED:
            lacking.append(part)
    if lacking:
        problems.append(_no_column(where, lacking, available))
    raise_all(problems)
    return _with_own_names(chosen), notes


def _fitting(part: str, available: Sequence[str]) -> list[str]:
    """The columns that may be this part of a row; only the one with our own name, when there is one."""
    return [part] if part in available else [name for name in available if _plain(name) in ALIASES[part]]


def _with_own_names(chosen: dict[str, str]) -> dict[str, str]:
    """The columns, and our own names for the other parts: the first records may lack what later ones have."""
    taken = set(chosen.values())
    return {part: part for part in ALIASES if part not in chosen and part not in taken} | chosen


def _no_column(where: str, lacking: list[str], available: Sequence[str]) -> Problem:
    known = "; ".join(f"{part}: {', '.join(ALIASES[part])}" for part in lacking)
    columns = ", ".join(f"'{name}'" if len(name) < 60 else f"'{name[:59]}…'" for name in available) or "none"
    found = f"no column for {' and '.join(lacking)}. The columns are {columns}."
    return Problem(where, found, f"names such as {known}", NAME_THEM)


def _wrong_names(where: str, available: Sequence[str], given: Mapping[str, str]) -> Iterator[Problem]:
    for part, column in given.items():
        if column not in available:
            yield Problem(where, f"no column '{column}'.", ", ".join(available), "Correct COLUMNS=.")
        close = difflib.get_close_matches(part, ALIASES, n=1, cutoff=0.75)
        if part not in ALIASES and close:
            yield Problem(f"COLUMNS {part}={column}", f"did you mean '{close[0]}'?", ", ".join(ALIASES))


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.strip().casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).replace(" ", "_")


def column_rows(columns: Mapping[str, str], record: dict[str, Any], place: Place) -> Iterator[Row]:
    """The row of one record; columns that are no part of it are kept under their own names."""
    absent = [column for part in NEEDED if (column := columns[part]) not in record]
    if absent and any(record.values()):
        place.drop(f"no '{absent[0]}'")
        return
    parts = {part: record.get(column) for part, column in columns.items()}
    used = set(columns.values())
    others = {part: value for part, value in parts.items() if part not in ALIASES}
    others |= {name: value for name, value in record.items() if name not in used}
    texts = {part: parts.get(part) for part in TEXTS}
    row = place.row(texts, parts.get("id"), parts.get("group"), parts.get("label"), others)
    if row:
        yield row
