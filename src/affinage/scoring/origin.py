"""Where predictions come from: the split, the data and the run; and what about them makes a score doubtful."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from affinage import data
from affinage.errors import AffinageError, Problem
from affinage.model_types import baseline_name
from affinage.paths import ROOT, display
from affinage.runs import Run
from affinage.scoring.predictions_file import REMEDY, Predictions

ASKED = ("generation", "fewshot", "model", "base_model")
ABOVE = 4  # <run>/evaluation/<suite>/predictions.jsonl lies three folders below results/<task>/<config>


@dataclass(frozen=True)
class Origin:
    """The split and how many rows it has, None when nothing says; the hash of its file; how answers were asked for."""

    split: str = "test"
    rows_in_split: int | None = None
    data_sha256: str | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def origin_of(predictions: Predictions) -> Origin:
    """What generation.json beside the predictions, the run above them and the data on disk say.

    Raises AffinageError when a reference is not that of the data, although the data has not changed.
    """
    run = enclosing_run(predictions.path)
    generation = _generation(predictions.path.with_name("generation.json"))
    described = generation.get("data") or (run.manifest.get("data") if run else None) or {}
    split = str(generation.get("split", "test"))
    rows_in_split = generation.get("rows_in_split", described.get("rows", {}).get(split))
    changed, files = _data_now(described, run)
    warnings = [*_row_warnings(len(predictions), split, rows_in_split), *_run_warnings(run), *changed]
    if run and files and not changed:
        warnings += _check_against_data(predictions, split, run, _file_of(split, files))
    if not generation and not run:
        warnings.append("no generation.json beside the predictions: nothing says how many rows the split has.")
    asked = {name: value for name, value in generation.items() if name in ASKED}
    return Origin(split, rows_in_split, _hash_of(split, described), asked, warnings)


def enclosing_run(path: Path) -> Run | None:
    """The run in whose folder a file lies."""
    for folder in path.resolve().parents[:ABOVE]:
        manifest = folder / "run.json"
        if manifest.is_file():
            return Run(folder, _json(manifest))
    return None


def _generation(path: Path) -> dict[str, Any]:
    return _json(path) if path.is_file() else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AffinageError(Problem(display(path), f"cannot be read as JSON: {error}.", remedy=REMEDY)) from error
    if not isinstance(content, dict):
        raise AffinageError(Problem(display(path), "holds no object with keys.", remedy=REMEDY))
    return content


def _row_warnings(n: int, split: str, rows_in_split: int | None) -> Iterator[str]:
    if rows_in_split is not None and n != rows_in_split:
        kind = "only " if n < rows_in_split else ""
        yield f"{kind}{n} of the {rows_in_split} rows of the {split} split have predictions."


def _run_warnings(run: Run | None) -> Iterator[str]:
    if run and run.status != "finished":
        yield f"the run {run.folder.name} is not finished (status: {run.status}), so its model may be half trained."
    if run and (name := baseline_name(run.manifest)):
        yield f"base is no model here: it answers {name}, the most frequent label of the training rows."


def _file_of(split: str, files: list[Path]) -> Path:
    return next((path for path in files if path.stem == split), files[0])


def _hash_of(split: str, described: dict[str, Any]) -> str | None:
    """The SHA-256 of the file that holds the split; None where no file does."""
    hashes = {Path(file["name"]).stem: file["sha256"] for file in described.get("files", [])}
    return hashes.get(split, next(iter(hashes.values()), None) if len(hashes) == 1 else None)


def _data_now(described: dict[str, Any], run: Run | None) -> tuple[list[str], list[Path]]:
    """A warning when the files of the data are not those of then, and the files now."""
    dataset, task = str(described.get("dataset", "")), run.manifest["task"] if run else ""
    if not described.get("files") or dataset.startswith(data.LUDWIG) or not (dataset or task):
        return [], []
    try:
        files = data.dataset_files(task, str(ROOT / dataset) if dataset else "")
    except AffinageError as error:
        return [f"the data of these predictions is gone: {error}"], []
    before = {file["name"]: file["sha256"] for file in described["files"]}
    now = {path.name: data.sha256(path) for path in files}
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if not changed:
        return [], files
    return [f"the data has changed since these predictions were made: {', '.join(changed)}."], files


def _check_against_data(predictions: Predictions, split: str, run: Run, path: Path) -> list[str]:
    """A warning for ids that the data does not have; a row without one is called after its split and place."""
    rows = data.read_rows(path)
    config = yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))
    feature = config["output_features"][0]
    answer = feature.get("column") or feature["name"]
    if "id" not in rows or answer not in rows:
        return []
    known = dict(zip(rows["id"].astype(str), rows[answer].astype(str), strict=True))
    wrong = [i for i, row in enumerate(predictions.rows) if known.get(row["id"], row["reference"]) != row["reference"]]
    if wrong:
        row = predictions.rows[wrong[0]]
        found = f"{len(wrong)} references differ from the answers in {display(path)}, such as that of '{row['id']}'."
        raise AffinageError(Problem(predictions.where(wrong[0]), found, known[row["id"]], REMEDY))
    strange = [
        row["id"] for row in predictions.rows if row["id"] not in known and not row["id"].startswith(f"{split}-")
    ]
    return [f"{len(strange)} ids are in no row of {display(path)}, such as '{strange[0]}'."] if strange else []
