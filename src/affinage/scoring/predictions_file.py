"""Reads predictions.jsonl and refuses what cannot be scored: every problem at once, with the numbers of its lines."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import display
from affinage.runs import Run

PREDICTIONS = "predictions.jsonl"
SYSTEMS = ("base", "fewshot", "tuned")
STOPS = ("end", "length")
REMEDY = "Make them again with make evaluate."
SHOWN = 5  # line numbers in a message


@dataclass(frozen=True)
class Predictions:
    """The rows of one file in order, one object each, the systems that answered them, and the line of each row."""

    path: Path
    rows: list[dict[str, Any]]
    systems: tuple[str, ...]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[Any]:
        """One column of every row; a row has all columns or none."""
        return [row[name] for row in self.rows]

    def has(self, name: str) -> bool:
        """Whether the rows have this column."""
        return name in self.rows[0]

    def where(self, row: int) -> str:
        """The file and the line of a row, for messages."""
        return f"{display(self.path)}:{self.lines[row]}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return f"is {_shown(value)}, no text"
    return "" if value.isascii() or _encodes(value) else "holds half a character (a lone surrogate)"


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _identity(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return ""
    return _text(value) or ("" if value.strip() else "is empty")


def _stop(value: Any) -> str:
    return "" if value in STOPS else f"is {_shown(value)}, neither 'end' nor 'length'"


def _flags(value: Any) -> str:
    fits = isinstance(value, list) and all(isinstance(flag, str) for flag in value)
    return "" if fits else f"is {_shown(value)}, no list of texts"


def _nll(value: Any) -> str:
    if value is None:  # prompt and reference exceed the context of the model
        return ""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "" if number and math.isfinite(value) and value >= 0 else f"is {_shown(value)}, no number of 0 or more"


def _count(least: int) -> Callable[[Any], str]:
    def fault(value: Any) -> str:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if whole and value >= least else f"is {_shown(value)}, no whole number of {least} or more"

    return fault


NEEDED = {"id": _identity, "reference": _text}
OPTIONAL: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("label", "group", "instruction", "input", "prompt", *SYSTEMS), _text),
    **{f"{system}_stop": _stop for system in SYSTEMS},
    **{f"{system}_flags": _flags for system in SYSTEMS},
    **{f"{system}_tokens": _count(0) for system in SYSTEMS},
    **{f"{system}_nll": _nll for system in SYSTEMS},
    "reference_tokens": _count(1),
    "reference_bytes": _count(0),
}


@dataclass
class _Faults:
    """What is wrong, and on which lines."""

    path: Path
    lines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, found: str, line: int) -> None:
        self.lines.setdefault(found, []).append(line)

    def problems(self) -> Iterator[Problem]:
        for found, lines in sorted(self.lines.items(), key=lambda item: item[1][0]):
            others = ""
            if len(lines) > 1:
                shown = ", ".join(map(str, lines[1:SHOWN]))
                more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
                others = f" The same on line{'s' if len(lines) > 2 else ''} {shown}{more}."
            yield Problem(f"{display(self.path)}:{lines[0]}", f"{found}.{others}", remedy=REMEDY)


def predictions_of(run: Run, suite: str) -> Path:
    """The predictions of a run for one suite. Raises AffinageError when there are none."""
    path = run.folder / "evaluation" / suite / PREDICTIONS
    if not path.is_file():
        found = sorted(file.parent.name for file in run.folder.glob(f"evaluation/*/{PREDICTIONS}"))
        remedy = f"Make them with make evaluate RUN={run.folder.name}"
        others = f", or choose another suite: {', '.join(found)}." if found else "."
        raise AffinageError(Problem(display(path), "no predictions there yet.", remedy=remedy + others))
    return path


def read_predictions(path: Path) -> Predictions:
    """The predictions of one file. Raises AffinageError with all that makes it impossible to score."""
    faults = _Faults(path)
    numbered = dict(_objects(_lines(path), faults))
    columns = {name for row in numbered.values() for name in row}
    systems = tuple(system for system in SYSTEMS if system in columns)
    for line, row in numbered.items():
        _check_row(row, columns, faults, line)
    _check_ids(numbered, faults)
    problems = list(faults.problems())
    if not numbered and not problems:
        problems.append(Problem(display(path), "holds no row.", remedy=REMEDY))
    if numbered and not systems:
        problems.append(Problem(display(path), "no system's answers.", f"a column {' or '.join(SYSTEMS)}", REMEDY))
    raise_all(problems)
    rows = [{**row, "id": str(row["id"])} for row in numbered.values()]
    return Predictions(path, rows, systems, list(numbered))


def _lines(path: Path) -> list[str]:
    where = display(path)
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode().split("\n")
    except FileNotFoundError as error:
        raise AffinageError(Problem(where, "no such file.", remedy="Make it with make evaluate.")) from error
    except OSError as error:
        raise AffinageError(Problem(where, f"cannot be read: {error.strerror}.", "a file of JSON lines")) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise AffinageError(Problem(f"{where}:{line}", f"not UTF-8: {error.reason}.", remedy=REMEDY)) from error


def _objects(lines: list[str], faults: _Faults) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and object of every line that holds one."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_constant=_no_number, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            cut = number == len(lines) and isinstance(error, json.JSONDecodeError)
            reason = error.msg if isinstance(error, json.JSONDecodeError) else error
            faults.add("half-written, as if the writing was stopped" if cut else f"no JSON: {reason}", number)
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            faults.add(f"holds {_shown(value)}, no object with columns", number)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the column '{next(n for n in names if names.count(n) > 1)}' stands there twice")
    return content


def _check_row(row: dict[str, Any], columns: set[str], faults: _Faults, line: int) -> None:
    for name in (*NEEDED, *OPTIONAL):
        if name in row:
            fault = (NEEDED.get(name) or OPTIONAL[name])(row[name])
            if fault:
                faults.add(f"the column '{name}' {fault}", line)
        elif name in columns or name in NEEDED:
            others = ", which other lines have" if name in columns else ""
            faults.add(f"no column '{name}'{others}", line)
    stated, reference = row.get("reference_bytes"), row.get("reference")
    if isinstance(reference, str) and _encodes(reference) and not (stated is None or _count(0)(stated)):
        actual = len(reference.encode())
        if stated != actual:
            faults.add(f"reference_bytes is {stated}, and the reference has {actual} bytes", line)


def _check_ids(numbered: dict[int, dict[str, Any]], faults: _Faults) -> None:
    first: dict[str, int] = {}
    for line, row in numbered.items():
        if "id" not in row or _identity(row["id"]):
            continue
        earlier = first.setdefault(str(row["id"]), line)
        if earlier != line:
            other = row.get("reference") != numbered[earlier].get("reference")
            with_what = " with another reference" if other else ""
            faults.add(f"the id '{row['id']}' stood on line {earlier} before{with_what}", line)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 40 else text[:39] + "…"
