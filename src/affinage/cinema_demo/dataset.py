"""Writes the two datasets to disk: the rows as JSON lines, and the cards that describe them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from affinage.cinema_demo import reviews, screenings
from affinage.cinema_demo.cards import EXTRACTION, SENTIMENT
from affinage.cinema_demo.films import FILMS, SPLITS
from affinage.cinema_demo.opinions import LABELS
from affinage.made_datasets import label_counts, write_whole

Rows = Sequence[dict[str, Any]]


def write_reviews(folder: Path, seed: int) -> tuple[Path, int]:
    """Writes sentiment.jsonl and README.md into `folder`, made when missing; the path of the rows and how many."""
    rows = reviews.make_rows(seed)
    counts = label_counts(rows, LABELS, SPLITS)
    return _write(folder, "sentiment.jsonl", rows, SENTIMENT, seed, counts), len(rows)


def write_screenings(folder: Path, seed: int) -> tuple[Path, int]:
    """Writes extraction.jsonl and README.md into `folder`, made when missing; the path of the rows and how many."""
    rows = screenings.make_rows(seed)
    return _write(folder, "extraction.jsonl", rows, EXTRACTION, seed, counts=split_counts(rows)), len(rows)


def _write(folder: Path, name: str, rows: Rows, card: str, seed: int, counts: str) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    filled = card.format(
        rows=len(rows),
        films=sum(FILMS.values()),
        test_films=FILMS[2],
        counts=counts,
        seed=seed,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        samples="\n".join(json.dumps(row, ensure_ascii=False) for row in rows[:3]),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / name, text)
    write_whole(folder / "README.md", filled)
    return folder / name


def split_counts(rows: Rows) -> str:
    """A Markdown table of how many rows each split has, and how many of them say a price."""
    lines = ["| split | rows | of them with a price |", "|---|---:|---:|"]
    for split, name in SPLITS.items():
        answers = [json.loads(row["output"]) for row in rows if row["split"] == split]
        priced = sum(answer["prix"] is not None for answer in answers)
        lines.append(f"| {split} = {name} | {len(answers)} | {priced} |")
    return "\n".join(lines)
