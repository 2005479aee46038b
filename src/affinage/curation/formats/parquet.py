"""Records from Parquet files, streamed by batches of rows."""

import datetime
import decimal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from affinage.curation.formats.encodings import head
from affinage.curation.formats.records import Record, RecordFile, broken
from affinage.paths import display

BATCH_ROWS = 1024


def open_parquet(path: Path, name: str) -> RecordFile:
    """The rows of a Parquet file as records; columns of bytes are left out, and a note says so.

    Raises AffinageError when the file is broken.
    """
    head(path)
    try:
        with pq.ParquetFile(path) as file:
            schema, total = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise broken(path, None, f"not a whole Parquet file: {error}.", "Write or download it again.") from error
    left_out = [field.name for field in schema if _holds_bytes(field.type)]
    columns = tuple(field.name for field in schema if field.name not in left_out)
    notes = (f"columns of bytes are left out: {', '.join(left_out)}",) if left_out else ()
    return RecordFile(
        name, display(path), "parquet", "row", lambda: _records(path, columns), columns, notes, total=total
    )


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_bytes(field.type) for field in kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _records(path: Path, columns: tuple[str, ...]) -> Iterator[Record]:
    n = 0
    with pq.ParquetFile(path, buffer_size=2**20) as file:
        batches = file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False)
        while True:
            try:
                rows = next(batches).to_pylist()
            except StopIteration:
                return
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                found = f"broken after row {n}: {error}."
                raise broken(path, None, found, "Write or download the file again.") from error
            for row in rows:
                n += 1
                yield n, {name: plain(value) for name, value in row.items()}


def plain(value: Any) -> Any:
    """The value with dates, times and decimals as text, so that JSON can hold it."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value) if isinstance(value, decimal.Decimal | datetime.timedelta) else value
