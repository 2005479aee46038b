"""The prompt of a run as a card shows it: its template, rows that were really asked, and how answers were generated."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from affinage.publishing.card_results import Evaluation
from affinage.publishing.card_words import holds_private
from affinage.runs import Run

SYSTEMS = ("base", "tuned")
SAMPLES = 3
LONGEST = 1200  # characters of a text that is shown; a row with a longer one is passed over
NEUTRAL = {"num_beams": 1, "no_repeat_ngram_size": 0, "min_new_tokens": None, "length_penalty": 1.0}
SAMPLING = ("temperature", "top_k", "top_p")


@dataclass(frozen=True)
class Sample:
    """One row of the test split as it was asked; `answers` by system."""

    prompt: str
    reference: str
    answers: dict[str, str]


@dataclass(frozen=True)
class PromptFacts:
    """`template` is "" when the prompt is the one of `columns` alone; `line_ends` counts those at its end.

    `prompt` is what the snippets ask, `made_up` says that no row is known and that it stands for one. `settings` are
    those of the generation by their names in transformers.
    """

    template: str
    task: str
    columns: list[str]
    answer: str
    line_ends: int
    prompt: str
    made_up: bool
    settings: dict[str, Any]
    samples: list[Sample]


def prompt_facts(run: Run, config: Mapping[str, Any], evaluation: Evaluation) -> PromptFacts:
    """Reads template and settings from the resolved config and rows from the predictions."""
    section = config.get("prompt") or {}
    template, task = section.get("template") or "", section.get("task") or ""
    column = config["input_features"][0].get("column") or config["input_features"][0]["name"]
    samples = _spread(list(_samples(_predictions(run, evaluation))))
    prompt = samples[0].prompt if samples else _made_up(template, task, column)
    settings = generation_settings(evaluation.settings or config.get("generation") or {})
    ends = len(template) - len(template.rstrip("\n"))
    answer = config["output_features"][0].get("column") or config["output_features"][0]["name"]
    columns = [column] if not template else _columns(template)
    return PromptFacts(template, task, columns, answer, ends, prompt, not samples, settings, samples)


def _columns(template: str) -> list[str]:
    """The columns of the rows that a template names, each once; Ludwig's own fields stand between underlines."""
    fields = [name for _, name, _, _ in Formatter().parse(template) if name]
    return [name for name in dict.fromkeys(fields) if not name.startswith("__")]


def generation_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that must be named for the same answers elsewhere.

    A repetition penalty is always among them, because some base models bring one of their own.
    """
    settings = {"max_new_tokens": given.get("max_new_tokens") or 256, "do_sample": bool(given.get("do_sample"))}
    settings["repetition_penalty"] = float(given.get("repetition_penalty") or 1.0)
    settings |= {key: given[key] for key, usual in NEUTRAL.items() if given.get(key) not in (None, usual)}
    if settings["do_sample"]:
        settings |= {key: given[key] for key in SAMPLING if given.get(key) is not None}
    return settings


def _predictions(run: Run, evaluation: Evaluation) -> Path:
    return (evaluation.folder or run.folder) / "predictions.jsonl"


def _samples(path: Path) -> Iterator[Sample]:
    """The rows that can be shown: not too long, and without anything that points to a person or a machine."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    for line in lines:
        try:
            row = json.loads(line) if line.strip() else {}
        except ValueError:
            continue
        texts = {key: row[key] for key in ("prompt", "reference", *SYSTEMS) if isinstance(row.get(key), str)}
        if {"prompt", "reference", "tuned"} <= texts.keys() and all(len(text) <= LONGEST for text in texts.values()):
            answers = {system: texts[system] for system in SYSTEMS if system in texts}
            yield Sample(texts["prompt"], texts["reference"], answers)


def _spread(rows: list[Sample]) -> list[Sample]:
    """Rows from the beginning, the middle and the end, each the next one there that can be shown."""
    found: list[Sample] = []
    parts = [rows[i * len(rows) // SAMPLES : (i + 1) * len(rows) // SAMPLES] for i in range(SAMPLES)]
    for part in parts:
        shown = (row for row in part if not any(map(holds_private, (row.prompt, row.reference, *row.answers.values()))))
        found += [row for row in [next(shown, None)] if row]
    return found


def _made_up(template: str, task: str, column: str) -> str:
    """The template with words in the place of each column."""
    if not template:
        return f"the text of the column {column}"
    names = {name for _, name, _, _ in Formatter().parse(template) if name}
    values = {name: task if name == "__task__" else f"the text of the column {name.strip('_')}" for name in names}
    try:
        return template.format(**values)
    except (ValueError, KeyError, IndexError, AttributeError):  # a format for numbers, or a place in a list
        return template
