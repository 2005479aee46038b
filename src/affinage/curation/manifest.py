"""The record of how a dataset was made: sources, options, every step with its counts, the files written.

manifest.json has sorted keys and names no folder of the machine. But for `made`, its date, the same data and options
give the same bytes.
"""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from affinage import __version__
from affinage.curation.rows import Counts, Row
from affinage.data import SPLITS, sha256
from affinage.paths import ROOT

VERSION = 1
MASKED_BY = "personal data"  # the step after which no text holds any, where it is masked
MOST_VALUES = 500
OTHERS = "(others)"
SHOWN = 200  # characters of a text


class Sizes:
    """Rows of each split as they are written, in all, by label and by source."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.labels: dict[str, Counter[str]] = {}
        self.sources: dict[str, Counter[str]] = {}

    def add(self, split: str, row: Row) -> None:
        """Counts one row."""
        self.rows[split] += 1
        source = str(row.get("source", "")).rpartition("#")
        for value, table in ((str(row.get("label", "")), self.labels), (source[0] or source[2], self.sources)):
            table.setdefault(value, Counter())[split] += 1

    def to_json(self) -> dict[str, Any]:
        """{"rows": {split: n}, "labels": {label: {split: n}}, "sources": {file: {split: n}}}.

        Of more than MOST_VALUES labels or files, the largest are named and the others summed as OTHERS.
        """
        return {"rows": _by_split(self.rows), "labels": _table(self.labels), "sources": _table(self.sources)}


def steps(counts: Counts, private: bool = False, folder: str = "") -> list[dict[str, Any]]:
    """Each step in order: rows that came `in` and went `out`, and why they were dropped, changed or added.

    in - dropped + added = out, with the reasons that start with those words; both are None for a step that only
    counted what it changed. With `private`, steps that saw texts before personal data was masked show none in their
    examples. `folder` is taken off the paths in examples.
    """
    found = []
    unmasked = private
    for step, reasons in counts.to_json().items():
        unmasked = unmasked and step != MASKED_BY
        for count in reasons.values():
            if unmasked:  # what was read is named by its place, before the first colon and space
                count["examples"] = [text.partition(": ")[0] for text in count["examples"] if step == "read"]
            if folder:
                count["examples"] = [text.replace(f"{folder}/", "") for text in count["examples"]]
        entered = reasons.pop("seen")["rows"] if "seen" in reasons else None
        change = _sum(reasons, "added:") - _sum(reasons, "dropped:")
        out = None if entered is None else entered + change
        found.append({"step": step, "in": entered, "out": out, "reasons": reasons})
    return found


def file_entry(path: Path) -> dict[str, Any]:
    """A file by name, hash (SHA-256) and size in bytes."""
    return {"name": path.name, "sha256": sha256(path), "bytes": path.stat().st_size}


def name_of(place: str) -> str:
    """A path as the manifest may name it: relative to the project, else its last part; what is no path stays."""
    path = Path(place).resolve()
    if not place or "://" in place or not path.exists():
        return place
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def shortened(report: Mapping[str, Any]) -> dict[str, Any]:
    """A leak report (`LeakReport.to_json`) whose examples show the beginning of long texts."""
    leaks = [leak | {"examples": [_cut(example) for example in leak["examples"]]} for leak in report["leaks"]]
    return {**report, "leaks": leaks}


def write(folder: Path, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Writes manifest.json into the folder, with version and date; returns what it holds."""
    manifest = {
        "version": VERSION,
        "affinage": __version__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        **entries,
    }
    text = json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False)
    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    return manifest


def _sum(reasons: Mapping[str, Any], start: str) -> int:
    return sum(count["rows"] for reason, count in reasons.items() if reason.startswith(start))


def _by_split(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in SPLITS}


def _table(counts: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    named = dict(sorted(counts.items(), key=lambda item: -item[1].total())[:MOST_VALUES])
    others = [counter for value, counter in counts.items() if value not in named]
    table = {value: _by_split(counter) for value, counter in named.items()}
    return table | ({OTHERS: _by_split(sum(others, Counter()))} if others else {})


def _cut(example: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if not isinstance(value, str) or len(value) <= SHOWN else value[: SHOWN - 1] + "…"
        for name, value in example.items()
    }
