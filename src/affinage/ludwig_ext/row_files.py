"""Rows that several workers share: written once by the first of them, mapped into the memory of all."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa

from affinage.errors import AffinageError, Problem
from affinage.ludwig_ext.batches import Row, Rows

if TYPE_CHECKING:
    from affinage.ludwig_ext.trainer import AnswerTrainer

FOLDER = "rows"  # of a run, while it trains


class MappedRows(Sequence[Row]):
    """Rows of an Arrow file, read when they are asked for; the pages of the file are shared by all processes."""

    def __init__(self, path: Path) -> None:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        ids, starts = batch.columns
        self._ids, self._ends = ids.values.to_numpy(), ids.offsets.to_numpy()
        self._answer_starts = starts.to_numpy()
        self.lost = json.loads(batch.schema.metadata[b"lost"])
        self._encoder_decoder = self.lost.pop("encoder_decoder")

    def __len__(self) -> int:
        return len(self._answer_starts)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        position = range(len(self))[place]
        ids = self._ids[self._ends[position] : self._ends[position + 1]].astype(np.int64)
        return Row(ids, int(self._answer_starts[position]), self._encoder_decoder)


def write(path: Path, rows: Rows) -> None:
    """Writes the ids of plain rows, without preferences, and what the length limit cost; whole or not at all."""
    lengths = [len(row.ids) for row in rows.rows]
    ids = pa.LargeListArray.from_arrays(
        np.cumsum([0, *lengths], dtype=np.int64),
        np.concatenate([np.empty(0, np.int32), *(row.ids.astype(np.int32) for row in rows.rows)]),
    )
    starts = pa.array([row.answer_start for row in rows.rows], pa.int32())
    lost: dict[str, Any] = {name: getattr(rows, name) for name in ("skipped", "cut_rows", "cut_answer_tokens")}
    lost["encoder_decoder"] = any(row.encoder_decoder for row in rows.rows)
    batch = pa.record_batch({"ids": ids, "answer_start": starts}, metadata={"lost": json.dumps(lost)})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def read(path: Path) -> Rows:
    """What `write` wrote, mapped into memory."""
    rows = MappedRows(path)
    return Rows(rows, **rows.lost)


def rows_of(trainer: "AnswerTrainer", dataset: Any, split: str) -> Rows:
    """The rows of a preprocessed split, of several workers built by the first alone, unless each needs all of them.

    Raises AffinageError when there are none.
    """
    team = trainer.distributed
    if trainer.shares_rows and team.size() > 1:
        path = trainer.save_path / FOLDER / f"{split}.arrow"
        if team.is_coordinator():
            write(path, trainer.build(dataset))
        team.barrier()
        rows = read(path)
    else:
        rows = trainer.build(dataset)
    if not rows.rows:
        raise AffinageError(
            Problem(
                "preprocessing.global_max_sequence_length",
                f"at {trainer.model.global_max_sequence_length} tokens, no row of the {split} split keeps an answer.",
                remedy="Raise it, or shorten the prompt template.",
            )
        )
    return rows


def remove(folder: Path) -> None:
    """Deletes what `shared` wrote for a run that is over."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
