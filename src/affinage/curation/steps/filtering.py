"""Keeps the rows for which an expression on their columns holds."""

from collections.abc import Iterator, Sequence

from affinage.curation.rows import Counts, Row
from affinage.curation.steps.asking import filled_columns
from affinage.curation.steps.expressions import evaluator
from affinage.errors import AffinageError, Problem


def keep_where(rows: Sequence[Row], expression: str, counts: Counts, step: str) -> list[Row]:
    """The rows for which the expression is true; see `tested`."""
    kept = []
    for row, holds in tested(rows, expression, step):
        counts.add(step, "seen")
        if holds:
            kept.append(row)
        else:
            counts.add(step, f"dropped: not {expression}", example=f"{row['id']}: {row['instruction']}")
    return kept


def tested(rows: Sequence[Row], expression: str, step: str) -> Iterator[tuple[Row, bool]]:
    """Each row, and whether the expression holds for it; a column that only other rows have is an empty text.

    Raises AffinageError naming the row and the expression when it fails on one or is neither true nor false.
    """
    holds, filled = evaluator(expression), filled_columns(rows)
    for row in rows:
        try:
            yield row, holds(filled(row))
        except ValueError as error:
            where = f"row {row['id']} ({row.get('source', '')})"
            remedy = "Change the expression so that it suits every row."
            raise AffinageError(Problem(where, f"the {step} step's `{expression}`: {error}.", remedy=remedy)) from error
