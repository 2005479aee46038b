"""Where a judge's work stands: judge/<mode>-<judge>/ beside the predictions, for some of the rows in one of its own."""

import json
import re
from pathlib import Path
from typing import Any

from affinage.errors import AffinageError, Problem
from affinage.paths import display

JUDGE = "judge"
ANSWERS = "answers.jsonl"  # the cache: rows that were judged for a part are not asked about again for the whole
VERDICTS, SUMMARY = "verdicts.jsonl", "summary.json"


def folder_of(predictions: Path, mode: str, judge: str, rows: int | None = None) -> Path:
    """<folder of the predictions>/judge/<mode>-<judge>, the judge's name as one part of a path.

    With `rows` the folder of so many of the rows, so that a part never takes the place of the whole.
    """
    name = f"{mode}-{re.sub(r'[^\w.-]+', '-', judge)}"
    return predictions.parent / JUDGE / (name if rows is None else f"{name}-{rows}-rows")


def summaries(predictions: Path) -> dict[Path, dict[str, Any]]:
    """The summary in each complete folder, in the order of the names. Raises AffinageError for one that is broken."""
    return {path.parent: _read(path) for path in sorted((predictions.parent / JUDGE).glob(f"*/{SUMMARY}"))}


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        remedy = "Run make judge again: what was answered is kept."
        raise AffinageError(Problem(display(path), f"cannot be read: {error}.", "JSON", remedy)) from error
