"""What else differs between runs than their training, and so what their scores cannot be compared on."""

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from affinage.comparison.costs import hardware
from affinage.comparison.gather import Entry

SHOWN = 12  # digits of a hash
# The settings of transformers that change an answer, with their defaults.
GENERATION = {
    "max_new_tokens": None,
    "min_new_tokens": None,
    "do_sample": False,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "length_penalty": 1.0,
}
SAMPLING = ("temperature", "top_k", "top_p")
MEASURING = ("exact_match", "rouge", "chrf", "bleu", "classification", "extraction")

Fact = Callable[[Entry], Any]


class Difference(NamedTuple):
    """Something that is not the same for all runs: what each has, by letter, and what follows for the reader."""

    what: str
    values: dict[str, str]
    meaning: str


def obstacles(entries: Iterable[Entry]) -> list[Difference]:
    """What keeps the scores of runs from being compared; empty when only their training differs.

    A run that does not say what it used, or answered nothing, is left out of the fact in question.
    """
    return _differences([entry for entry in entries if entry.answers], OBSTACLES)


def surroundings(entries: Iterable[Entry]) -> list[Difference]:
    """Differences of versions and hardware: they can move a score a little, and times and memory a lot."""
    return _differences(list(entries), SURROUNDINGS)


def _differences(entries: list[Entry], facts: dict[str, tuple[Fact, str]]) -> list[Difference]:
    found = []
    for what, (fact, meaning) in facts.items():
        known = {entry.letter: value for entry in entries if (value := fact(entry)) not in (None, "", [], {})}
        if len({_canonical(value) for value in known.values()}) > 1:
            found.append(Difference(what, {letter: _text(value) for letter, value in known.items()}, meaning))
    return found


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}".strip() for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    text = str(value)
    return text[:SHOWN] if len(text) in (40, 64) and set(text) <= set("0123456789abcdef") else text


def _of_answers(entry: Entry, *names: str) -> Any:
    """The first of these keys that metrics.json or generation.json has."""
    if entry.answers is None:
        return None
    for name in names:
        for content in (entry.answers.metrics, entry.answers.generation):
            if content.get(name) is not None:
                return content[name]
    return None


def _data(entry: Entry) -> Any:
    described = _of_answers(entry, "data") or entry.run.manifest.get("data", {})
    files = {file["name"]: file["sha256"] for file in described.get("files", [])}
    return files or described.get("dataset")


def _test_rows(entry: Entry) -> str | None:
    """How many rows were answered, and a fingerprint of their ids, questions and references."""
    if entry.answers is None:
        return None
    digest = hashlib.sha256(_canonical(sorted(entry.answers.rows)).encode()).hexdigest()
    return f"{len(entry.answers.rows)} rows, fingerprint {digest[:8]}"


def _base_model(entry: Entry) -> Any:
    base = entry.run.manifest.get("base_model") or {}
    weights = {name: digest for name, digest in base.get("files", {}).items() if not name.endswith(".json")}
    revision = {"revision": base["revision"]} if base.get("revision") else {}
    return {"": base["id"], **weights, **revision} if base else None


def _generation(entry: Entry) -> Any:
    """How answers were generated: as the evaluation says, or as the config does for the answers of make train.

    Only what differs from transformers' defaults, and of sampling only when there is any.
    """
    if entry.answers is None:
        return None
    asked = entry.answers.generation.get("generation") or entry.config.get("generation") or {}
    names = (
        GENERATION
        if asked.get("do_sample")
        else {name: GENERATION[name] for name in GENERATION if name not in SAMPLING}
    )
    return {name: value for name, usual in names.items() if (value := asked.get(name)) not in (None, usual)}


def _settings(entry: Entry) -> Any:
    settings = _of_answers(entry, "settings") or {}
    return {name: settings[name] for name in MEASURING if name in settings}


def _examples(entry: Entry) -> Any:
    """How many solved rows the base model was shown, and which; nothing without such answers."""
    if entry.answers is None or "fewshot" not in entry.answers.predictions.systems:
        return None
    fewshot = entry.answers.generation.get("fewshot") or {}
    return f"{fewshot.get('k', '?')} examples: {', '.join(map(str, fewshot.get('ids', [])))}"


def _suite(entry: Entry) -> str | None:
    return entry.answers.suite.name if entry.answers and not entry.answers.by_train else None


def _around(*names: str) -> Fact:
    return lambda entry: {
        name: value for name in names if (value := entry.run.manifest.get("environment", {}).get(name)) is not None
    }


def _commit(entry: Entry) -> Any:
    git = entry.run.manifest.get("environment", {}).get("git") or {}
    return f"{(git.get('commit') or '')[:SHOWN]}{' with changes' if git.get('dirty') else ''}"


def _package(name: str) -> Fact:
    return lambda entry: entry.run.manifest.get("environment", {}).get("packages", {}).get(name)


OBSTACLES: dict[str, tuple[Fact, str]] = {
    "test rows": (_test_rows, "The scores are of different rows; only the rows that all have can be compared."),
    "rows in the split": (lambda e: _of_answers(e, "rows_in_split"), "The test splits do not have the same size."),
    "split": (lambda e: _of_answers(e, "split"), "The scores are of different splits."),
    "data": (_data, "The files differ: training rows, test rows or both may be others."),
    "base model": (_base_model, "A difference can come from the base model as well as from the training."),
    "prompt template": (lambda e: (e.config.get("prompt") or {}).get("template"), "The models were asked otherwise."),
    "suite": (_suite, "The answers were asked for and scored by other rules."),
    "generation": (_generation, "The answers were generated with other settings."),
    "few-shot examples": (_examples, "The base model was shown other examples."),
    "metric settings": (_settings, "The same metric is computed in different ways."),
}
SURROUNDINGS: dict[str, tuple[Fact, str]] = {
    "hardware": (lambda entry: hardware(entry.run.manifest), "Times and memory cannot be compared."),
    "commit": (_commit, "The code of the project was not the same."),
    "python": (_around("python"), "Numbers can differ a little."),
    "system": (_around("platform"), "Times can differ a little."),
    **{
        name: (_package(name), "Numbers can differ a little.")
        for name in ("torch", "transformers", "peft", "bitsandbytes", "ludwig", "tokenizers")
    },
    "locked packages": (_around("lock_sha256"), "The installed packages are not the same."),
    "seed": (lambda entry: entry.run.manifest.get("seed"), "Another order of the rows and another start."),
}
