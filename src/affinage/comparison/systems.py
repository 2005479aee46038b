"""Who answered: the tuned model of each run, and the base models that runs share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affinage.comparison.answers import Answers, RowKey
from affinage.comparison.gather import Entry
from affinage.model_types import baseline_name

NAMED = 4  # runs that share a base model: more are counted


@dataclass(frozen=True)
class System:
    """One that answered rows. `kind` is "base", "fewshot" (the base model asked with examples) or "tuned".

    `key` is the letter of the run, or a word such as "base"; `letters` are those of the runs that answered with it, and
    `answers` are those of the first of them, of an evaluated one where there is any.
    """

    key: str
    name: str
    kind: str
    letters: tuple[str, ...]
    answers: Answers

    @property
    def metrics(self) -> dict[str, dict[str, float | None]]:
        """{"value", "low", "high"} by the metric's name, over all rows."""
        return self.answers.metrics.get("systems", {}).get(self.kind, {})

    def value(self, metric: str) -> float | None:
        """The score over all rows; None when it was not measured."""
        return self.metrics.get(metric, {}).get("value")

    def column(self, rows: Sequence[RowKey]) -> tuple[list[str], list[str]]:
        """The answers to these rows, and their references."""
        return [self.text(row) for row in rows], [row.reference for row in rows]

    def text(self, row: RowKey) -> str:
        """The answer to a row."""
        return self.answers.rows[row][self.kind]


def systems_of(entries: Iterable[Entry]) -> list[System]:
    """The base models first, then the tuned model of each run that answered.

    Runs share a base model when it gave both the same answer to the same rows: the same name alone is no proof, since
    4-bit weights, another prompt or another setting of the generation answer otherwise.
    """
    entries = [entry for entry in entries if entry.answers]
    shared = [system for kind in ("base", "fewshot") for system in _shared(entries, kind)]
    return [*shared, *(_tuned(entry, entry.answers) for entry in entries if entry.answers and _has(entry, "tuned"))]


def _has(entry: Entry, kind: str) -> bool:
    return entry.answers is not None and kind in entry.answers.predictions.systems


def _tuned(entry: Entry, answers: Answers) -> System:
    return System(entry.letter, entry.name, "tuned", (entry.letter,), answers)


def _shared(entries: Sequence[Entry], kind: str) -> list[System]:
    groups: list[list[Entry]] = []
    for entry in entries:
        if not _has(entry, kind):
            continue
        same = next((group for group in groups if _texts(group[0], kind) == _texts(entry, kind)), None)
        if same is None:
            groups.append([entry])
        else:
            same.append(entry)
    return [_base(group, kind, place if len(groups) > 1 else 0) for place, group in enumerate(groups, 1)]


def _texts(entry: Entry, kind: str) -> dict[RowKey, str]:
    return {row: record[kind] for row, record in entry.answers.rows.items()} if entry.answers else {}


def _base(group: list[Entry], kind: str, number: int) -> System:
    first = next((entry for entry in group if entry.answers and not entry.answers.by_train), group[0])
    assert first.answers is not None
    name = baseline_name(first.run.manifest) or base_name(first.run.manifest, first.config)
    name += _examples(first.answers, kind)
    letters = tuple(entry.letter for entry in group)
    word = {"base": "base", "fewshot": "few-shot"}[kind]
    return System(
        f"{word} {number}" if number else word,
        f"{name} ({', '.join(letters) if len(letters) <= NAMED else f'{len(letters)} runs'})" if number else name,
        kind,
        letters,
        first.answers,
    )


def base_name(manifest: dict[str, Any], config: dict[str, Any]) -> str:
    """The base model as people call it, with its bits when the config has any: "models/petit-llama, 4-bit"."""
    name = str(manifest.get("base_model", {}).get("id") or config.get("base_model") or "base model")
    name = Path(name).name if Path(name).is_absolute() else name  # what lies above it is the machine's own
    bits = (config.get("quantization") or {}).get("bits")
    return f"{name}, {bits}-bit" if bits else name


def _examples(answers: Answers, kind: str) -> str:
    if kind == "base":
        return ""
    k = answers.generation.get("fewshot", {}).get("k")
    return f", asked with {k} examples" if k else ", asked with examples"
