"""Every row with all its answers, as the data that the page's script reads."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from affinage.comparison.answers import RowKey
from affinage.comparison.judged import Said
from affinage.comparison.judges import JudgeColumn
from affinage.comparison.systems import System
from affinage.comparison.word_diff import word_diff
from affinage.metrics import normalise
from affinage.scoring.surface import chrf

MOST_CHARACTERS = 6000  # of one text: the whole of it stands in predictions.jsonl
MOST_ROWS = 20_000


def all_rows(systems: Sequence[System]) -> list[RowKey]:
    """The rows that some system answered: those of the first in its order, then what the others have besides."""
    return list(dict.fromkeys(row for system in systems for row in system.answers.rows))


def chosen_rows(rows: Sequence[RowKey], most: int = MOST_ROWS) -> list[RowKey]:
    """All rows up to `most`; beyond, `most` of them spread evenly."""
    if len(rows) <= most:
        return list(rows)
    return [rows[i * len(rows) // most] for i in range(most)]


def nearness(system: System) -> dict[RowKey, float]:
    """How near each answer is to its reference: 100 when it is the reference, else its chrF, which stays below 100."""
    rows = list(system.answers.rows)
    answers, references = system.column(rows)
    near = chrf(answers, references)[0].rows
    equal = [normalise(answer) == normalise(reference) for answer, reference in zip(answers, references, strict=True)]
    return {
        row: 100.0 if same else min(99.9, round(float(value), 1))
        for row, same, value in zip(rows, equal, near, strict=True)
    }


def page_data(
    rows: Sequence[RowKey],
    systems: Sequence[System],
    colours: Mapping[str, str],
    judges: Sequence[JudgeColumn] = (),
    progress: Callable[[int], Any] = lambda rows: None,
) -> dict[str, Any]:
    """{"systems", "judges", "rows"} for the page; `progress` is told of each row.

    An answer is null (that system did not answer the row) or {"s": how near it is to the reference, "d": its difference
    from the reference in pieces [-1 | 0 | 1, text], left out when there is none, "f": flags, "j": what judges said of
    it, each as [number of the judge, value, note, reason]}.
    """
    near = {system.key: nearness(system) for system in systems}
    names: dict[str, int] = {}
    listed = []
    for row in rows:
        names[row.id] = names.get(row.id, 0) + 1
        name = row.id if names[row.id] == 1 else f"{row.id} ({names[row.id]})"
        answers = [_answer(row, system, near[system.key].get(row), judges) for system in systems]
        listed.append(_question(row, name, systems) | {"answers": answers})
        progress(1)
    shown = [{"key": s.key, "name": s.name, "kind": s.kind, "colour": colours[s.key]} for s in systems]
    for system, entry in zip(systems, shown, strict=True):
        bases = (other.key for other in systems if other.kind == "base" and system.key in other.letters)
        entry["base"] = next(bases, "") if system.kind == "tuned" else ""
    said_by = [{"title": judge.title, "duel": judge.mode == "pairwise", "demo": judge.demo} for judge in judges]
    return {"systems": shown, "judges": said_by, "rows": listed}


def _question(row: RowKey, name: str, systems: Sequence[System]) -> dict[str, Any]:
    """What was asked and expected; the prompt where the data has neither instruction nor input."""
    record = next(system.answers.rows[row] for system in systems if row in system.answers.rows)
    texts = {"instruction": row.instruction, "input": row.input}
    if not any(texts.values()):
        texts = {"prompt": record.get("prompt", "")}
    texts |= {"label": record.get("label", "")}
    return {
        "id": name,
        **{key: shortened(text) for key, text in texts.items() if text},
        "reference": shortened(row.reference),
    }


def _answer(row: RowKey, system: System, near: float | None, judges: Sequence[JudgeColumn]) -> dict[str, Any] | None:
    if near is None:
        return None
    text, flags = system.text(row), _flags(system.answers.rows[row], system.kind)
    answer: dict[str, Any] = {"s": near}
    if text != row.reference:
        answer["d"] = word_diff(shortened(row.reference), shortened(text))
    verdicts = [(i, judge.said.get(system.key, {}).get(row)) for i, judge in enumerate(judges)]
    said = [_said(i, what) for i, what in verdicts if what is not None]
    return answer | ({"f": flags} if flags else {}) | ({"j": said} if said else {})


def _said(number: int, said: Said) -> list[Any]:
    return [number, said.value, said.note, shortened(said.reason)]


def _flags(record: dict[str, Any], kind: str) -> list[str]:
    """The flags of an answer; those of make train have none, but say why they stopped."""
    if f"{kind}_flags" in record:
        return record[f"{kind}_flags"]
    found = {"limit": record.get(f"{kind}_stop") == "length", "empty": not record[kind].strip()}
    return [name for name, raised in found.items() if raised]


def shortened(text: str) -> str:
    """The text, cut when it is too long for the page, with how much is missing."""
    more = len(text) - MOST_CHARACTERS
    return text if more <= 0 else f"{text[:MOST_CHARACTERS]} […{more:,} more characters in predictions.jsonl]"


def as_script(data: dict[str, Any]) -> Markup:
    """The data as JSON that can stand in a <script> element: nothing in it can end the element or open a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))
