"""What an evaluation measured, as the lines of a card's tables and as the results of its metadata."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult

from affinage.comparison.verdicts import p_value
from affinage.runs import Run
from affinage.scoring import ALL_METRICS, HIGHER_IS_BETTER, is_significant
from affinage.scoring.tables import ARROWS, MAIN, name_of, shown

DASH = "–"
NOT_SIGNIFICANT = "not significant"
NAMES = {"base": "base model", "fewshot": "base model with examples", "tuned": "fine-tuned"}


class Difference(NamedTuple):
    """One metric of two systems on the same rows; `words` say what it means."""

    metric: str
    value: str
    better: str
    worse: str
    equal: str
    p: str
    words: str


@dataclass(frozen=True)
class Evaluation:
    """The newest scores of a run; without any, `metrics` is empty, `missing` says why and `remedy` is a command.

    `settings` are those of the generation by their names in transformers, `examples` how many the base model was shown.
    """

    suite: str = ""
    folder: Path | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    missing: str = ""
    remedy: str = ""
    others: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    examples: int = 0

    @property
    def systems(self) -> dict[str, dict[str, Any]]:
        """The entries of each system by metric, without values that are no numbers."""
        return {
            system: {name: entry for name, entry in entries.items() if is_number(entry.get("value"))}
            for system, entries in self.metrics.get("systems", {}).items()
        }

    @property
    def rows(self) -> str:
        """How many rows, and of how many."""
        n, of = self.metrics["n"], self.metrics.get("rows_in_split")
        return f"{n:,} rows" + (f" of {of:,}" if of not in (None, n) else "")

    @property
    def confidence(self) -> str:
        """The confidence of the intervals, such as "95 %"."""
        return f"{100 * self.metrics['settings']['confidence']:g} %"

    @property
    def not_numbers(self) -> list[str]:
        """The metrics that have no value for some system, though that system was measured."""
        entries = [item for system in self.metrics.get("systems", {}).values() for item in system.items()]
        return [
            name_of(name) for name in _ordered(name for name, entry in entries if not is_number(entry.get("value")))
        ]


def is_number(value: Any) -> bool:
    """Whether a value read from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def newest_evaluation(run: Run) -> Evaluation:
    """The scores that were written last, of whichever suite."""
    folders = sorted(path for path in (run.folder / "evaluation").glob("*") if path.is_dir())
    scored = sorted((path.stat().st_mtime_ns, path) for path in (run.folder / "evaluation").glob("*/metrics.json"))
    if not scored:
        return _none(run, folders)
    folder = scored[-1][1].parent
    metrics = read_json(folder / "metrics.json")
    if not _is_scores(metrics):
        missing = f"The scores of the suite {folder.name} cannot be read"
        return Evaluation(folder.name, missing=missing, remedy=f"make evaluate RUN={run.folder.name}")
    asked = read_json(folder / "generation.json")
    return Evaluation(
        folder.name,
        folder,
        metrics,
        others=tuple(path.parent.name for _, path in scored[:-1]),
        settings=asked.get("generation", {}),
        examples=asked.get("fewshot", {}).get("k", 0),
    )


def _none(run: Run, folders: list[Path]) -> Evaluation:
    name = run.folder.name
    if any((folder / "predictions.jsonl").exists() for folder in folders):
        return Evaluation(missing="Its answers are not scored", remedy=f"make score RUN={name}")
    missing = "Its evaluation was not finished" if folders else "It was not evaluated"
    return Evaluation(missing=missing, remedy=f"make evaluate RUN={name}")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; {} when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_scores(metrics: Mapping[str, Any]) -> bool:
    kinds = {"systems": dict, "settings": dict, "n": int, "split": str}
    return all(isinstance(metrics.get(key), kind) for key, kind in kinds.items()) and "tuned" in metrics["systems"]


def with_interval(metric: str, entry: Mapping[str, Any] | None, sign: bool = False) -> str:
    """A value with its interval in brackets; a dash for none."""
    if entry is None or not is_number(entry.get("value")):
        return DASH
    value, low, high = (entry.get(key) for key in ("value", "low", "high"))
    if not (is_number(low) and is_number(high)):
        return f"{shown(metric, value, sign)} (no interval)"
    return f"{shown(metric, value, sign)} ({shown(metric, low, sign)} to {shown(metric, high, sign)})"


def metric_lines(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """For each metric its name with the better direction, and a cell for each system."""
    systems = evaluation.systems
    return [
        (
            f"{name_of(name)} {ARROWS[HIGHER_IS_BETTER.get(name)]}".strip(),
            [with_interval(name, systems[system].get(name)) for system in systems],
        )
        for name in _ordered(name for entries in systems.values() for name in entries)
    ]


def _ordered(names: Iterable[str]) -> list[str]:
    """The metrics, each once, in the order in which Affinage shows them."""
    return sorted(
        set(names), key=lambda name: (ALL_METRICS.index(name) if name in ALL_METRICS else len(ALL_METRICS), name)
    )


def difference_lines(evaluation: Evaluation) -> dict[str, list[Difference]]:
    """The lines of the table of each pair that was compared, by "fine-tuned against base model"."""
    confidence = evaluation.metrics["settings"]["confidence"]
    return {
        " against ".join(NAMES.get(word, word) for word in pair.split(" - ")): [
            _difference(name, entries[name], confidence)
            for name in _ordered(entries)
            if is_number(entries[name]["value"])
        ]
        for pair, entries in evaluation.metrics.get("differences", {}).items()
    }


def _difference(metric: str, entry: Mapping[str, Any], confidence: float) -> Difference:
    better, worse, equal = (
        f"{n:,}" if is_number(n := entry.get(key)) else DASH for key in ("better", "worse", "equal")
    )
    p = DASH if entry.get("p") is None else p_value(entry["p"])
    value = with_interval(metric, entry, sign=True)
    return Difference(name_of(metric), value, better, worse, equal, p, _words(metric, entry, confidence))


def _words(metric: str, entry: Mapping[str, Any], confidence: float) -> str:
    higher = HIGHER_IS_BETTER.get(metric)
    if higher is None:
        return "neither direction is better"
    if not is_significant({"p": None, "low": None, **entry}, confidence):
        return NOT_SIGNIFICANT
    return "better" if (entry["value"] > 0) is higher else "worse"


def label_lines(evaluation: Evaluation) -> tuple[list[str], list[tuple[str, int, list[str]]]]:
    """The headings and lines of the table by label: two main metrics of every system; ([], []) without labels."""
    parts, systems = evaluation.metrics.get("by_label", {}), evaluation.systems
    chosen = [name for name in MAIN if all(name in entries for entries in systems.values())][:2]
    if not parts or not chosen:
        return [], []
    columns = [(metric, system) for metric in chosen for system in systems]
    headings = [f"{name_of(metric)}, {NAMES.get(system, system)}" for metric, system in columns]
    lines = [
        (label, part["n"], [with_interval(m, part["systems"].get(system, {}).get(m)) for m, system in columns])
        for label, part in parts.items()
    ]
    return headings, lines


def main_result(evaluation: Evaluation, whose: str) -> str:
    """The metric that counts most, in one sentence with n and intervals; "" without scores."""
    systems = evaluation.systems
    metric = next((name for name in MAIN if name in systems.get("tuned", {})), "")
    if not metric:
        return ""
    said = f"On {evaluation.rows} of the {evaluation.metrics['split']} split {whose} {name_of(metric)} is "
    said += _valued(metric, systems["tuned"][metric], evaluation.confidence)
    if metric not in systems.get("base", {}):
        return f"{said}; the base model was not measured."
    said += f", against {_valued(metric, systems['base'][metric], evaluation.confidence)} for the base model"
    entry = evaluation.metrics.get("differences", {}).get("tuned - base", {}).get(metric)
    if entry is None:
        return f"{said}."
    verdict = _words(metric, entry, evaluation.metrics["settings"]["confidence"])
    return (
        f"{said}; the difference is not significant."
        if verdict == NOT_SIGNIFICANT
        else f"{said}: significantly {verdict}."
    )


def _valued(metric: str, entry: Mapping[str, Any], confidence: str) -> str:
    if not is_number(entry.get("low")):
        return f"{shown(metric, entry['value'])} (no interval)"
    low, high = shown(metric, entry["low"]), shown(metric, entry["high"])
    return f"{shown(metric, entry['value'])} ({confidence} interval {low} to {high})"


def eval_results(evaluation: Evaluation, dataset: str, dataset_name: str) -> Iterator[EvalResult]:
    """The scores of the tuned model as the Hub's metadata; n and interval stand in the name of each metric."""
    tuned = evaluation.systems.get("tuned", {})
    for metric in _ordered(tuned):
        entry = tuned[metric]
        interval = "no interval"
        if is_number(entry.get("low")) and is_number(entry.get("high")):
            interval = (
                f"{evaluation.confidence} interval {shown(metric, entry['low'])} to {shown(metric, entry['high'])}"
            )
        yield EvalResult(
            task_type="text-generation",
            dataset_type=dataset,
            dataset_name=dataset_name,
            dataset_split=" ".join(evaluation.metrics["split"].split()),
            metric_type=metric,
            metric_value=round(float(entry["value"]), 6),
            metric_name=f"{name_of(metric)} (n = {evaluation.metrics['n']}, {interval})",
        )
