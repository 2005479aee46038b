"""The section `judge` of metrics.json: what each judge said of these answers, read from the summaries on disk."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from affinage import data
from affinage.judging.folders import summaries
from affinage.scoring.score import write_metrics

VERSION = 1
METRICS = "metrics.json"
KEPT = (
    "mode judge judges rubrics weights n rows coverage min_coverage systems differences pairwise agreement stability "
    "predictions_sha256 warnings"
).split()
LEFT_OUT = ("histogram",)


def judge_section(predictions: Path) -> dict[str, Any]:
    """{"version", "results", "outdated"}: each judge's result by the name of its folder, without those of a demo.

    A result about other answers than these, made again since, is not in `results`: its name is in `outdated`.
    """
    sha256 = data.sha256(predictions)
    real = {folder.name: summary for folder, summary in summaries(predictions).items() if not summary["demo"]}
    fresh = {name: summary for name, summary in real.items() if summary.get("predictions_sha256") == sha256}
    results = {name: _brief(summary) for name, summary in fresh.items()}
    return {"version": VERSION, "results": results, "outdated": [name for name in real if name not in fresh]}


def with_judges(metrics: Mapping[str, Any], predictions: Path) -> dict[str, Any]:
    """The metrics with their section `judge`; without one where no judge, or only that of the demo, was asked."""
    section = judge_section(predictions)
    without = {key: value for key, value in metrics.items() if key != "judge"}
    return without | ({"judge": section} if section["results"] or section["outdated"] else {})


def record(predictions: Path, metrics: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Writes metrics.json beside the predictions: these metrics, or those there, with the judges' results.

    Gives what was written; {} when there is nothing to add them to yet: scoring adds them then. One process at a time
    reads and writes, so that scores and judges' results which end at once do not overwrite each other.
    """
    path = predictions.with_name(METRICS)
    with FileLock(path.with_name(f".{METRICS}.lock"), is_singleton=False):
        if metrics is None:
            if not path.is_file():
                return {}
            metrics = json.loads(path.read_text(encoding="utf-8"))
        written = with_judges(metrics, predictions)
        write_metrics(path, written)
    return written


def _brief(summary: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: summary[key] for key in KEPT if key in summary}
    if "systems" in found:
        found["systems"] = {
            system: {key: value for key, value in entry.items() if key not in LEFT_OUT}
            for system, entry in found["systems"].items()
        }
    if "controls" in summary:
        found["controls"] = {control["kind"]: control["passed"] for control in summary["controls"]}
    return found
