"""Answers that are JSON objects: whether they are valid, and the F1 of their fields."""

import json
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import regex

from affinage.errors import AffinageError, Problem
from affinage.metrics import normalise
from affinage.scoring.measures import Array, Measure, mean_of, ratio
from affinage.scoring.suite import Extraction

_FENCE = regex.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", regex.DOTALL | regex.IGNORECASE)


def read_object(text: str, strip_fence: bool = False) -> dict[str, Any] | None:
    """The JSON object that a text is, None when it is none; `strip_fence` takes ``` lines around it away first."""
    if strip_fence and (fenced := _FENCE.fullmatch(text)):
        text = fenced[1]
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def reference_objects(references: Sequence[str], where: Callable[[int], str]) -> list[dict[str, Any]]:
    """The object of each reference. Raises AffinageError when one is none; `where` names the place of a row."""
    found = [read_object(text) for text in references]
    broken = [i for i, value in enumerate(found) if value is None]
    if broken:
        text = f"{len(broken)} references are no JSON object, such as {references[broken[0]][:60]!r}."
        raise AffinageError(
            Problem(where(broken[0]), text, "one object with fields", "Mend the data, or drop 'extraction'.")
        )
    return [value for value in found if value is not None]


def extraction(
    answers: Sequence[str], references: Sequence[dict[str, Any]], options: Extraction
) -> tuple[dict[str, Measure], dict[str, dict[str, float | None]]]:
    """JSON validity and field F1, in 0..1, and precision, recall, F1 and support of each field.

    Field F1 is micro-averaged: 2 * right / (wanted + found) over the values of all fields and rows. A value is right
    when the reference has it in the same field; texts are compared in NFC without case and runs of white space, numbers
    as numbers, lists as bags of values. Null, "" and [] are no value. An invalid answer has no values.
    """
    objects = [read_object(answer, options.strip_fence) for answer in answers]
    counts = np.zeros((len(answers), len(options.fields), 3))  # right, found, wanted
    for i, (found, wanted) in enumerate(zip(objects, references, strict=True)):
        for j, field in enumerate(options.fields):
            counts[i, j] = _matches(_values(found or {}, field), _values(wanted, field))
    sums = np.stack([2 * counts[..., 0].sum(axis=1), counts[..., 1:].sum(axis=(1, 2))], axis=1)
    measures = {
        "json_valid": mean_of([value is not None for value in objects]),
        "field_f1": Measure(sums, ratio, ratio(sums)),
    }
    return measures, {name: _field(counts[:, j].sum(axis=0)) for j, name in enumerate(options.fields)}


def _field(total: Array) -> dict[str, float | None]:
    right, found, wanted = map(float, total)
    return {
        "precision": right / found if found else None,
        "recall": right / wanted if wanted else None,
        "f1": 2 * right / (found + wanted) if found + wanted else None,
        "support": wanted,
    }


def _matches(found: Counter[Hashable], wanted: Counter[Hashable]) -> tuple[int, int, int]:
    return (found & wanted).total(), found.total(), wanted.total()


def _values(record: Any, field: str) -> Counter[Hashable]:
    """The values of one field; "a.b" is looked for inside "a" unless a key is called "a.b"."""
    if isinstance(record, dict) and field not in record:
        for part in field.split("."):
            record = record.get(part) if isinstance(record, dict) else None
    else:
        record = record[field]
    values = map(_comparable, record if isinstance(record, list) else [record])
    return Counter(value for value in values if value not in (None, "", "[]", "{}"))


def _comparable(value: Any) -> Hashable:
    if isinstance(value, str):
        return normalise(value).casefold()
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list | dict):
        return json.dumps(value, sort_keys=True, ensure_ascii=False).casefold()
    return value
