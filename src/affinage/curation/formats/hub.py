"""Records from datasets elsewhere: on the Hugging Face hub, streamed, and among those that Ludwig can load."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from affinage.curation.formats.json_records import PEEKED
from affinage.curation.formats.parquet import plain
from affinage.curation.formats.records import SPLIT_NAMES, Record, RecordFile
from affinage.data import LUDWIG, load_ludwig_dataset
from affinage.errors import AffinageError, Problem

HUB = "hf://"
ADDRESS = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?")
REMEDY = "Check the name, the network and HF_TOKEN, or download the dataset and name its folder."


def open_hub(source: str) -> list[RecordFile]:
    """One stream of records for each split of `hf://user/name[:config][@revision]`; a note names the commit.

    Raises AffinageError when the address is malformed or the hub gives no such dataset.
    """
    match = ADDRESS.fullmatch(source.removeprefix(HUB))
    if not match:
        raise AffinageError(Problem(source, "not the address of a dataset.", "hf://user/name[:config][@revision]"))
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(match["name"], revision=match["revision"]).sha
    except Exception as error:  # whatever the network or the hub raised
        raise _unreachable(source, error) from error
    return open_dataset(source, match["name"], match["config"], commit)


def open_dataset(source: str, name: str, config: str | None = None, commit: str | None = None) -> list[RecordFile]:
    """One stream of records for each split of a dataset, by the `datasets` library; `name` may be a local folder.

    `source` is how rows and messages name it. Raises AffinageError for whatever goes wrong on the way.
    """
    from datasets import load_dataset

    try:
        splits = load_dataset(name, config, revision=commit, streaming=True)
    except Exception as error:  # as above
        raise _unreachable(source, error) from error
    opened = [_split_file(source, str(split), stream) for split, stream in splits.items()]
    notes = (f"read at revision {commit}",) if commit else ()
    several = len({file.split for file in opened}) > 1
    return [replace(file, split=file.split if several else "", notes=(*notes, *file.notes)) for file in opened]


def _split_file(source: str, split: str, stream: Any) -> RecordFile:
    left_out = [name for name, feature in (stream.features or {}).items() if _holds_bytes(feature)]
    stream = stream.remove_columns(left_out) if left_out else stream
    names = {name: feature.names for name, feature in (stream.features or {}).items() if hasattr(feature, "names")}

    def records() -> Iterator[Record]:
        rows = iter(stream)
        n = 0
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except Exception as error:  # as above
                raise _unreachable(f"{source} ({split}) after row {n}", error) from error
            n += 1
            yield n, {name: _named(plain(value), names.get(name)) for name, value in row.items()}

    columns = tuple(dict.fromkeys(name for _, record in islice(records(), PEEKED) for name in record))
    size = (stream.info.splits or {}).get(split)
    return RecordFile(
        f"{source}/{split}",
        f"{source} ({split})",
        "hf",
        "row",
        records,
        columns,
        (f"columns of images, sounds and other bytes are left out: {', '.join(left_out)}",) if left_out else (),
        size.num_examples if size else None,
        SPLIT_NAMES.get(split, split),
    )


def _holds_bytes(feature: Any) -> bool:
    """Whether a feature of the `datasets` library is, or holds, something that is no text, number, date or label."""
    if isinstance(feature, dict):
        return any(map(_holds_bytes, feature.values()))
    if isinstance(feature, list | tuple):
        return any(map(_holds_bytes, feature))
    if hasattr(feature, "feature"):
        return _holds_bytes(feature.feature)
    return "binary" in str(getattr(feature, "dtype", "")) or type(feature).__name__ not in ("Value", "ClassLabel")


def _named(value: Any, names: list[str] | None) -> Any:
    """The name of a class, where the value is its number; -1 stands for none."""
    if names is None or not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def open_ludwig(source: str) -> RecordFile:
    """The rows of `ludwig://name`, one of Ludwig's own datasets."""
    frame = load_ludwig_dataset(source.removeprefix(LUDWIG))
    if frame is None:  # Ludwig logs what went wrong in its cache, and goes on
        raise AffinageError(Problem(source, "Ludwig could not use what it downloaded.", remedy="Empty its cache."))
    frame = frame.astype(object).where(frame.notna(), None)

    def records() -> Iterator[Record]:
        for n, row in enumerate(frame.itertuples(index=False, name=None), start=1):
            yield n, {name: plain(value) for name, value in zip(columns, row, strict=True)}

    columns = tuple(str(name) for name in frame.columns)
    return RecordFile(source, source, "ludwig", "row", records, columns, total=len(frame))


def _unreachable(source: str, error: Exception) -> AffinageError:
    reason = str(error).strip().splitlines()
    found = f"could not be read: {reason[0] if reason else type(error).__name__}"
    return AffinageError(Problem(source, found, remedy=REMEDY))
