"""The sheet on which a person marks what a model did, and the precision that these marks let one estimate."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import binomtest

from affinage.curation.formats.encodings import find_encoding, text_lines
from affinage.curation.steps.asking import Decision
from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import display

COLUMNS = ("step", "id", "source", "text", "result", "correct", "comment", "key")
MARKS = {
    **dict.fromkeys(("yes", "y", "oui", "o", "1", "true", "vrai"), True),
    **dict.fromkeys(("no", "n", "non", "0", "false", "faux"), False),
}
LONGEST_CELL = 30_000  # characters; spreadsheets hold 32,767
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Precision:
    """Of `n` marked decisions, how many are `correct`, with the bounds of a 95 % Wilson interval (0..1)."""

    n: int
    correct: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.correct / self.n

    def __str__(self) -> str:
        return f"{self.value:.3f} (n={self.n}, 95 % interval {self.low:.3f} to {self.high:.3f})"

    def to_json(self) -> dict[str, float | int]:
        """The numbers for a manifest, rounded to 4 digits."""
        bounds = {"precision": self.value, "low": self.low, "high": self.high}
        return {"n": self.n, "correct": self.correct} | {name: round(value, 4) for name, value in bounds.items()}


@dataclass(frozen=True)
class Sheet:
    """A review sheet: its lines by key, as they were read."""

    path: Path
    lines: dict[str, dict[str, str]]

    @property
    def marked(self) -> dict[str, bool]:
        """The lines that a person has marked: correct or not, by key."""
        marks = {key: MARKS.get(line["correct"].strip().casefold()) for key, line in self.lines.items()}
        return {key: mark for key, mark in marks.items() if mark is not None}


def precision_of(correct: int, n: int) -> Precision:
    """The share of correct decisions and its Wilson score interval (Wilson 1927); n is at least 1."""
    interval = binomtest(correct, n).proportion_ci(CONFIDENCE, method="wilson")
    return Precision(n, correct, float(interval.low), float(interval.high))


def precisions(sheet: Sheet, current: Mapping[str, str]) -> tuple[dict[str, Precision], int]:
    """The precision of each step, and how many marks are left out because the prompt or the model has changed since.

    `current` holds for each step what the keys of its lines begin with now (see `key_start`).
    """
    counted: dict[str, list[bool]] = {}
    stale = 0
    for key, mark in sheet.marked.items():
        step = sheet.lines[key]["step"]
        if step in current and key.startswith(current[step]):
            counted.setdefault(step, []).append(mark)
        else:
            stale += 1
    return {step: precision_of(sum(marks), len(marks)) for step, marks in counted.items()}, stale


def key_start(prompt_sha256: str, digest: str) -> str:
    """What the keys of all decisions of one prompt and one model begin with."""
    return f"{prompt_sha256[:12]}-{digest[:12]}-"


def key_of(decision: Decision) -> str:
    """The key of a decision: it changes when the prompt, the model, the text or the result does."""
    told = "\0".join((decision.step, decision.id, decision.text, decision.result))
    return key_start(decision.prompt_sha256, decision.digest) + hashlib.sha256(told.encode()).hexdigest()[:12]


def read_sheet(path: Path) -> Sheet | None:
    """The sheet at a path, None when there is none; commas or semicolons, in whatever encoding it was saved.

    Raises AffinageError naming every line whose mark is not one, and columns that are missing.
    """
    if not path.exists():
        return None
    encoding, _ = find_encoding(path)
    text = "".join(text_lines(path, encoding))
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        remedy = "Move the file away; it is written again without marks."
        raise AffinageError(Problem(display(path), f"no column {', '.join(missing)}.", ", ".join(COLUMNS), remedy))
    lines, problems = {}, []
    for line in reader:
        cells = {name: line[name] or "" for name in COLUMNS}
        mark = cells["correct"].strip()
        if mark and mark.casefold() not in MARKS:
            allowed = "yes or no (oui or non, 1 or 0), or nothing"
            problems.append(Problem(f"{display(path)}:{reader.line_num}", f"'{mark}' in the column correct.", allowed))
        lines[cells["key"]] = cells
    raise_all(problems)
    return Sheet(path, lines)


def write_sheet(path: Path, decisions: Sequence[Decision], before: Sheet | None) -> Path | None:
    """Writes a line for each decision, with the marks that `before` has for the same one.

    When it has marks for others, the old sheet is kept under another name, which is returned.
    """
    lines = {key_of(decision): _line(decision) for decision in decisions}
    set_aside = None
    for key, line in before.lines.items() if before else ():
        if key in lines:
            lines[key] |= {name: line[name] for name in ("correct", "comment")}
    if before and set(before.marked) - set(lines):
        numbers = (n for n in range(1, 10_000) if not path.with_stem(f"{path.stem}-{n}").exists())
        set_aside = path.with_stem(f"{path.stem}-{next(numbers)}")
        path.rename(set_aside)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8-sig", newline="") as file:  # spreadsheets tell UTF-8 by its mark
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(line | {"key": key} for key, line in lines.items())
    partial.replace(path)
    return set_aside


def _line(decision: Decision) -> dict[str, str]:
    texts = {name: _cell(getattr(decision, name)) for name in ("step", "id", "source", "text", "result")}
    return texts | {"correct": "", "comment": ""}


def _cell(text: str) -> str:
    """The text as a spreadsheet shows it without taking it for a formula."""
    text = text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…"
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
