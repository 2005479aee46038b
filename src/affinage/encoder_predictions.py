"""The labels that the encoder of a run answers to every row of a split, in the form of other models' answers."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from ludwig.api import LudwigModel

from affinage.encoder_runs import base_model, label_records
from affinage.errors import AffinageError, Problem
from affinage.runs import Run, write_json, write_jsonl


@dataclass(frozen=True)
class EncoderSubject:
    """An encoder with its head, its rows by split, and the label that stands for its base model."""

    name: str
    task: str
    ludwig: Any
    splits: dict[str, pd.DataFrame]
    data: dict[str, Any]
    folder: Path
    baseline: str


def load(run: Run, splits: dict[str, pd.DataFrame], described: dict[str, Any]) -> EncoderSubject:
    """The model that a run left behind, as Ludwig loads it."""
    ludwig = LudwigModel.load(str(run.model_folder), backend="local")
    baseline = run.manifest["baseline"]["label"]
    return EncoderSubject(run.folder.name, run.manifest["task"], ludwig, splits, described, run.folder, baseline)


def predict(
    subject: EncoderSubject, rows: pd.DataFrame, request: Any, folder: Path, progress: Callable[[int, int], Any]
) -> Path:
    """Writes predictions.jsonl and generation.json to `folder`; returns the path of the first.

    One line per row: the text as `prompt`, the reference, as `base` the most frequent label of the training rows, and
    as `tuned` the label with the highest probability. Raises AffinageError when examples are to be shown, which an
    encoder does not read.
    """
    if request.fewshot:
        raise AffinageError(Problem("FEWSHOT", "an encoder reads no examples.", "0", "Leave it out."))
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    progress(0, len(rows))
    records = label_records(subject.ludwig, rows, subject.baseline, request.batch_size)
    named = [record | _as_evaluated(record, request.split, place) for place, record in enumerate(records)]
    write_jsonl(folder / "predictions.jsonl", named)
    progress(len(rows), len(rows))
    description = {
        "version": 1,
        "model": subject.name,
        "base_model": base_model(subject.ludwig.config_obj),
        "baseline": subject.baseline,
        "split": request.split,
        "rows_in_split": len(rows),
        "data": subject.data,
        "batch_size": request.batch_size,
        "fewshot": {"k": 0, "seed": request.seed, "ids": []},
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(folder / "generation.json", description)
    return folder / "predictions.jsonl"


def _as_evaluated(record: dict[str, Any], split: str, place: int) -> dict[str, Any]:
    given: dict[str, Any] = {
        key: str(record[key]) for key in ("label", "group", "instruction", "input") if key in record
    }
    name = str(record["id"]) if record.get("id", "") != "" else f"{split}-{place}"
    return {"id": name, **given, "base_flags": [], "tuned_flags": []}
