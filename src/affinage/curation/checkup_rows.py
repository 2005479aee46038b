"""The rows a check looks at: read as training reads them, split as the config or a `split` column says."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from affinage import data
from affinage.curation.personal_data import hidden
from affinage.curation.rows import TEXTS, Row
from affinage.errors import AffinageError, Problem
from affinage.paths import DATASETS, display

UNSPLIT = "all"
SPLIT_NAMES = {"0": "train", "1": "validation", "2": "test"} | {name: name for name in data.SPLITS}
KEPT = ("id", "group", "label", "source")
YEAR_COLUMNS = ("year", "annee", "année", "date", "created", "created_at", "timestamp")
Tally = dict[str, dict[str, int]]  # value -> split -> rows
YEAR = re.compile(r"(?<!\d)(1[5-9]|20)\d\d(?!\d)")


@dataclass(frozen=True)
class Data:
    """A dataset in memory. `prompt` names the columns of the question, `answer` that of the answer.

    `resolved` is the resolved Ludwig config, None without one. `by_column` is the column that says each row's split.
    """

    files: list[Path]
    splits: dict[str, pd.DataFrame]
    prompt: list[str]
    answer: str
    resolved: Any = None
    by_column: str = ""

    def rows(self) -> dict[str, list[Row]]:
        """Every row as text, by split: its question as `instruction` and `input`, its answer as `output`."""
        return {name: _rows(frame, self.prompt, self.answer) for name, frame in self.splits.items()}


def read(task: str, dataset: str = "", config: Path | None = None) -> Data:
    """Reads datasets/<task>/ or `dataset` (a file, a folder, ludwig://name), with a config as its training would.

    Without a config, a file of rows is split by its column `split` when that holds split names or 0, 1 and 2; else
    its one split is called "all". Raises AffinageError for data or a config that cannot be used, or without a row.
    """
    found = _read_with(config, dataset or str(DATASETS / task)) if config else _read_alone(task, dataset)
    splits = {name: frame for name, frame in found.splits.items() if len(frame)}
    if not splits:
        raise AffinageError(Problem(dataset or task, "no row.", remedy="Name data with DATASET=."))
    return replace(found, splits=splits)


def _read_with(config: Path, dataset: str) -> Data:
    from affinage import training
    from affinage.configs import read_config
    from affinage.model_types import refuse_encoder_config
    from affinage.prompts import prompt_columns

    refuse_encoder_config(read_config(config), display(config), "say how long prompts and answers are")
    plan = training.plan(config, dataset)  # checks the config, and leaves rows without an answer out
    if plan.files:
        splits = data.load_splits(plan.files, plan.resolved, training.SEED)
    else:
        rows = data.load_ludwig_dataset(dataset.removeprefix(data.LUDWIG))
        splits = data.split_rows(rows, plan.resolved, training.SEED)
    answer = plan.resolved.output_features[0].column
    split = plan.resolved.preprocessing.split
    by_column = split.column if split.type == "fixed" and len(plan.files) == 1 else ""
    return Data(plan.files, splits, _canonical_first(prompt_columns(plan.resolved)), answer, plan.resolved, by_column)


def _read_alone(task: str, dataset: str) -> Data:
    files: list[Path] = []
    if dataset.startswith(data.LUDWIG):
        frames = {UNSPLIT: data.load_ludwig_dataset(dataset.removeprefix(data.LUDWIG))}
    else:
        files = data.dataset_files(task, dataset)
        frames = {path.stem if len(files) > 1 else UNSPLIT: data.read_rows(path) for path in files}
    by_column = ""
    if set(frames) == {UNSPLIT}:
        frames, by_column = _split_by_column(frames[UNSPLIT])
    first = next(iter(frames.values()))
    if "output" not in first.columns:
        raise AffinageError(
            Problem(
                display(files[0]) if files else dataset,
                f"no column 'output', only {', '.join(map(str, first.columns)) or 'none'}.",
                "instruction, input and output; or the columns of a config",
                "Name the config with CONFIG=, or convert the data with make data.",
            )
        )
    return Data(files, frames, [name for name in TEXTS[:2] if name in first.columns], "output", None, by_column)


def _split_by_column(rows: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], str]:
    if "split" not in rows.columns or not set(rows["split"].astype(str)) <= SPLIT_NAMES.keys():
        return {UNSPLIT: rows}, ""
    named = rows["split"].astype(str).map(SPLIT_NAMES)
    return {name: rows[named == name].reset_index(drop=True) for name in data.SPLITS}, "split"


def _canonical_first(columns: Sequence[str]) -> list[str]:
    distinct = list(dict.fromkeys(columns))
    return sorted(distinct, key=lambda name: TEXTS.index(name) if name in TEXTS else len(TEXTS))


def _rows(frame: pd.DataFrame, prompt: list[str], answer: str) -> list[Row]:
    texts = {name: frame[name].map(_text).tolist() for name in {*prompt, answer} if name in frame.columns}
    absent = [""] * len(frame)
    first, *rest = [texts.get(name, absent) for name in prompt] or [absent]
    others = ["\n".join(filter(None, cells)) for cells in zip(*rest, strict=True)] if rest else absent
    columns = {"instruction": first, "input": others, "output": texts.get(answer, absent)}
    columns |= {name: frame[name].map(_text).tolist() for name in KEPT if name in frame.columns}
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _text(cell: Any) -> str:
    return "" if cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell) else str(cell)


def tallies(splits: Mapping[str, pd.DataFrame]) -> dict[str, Tally]:
    """Rows by label, source (without its "#n"), year and what language models did, for the columns that are there.

    Each value has its rows by split; a row without one is counted under "". Personal data in values is masked. The year
    is the first of 1500 to 2099 in the first column of dates; `synthetic` and the columns called <step>_model tell of
    language models.
    """
    columns = {str(name): None for frame in splits.values() for name in frame.columns}
    dated = next((name for known in YEAR_COLUMNS for name in columns if name.casefold() == known), "")
    wanted = {"label": ("label", str), "source": ("source", _without_place), "year": (dated, _year)}
    wanted |= {name: (name, str) for name in columns if name == "synthetic" or name.endswith("_model")}
    found = {
        name: _tally({split: frame[column].map(_text).map(value) for split, frame in splits.items() if column in frame})
        for name, (column, value) in wanted.items()
        if column in columns
    }
    if "year" in found:
        found["year"] = dict(sorted(found["year"].items(), key=lambda item: item[0] or "9999"))
    return found


def _tally(values: Mapping[str, pd.Series]) -> Tally:
    counts: dict[str, Counter[str]] = {split: Counter() for split in values}
    for split, series in values.items():
        for value, n in Counter(series.tolist()).items():
            counts[split][hidden(value)] += n
    total = sum(counts.values(), Counter[str]())
    return {value: {split: counts[split][value] for split in counts} for value, _ in total.most_common()}


def _without_place(source: str) -> str:
    return re.sub(r"#[^#]*$", "", source)


def _year(text: str) -> str:
    found = YEAR.search(text)
    return found.group() if found else ""
