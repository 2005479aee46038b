"""Personal data in rows: reported, masked by tags that stay the same in a dataset, dropped with the row, or refused.

Nothing here keeps or shows a value as it is written, except in the rows that are passed on.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from affinage.curation.identifiers import REGIONS, SECRETS, Finding, find
from affinage.curation.rows import Counts, Row
from affinage.errors import Problem, raise_all

__all__ = ["REGIONS", "SECRETS", "Finding", "Tags", "disguised", "find", "hidden", "scan"]

STEP = "personal data"
NAMES = ("id", "group", "source", "parent_id", "split")  # columns whose figures are numbering, not phone numbers
IN_NAMES = ("email", *SECRETS)  # all that is looked for there

Mode = Literal["report", "mask", "drop", "error"]


class Tags:
    """A tag for every value, such as <EMAIL_1> for the first e-mail address met; knows values by their hashes only."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, bytes], int] = {}
        self._last: Counter[str] = Counter()

    def of(self, finding: Finding) -> str:
        """The tag of a finding's value, always the same one."""
        key = (finding.kind, hashlib.blake2b(finding.value.encode("utf-8", "surrogatepass"), digest_size=16).digest())
        if key not in self._numbers:
            self._last[finding.kind] += 1
            self._numbers[key] = self._last[finding.kind]
        return f"<{finding.kind.upper()}_{self._numbers[key]}>"


def scan(
    rows: Iterable[Row], mode: Mode, counts: Counts, regions: Sequence[str] = REGIONS, tags: Tags | None = None
) -> Iterator[Row]:
    """The rows as the mode leaves them; all columns of text are searched, names of rows for e-mail and secrets only.

    "report" counts the rows that hold each kind; "mask" also puts a tag in the place of each value; "drop" drops these
    rows; "error" passes all rows on and, after the last one, raises AffinageError with the rows of each kind. Pass the
    same `tags` to mask several files alike. Examples are `disguised`.
    """
    tags = tags or Tags()
    holders: Counter[str] = Counter()
    first: dict[str, list[str]] = {}
    for place, row in enumerate(rows, start=1):
        counts.add(STEP, "seen")
        found = {column: findings for column in row if (findings := _in_column(row, column, regions))}
        if not found:
            yield row
            continue
        name = hidden(str(row.get("id") or f"row {place}"), regions)
        kinds = {finding.kind: f"{column}: {disguised(finding)}" for column in found for finding in found[column]}
        for kind, example in kinds.items():
            counts.add(STEP, f"found: {kind}", example=f"{name} {example}")
            first[kind] = [*first.get(kind, []), name][:5]
        holders.update(kinds.keys())
        if mode == "drop":
            counts.add(STEP, f"dropped: {', '.join(sorted(kinds))}", example=name)
        elif mode == "mask":
            counts.add(STEP, "changed")
            yield row | {column: _replaced(row[column], findings, tags.of) for column, findings in found.items()}
        else:
            yield row
    if mode == "error":
        raise_all(_problem(kind, n, first[kind]) for kind, n in sorted(holders.items()))


def disguised(finding: Finding) -> str:
    """A finding as it may be shown: j***@***.fr, 01 ** ** ** **, hf***."""
    if finding.kind == "email":
        return f"{finding.text[0]}***@***.{finding.text.rpartition('.')[2]}"
    if finding.kind in SECRETS:
        return f"{finding.text[:2]}***"
    return finding.text[:2] + re.sub(r"\w", "*", finding.text[2:])


def hidden(text: str, regions: Sequence[str] = REGIONS) -> str:
    """The text with every finding `disguised`, for whatever is shown or published beside the rows."""
    return _replaced(text, find(text, regions), disguised)


def _in_column(row: Row, column: str, regions: Sequence[str]) -> list[Finding]:
    text = row[column]
    if not isinstance(text, str):
        return []
    found = find(text, regions)
    return [finding for finding in found if finding.kind in IN_NAMES] if column in NAMES else found


def _replaced(text: str, findings: Iterable[Finding], by: Callable[[Finding], str]) -> str:
    pieces, at = [], 0
    for finding in findings:
        pieces += [text[at : finding.start], by(finding)]
        at = finding.end
    return "".join([*pieces, text[at:]])


def _problem(kind: str, rows: int, first: list[str]) -> Problem:
    return Problem(
        STEP,
        f"{rows} row{'s' * (rows > 1)} with {kind}, starting with {', '.join(first)}.",
        remedy="Mask it (pii: mask), drop these rows (drop), or accept it (report).",
    )
