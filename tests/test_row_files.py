"""Rows in a file that several processes map: the same rows, by position, by slice, and what was lost of them."""

import numpy as np
import pyarrow as pa
import pytest

from affinage.ludwig_ext.batches import Row, Rows
from affinage.ludwig_ext.row_files import read, write

IDS = [[1, 2, 3], [4], [5, 6], [7, 8, 9, 10]]


@pytest.mark.parametrize("encoder_decoder", [False, True])
def test_rows_come_back_by_position_and_by_slice(tmp_path, encoder_decoder):
    rows = [Row(np.array(ids), len(ids) - 1, encoder_decoder) for ids in IDS]
    write(tmp_path / "new" / "rows.arrow", Rows(rows, [3, 7], cut_rows=2, cut_answer_tokens=5))
    found = read(tmp_path / "new" / "rows.arrow")
    assert (found.skipped, found.cut_rows, found.cut_answer_tokens) == ([3, 7], 2, 5)
    assert len(found) == 4 and found.answer_tokens == 4
    for places in (slice(None), slice(0, 2), slice(1, None, 2), slice(None, None, -1)):
        assert [row.ids.tolist() for row in found.rows[places]] == IDS[places]
    for position in (0, 3, -1, -4):
        row, expected = found.rows[position], rows[position]
        assert row.ids.dtype == np.int64 and row.ids.tolist() == expected.ids.tolist()
        assert (row.answer_start, row.encoder_decoder) == (expected.answer_start, encoder_decoder)
    for position in (4, -5):
        with pytest.raises(IndexError):
            found.rows[position]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["rows.arrow"]


def test_a_split_of_which_nothing_is_left_comes_back_empty(tmp_path):
    write(tmp_path / "rows.arrow", Rows([], [0, 1]))
    found = read(tmp_path / "rows.arrow")
    assert not found.rows and found.skipped == [0, 1] and found.answer_tokens == 0


def test_reading_allocates_no_memory_for_the_rows(tmp_path):
    long = Row(np.arange(1_000_000), 1)
    write(tmp_path / "rows.arrow", Rows([long] * 4))
    before = pa.total_allocated_bytes()
    found = read(tmp_path / "rows.arrow")
    assert pa.total_allocated_bytes() - before < 100_000
    assert np.array_equal(found.rows[3].ids, long.ids)
