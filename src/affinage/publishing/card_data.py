"""Where the rows of a run came from, from its manifest and from the manifest and card of its dataset."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import DatasetCard

from affinage import data
from affinage.curation.card import read_manifest
from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.runs import Run

UNKNOWN = "no manifest.json came with these rows, so how they were made is not known here"
CHANGED = "the files there are no longer those of the run, so what their card and manifest say is left out"


@dataclass(frozen=True)
class Silver:
    """What a language model did to the rows; `precision` is by step what reviewers' marks gave."""

    steps: list[str]
    model: Mapping[str, Any]
    synthetic: int
    precision: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class DataFacts:
    """What is known of the rows: `name` of the dataset, its id on the Hub, languages, licence, sources and notes."""

    name: str
    hub_id: str = ""
    languages: tuple[str, ...] = ()
    licence: str = ""
    sources: list[dict[str, str]] = field(default_factory=list)
    silver: Silver | None = None
    tags: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def data_facts(run: Run) -> DataFacts:
    """Reads the dataset's own card and manifest where its files are still those that the run was trained on."""
    given, task = str(run.manifest["data"].get("dataset", "")), run.manifest["task"]
    if given.startswith(data.LUDWIG):
        return DataFacts(given, notes=[UNKNOWN])
    name = Path(given).name if given else task
    files = rows_of_run(run)
    if not files:
        return DataFacts(name, notes=[CHANGED])
    manifest, card = _manifest(files[0].parent), _card_data(files[0].parent)
    source = re.match(r"hf://([\w.-]+/[\w.-]+)(?=[:@]|$)", str(manifest.get("options", {}).get("source", "")))
    return DataFacts(
        str(card.get("pretty_name") or name),
        source[1] if source else "",
        tuple(_listed(card.get("language"))),
        ", ".join(_listed(card.get("license"))),
        manifest.get("source", {}).get("files", []),
        _silver(manifest),
        tuple(_listed(card.get("tags"))),
        [] if manifest else [UNKNOWN],
    )


def rows_of_run(run: Run) -> list[Path]:
    """The files that the run was trained on; none when they are gone, changed or not on this machine."""
    given = str(run.manifest["data"].get("dataset", ""))
    try:
        files = data.dataset_files(run.manifest["task"], str(ROOT / given) if given else "")
    except AffinageError:
        return []
    known = {file["name"]: file["sha256"] for file in run.manifest["data"].get("files", [])}
    return files if {path.name: data.sha256(path) for path in files} == known else []


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return read_manifest(folder)
    except AffinageError:
        return {}


def _card_data(folder: Path) -> dict[str, Any]:
    path = folder / "README.md"
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        return DatasetCard(text, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, TypeError, yaml.YAMLError):
        return {}


def _listed(value: Any) -> Sequence[str]:
    return [str(item) for item in (value if isinstance(value, list) else [value] if value else [])]


def _silver(manifest: Mapping[str, Any]) -> Silver | None:
    steps = [step for step in manifest.get("steps", []) if step.get("kind") == "language model"]
    if not steps:
        return None
    added = (
        count["rows"]
        for step in steps
        for name, count in step.get("reasons", {}).items()
        if "synthetic" in name and name.startswith("added:")
    )
    return Silver(
        [step["step"] for step in steps], manifest.get("model") or {}, sum(added), manifest.get("precision") or {}
    )
