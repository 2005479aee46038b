"""Finds a task's rows, reads them and splits them as the config says."""

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import DATASETS, display

SPLITS = ("train", "validation", "test")
LUDWIG = "ludwig://"
MIN_TRAIN_ROWS = 3  # Ludwig takes fewer for a mistake


def _read_jsonl(path: Path) -> pd.DataFrame:
    lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines would also split inside a text
    return _table([_parsed(line, f"line {n}") for n, line in enumerate(lines, 1) if line.strip()], "line")


def _read_json(path: Path) -> pd.DataFrame:
    rows = _parsed(path.read_text(encoding="utf-8-sig"), "the file")
    if not isinstance(rows, list):
        raise ValueError("it holds no list of rows")
    return _table(rows, "row")


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, " if place == "the file" else ""
        raise ValueError(f"{place} is no JSON: {where}column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ValueError(f"{place} is nested too deeply") from error


def _table(rows: list[Any], unit: str) -> pd.DataFrame:
    odd = next((n for n, row in enumerate(rows, 1) if not isinstance(row, dict)), None)
    if odd is not None:
        raise ValueError(f"{unit} {odd} holds no object with columns")
    return pd.DataFrame(rows, dtype=object)


def _read_table(path: Path) -> pd.DataFrame:
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
        try:
            header = next(reader, [])
            rows = [_cells(row, header, reader.line_num) for row in reader if row]
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
    if len(set(header)) < len(header):
        raise ValueError("two columns have the same name")
    return pd.DataFrame(rows, columns=header, dtype=object)


def _cells(row: list[str], header: list[str], line: int) -> list[str]:
    if len(row) != len(header):
        raise ValueError(f"line {line} has {len(row)} cells, the header {len(header)}")
    return row


# Cells stay what they are: "007" is no number, and an empty cell is no "nan".
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_table,
    ".tsv": _read_table,
    ".parquet": lambda path: pd.read_parquet(path, dtype_backend="numpy_nullable"),
}


def dataset_files(task: str, dataset: str = "") -> list[Path]:
    """The files of a task: `dataset` when given (a file or a folder), else what lies in datasets/<task>/.

    A folder holds train, validation and test files, or one file of rows. Raises AffinageError otherwise.
    """
    place = Path(dataset) if dataset else DATASETS / task
    if place.is_file():
        if place.suffix not in READERS:
            raise AffinageError(Problem(display(place), f"cannot read '{place.suffix}'.", ", ".join(READERS)))
        return [place]
    found = sorted(path for path in place.glob("*") if path.suffix in READERS) if place.is_dir() else []
    splits = [path for name in SPLITS for path in found if path.stem == name]
    if splits and splits[0].stem == "train" and len({path.stem for path in splits}) == len(splits):
        return splits
    if len(found) == 1:
        return found
    raise AffinageError(
        Problem(
            display(place),
            "no such file or folder." if not place.exists() else f"{len(found)} data files, none called train.",
            f"one data file ({', '.join(READERS)}), or train, validation and test files",
            "Name the data with DATASET=.",
        )
    )


def read_rows(path: Path) -> pd.DataFrame:
    """The rows of one file; a missing cell is an empty text. Raises AffinageError for a file that cannot be read."""
    try:
        rows = READERS[path.suffix](path)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise AffinageError(
            Problem(display(path), f"line {line} is not UTF-8: {error.reason}.", remedy="Save the file as UTF-8.")
        ) from error
    except (ValueError, OSError) as error:
        raise AffinageError(
            Problem(display(path), f"cannot be read as {path.suffix[1:]}: {error}.", remedy="Check the file.")
        ) from error
    if rows.empty:
        raise AffinageError(Problem(display(path), "holds no row.", remedy="Check the file."))
    return rows.astype(object).where(rows.notna(), "")


def load_splits(files: list[Path], config: Any, seed: int) -> dict[str, pd.DataFrame]:
    """Rows by split name, for files that `dataset_files` found, split by `preprocessing.split` when it is one file.

    `config` is the resolved Ludwig config; rows keep their order within a split.
    """
    if len(files) > 1:
        return {path.stem: read_rows(path) for path in files}
    return split_rows(read_rows(files[0]), config, seed)


def load_ludwig_dataset(name: str) -> pd.DataFrame:
    """The rows of one of Ludwig's own datasets; downloads it unless it is in Ludwig's cache."""
    from ludwig.datasets import get_dataset

    try:
        return get_dataset(name).load()
    except Exception as error:  # whatever the hub, the disk or the archive raised
        raise AffinageError(
            Problem(f"{LUDWIG}{name}", f"could not be loaded: {error}.", remedy="Name a local file with DATASET=.")
        ) from error


def split_rows(rows: pd.DataFrame, config: Any, seed: int) -> dict[str, pd.DataFrame]:
    """Splits rows with Ludwig's own splitter; an empty split is left out."""
    from ludwig.backend import initialize_backend
    from ludwig.data.split import get_splitter

    split = config.preprocessing.split.to_dict()
    column = split.get("column")
    if column and column not in rows.columns:
        raise AffinageError(
            Problem("preprocessing.split.column", f"'{column}' is no column of the data.", ", ".join(rows.columns))
        )
    unknown = set(rows[column].astype(str)) - {"0", "1", "2"} if split["type"] == "fixed" else set()
    if unknown:
        raise AffinageError(
            Problem(f"the column '{column}'", f"holds {sorted(unknown)[:5]}.", "0 (train), 1 (validation), 2 (test)")
        )
    parts = get_splitter(**split).split(rows, initialize_backend("local"), random_seed=seed)
    named = dict(zip(SPLITS, parts, strict=True))
    return {name: part.reset_index(drop=True) for name, part in named.items() if part is not None and len(part)}


def drop_rows_without_answer(splits: dict[str, pd.DataFrame], column: str) -> dict[str, int]:
    """Removes, in place, rows whose answer is empty; returns how many per split, so that they can be shown."""
    dropped = {}
    for name, rows in splits.items():
        keep = rows[column].notna() & (rows[column].astype(str).str.strip() != "")
        dropped[name] = int((~keep).sum())
        splits[name] = rows[keep].reset_index(drop=True)
    return dropped


def check_columns(splits: dict[str, pd.DataFrame], columns: list[str]) -> None:
    """Raises AffinageError naming every column that the prompt or the answer needs and a split lacks."""
    problems = [
        Problem(f"the {name} split", f"no column '{column}'.", ", ".join(map(str, rows.columns)))
        for name, rows in splits.items()
        for column in columns
        if column not in rows.columns
    ]
    if problems:
        raise AffinageError(*problems)


def check_rows(splits: dict[str, pd.DataFrame]) -> None:
    """Raises AffinageError for a split that cannot be trained on or compared: no rows, too few, or ids that repeat."""
    problems = []
    if len(splits.get("train", ())) < MIN_TRAIN_ROWS:
        found = f"{len(splits.get('train', ()))} rows to train on."
        problems.append(Problem("the train split", found, f"{MIN_TRAIN_ROWS} or more with an answer"))
    for name, rows in splits.items():
        twice = rows[rows["id"].duplicated() & (rows["id"] != "")]["id"].tolist() if "id" in rows else []
        if twice:
            found = f"{len(twice)} rows have an id that stood before, such as '{twice[0]}'."
            problems.append(Problem(f"the {name} split", found, remedy="Give every row an id of its own, or none."))
    raise_all(problems)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
