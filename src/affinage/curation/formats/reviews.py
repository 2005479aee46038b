"""Rows from the thumbs that people gave in the application: what they liked is to be learnt, the rest is counted."""

from collections.abc import Iterator, Mapping
from typing import Any

from affinage.curation.formats.columns import column_rows
from affinage.curation.formats.records import Place
from affinage.curation.rows import Row
from affinage.reviews import COLUMN, DOWN, UP

ABOUT = ("answered", "prompt", "drawn", "stop", "turns_before", "reviewed")  # of the review, and no part of a row
NOT_WHOLE = "answer that did not end by itself"


def review_rows(columns: Mapping[str, str], record: dict[str, Any], place: Place) -> Iterator[Row]:
    """The row of one reviewed answer, when the thumb is up and the answer ended by itself."""
    thumb = record.get(COLUMN)
    if thumb == DOWN:
        place.drop("thumbs down")
    elif thumb != UP:
        place.drop("no thumb", str(thumb)[:80])
    elif record.get("stop") != "end":
        place.drop(NOT_WHOLE, str(record.get("stop"))[:80])
    else:
        yield from column_rows(columns, {name: value for name, value in record.items() if name not in ABOUT}, place)
