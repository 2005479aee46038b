"""What the writers of the datasets that are made here share: whole files, and the table of rows in their cards."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str) -> None:
    """Writes the text (UTF-8) under a temporary name, then renames it into place."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)


def label_counts(rows: Iterable[Mapping[str, Any]], labels: Sequence[str], splits: Mapping[int, str]) -> str:
    """A Markdown table of how many rows each split has of each label."""
    counts = Counter((row["split"], row["label"]) for row in rows)
    lines = ["| split | " + " | ".join(labels) + " | all |", "|---|" + "---:|" * (len(labels) + 1)]
    for split, name in splits.items():
        numbers = [counts[split, label] for label in labels]
        lines.append(f"| {split} = {name} | " + " | ".join(map(str, [*numbers, sum(numbers)])) + " |")
    return "\n".join(lines)
