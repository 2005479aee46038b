"""Looks at a whole dataset, changes nothing, and says what a person should mend before training on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from affinage import data
from affinage.curation import checkup_rows
from affinage.curation.checkup_duplicates import Duplicates, LeakFigures, find_duplicates, leak_figures
from affinage.curation.checkup_lengths import Lengths, Truncation, measure_characters, measure_tokens
from affinage.curation.checkup_remarks import Remark, remarks_on
from affinage.curation.checkup_rows import Tally
from affinage.curation.checkup_texts import PersonalData, TextCheck, check_texts, find_languages, find_personal_data
from affinage.curation.rows import Row
from affinage.paths import display

VERSION = 1


@dataclass(frozen=True)
class Groups:
    """`groups` by split, the rows of the largest one, and rows without a group; all 0 without the column."""

    groups: dict[str, int]
    largest: int
    without: int


@dataclass
class Checkup:
    """All figures of one check. Dicts by split hold train, validation and test, or "all" for rows that are not split.

    `tallies` are rows by value and split, of label, source, year and language where they are known; `truncation` is
    None without a config. `remarks` are sorted, errors first.
    """

    task: str
    dataset: str
    config: str
    date: str
    files: list[dict[str, Any]]
    columns: list[str]
    prompt_columns: list[str]
    answer_column: str
    split_column: str
    rows: dict[str, int]
    groups: Groups
    repeated_ids: int
    tallies: dict[str, Tally]
    texts: list[TextCheck]
    duplicates: Duplicates
    leaks: list[LeakFigures]
    personal_data: PersonalData
    lengths: Lengths
    truncation: Truncation | None
    remarks: list[Remark] = field(default_factory=list)

    def of(self, severity: str) -> list[Remark]:
        """The remarks of one severity: error, warning or note."""
        return [remark for remark in self.remarks if remark.severity == severity]

    def to_json(self) -> dict[str, Any]:
        """Every figure, ready for checkup.json; texts are cut and personal data in them is masked."""
        return {"version": VERSION, **asdict(self)}


def check_dataset(task: str, dataset: str = "", config: Path | None = None, near: float = 0.8) -> Checkup:
    """Reads datasets/<task>/ or `dataset` (a file, a folder, ludwig://name) and looks at every row; writes nothing.

    With a config, rows are split, prompts rendered and tokens counted as in its training; without one, lengths are in
    characters. `near` is the Jaccard index (0..1) from which texts are near duplicates. Raises AffinageError for data
    or a config that cannot be used.
    """
    found = checkup_rows.read(task, dataset, config)
    rows = found.rows()
    lengths, truncation, special_tokens = _lengths(found, rows)
    frames = found.splits
    checkup = Checkup(
        task=task,
        dataset=dataset or f"datasets/{task}",
        config=display(config) if config else "",
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        files=[{"name": p.name, "sha256": data.sha256(p), "bytes": p.stat().st_size} for p in found.files],
        columns=list(dict.fromkeys(str(name) for frame in frames.values() for name in frame.columns)),
        prompt_columns=found.prompt,
        answer_column=found.answer,
        split_column=found.by_column,
        rows={name: len(members) for name, members in rows.items()},
        groups=_groups(rows),
        repeated_ids=_repeated_ids(rows),
        tallies=checkup_rows.tallies(frames) | {"language": find_languages(rows)},
        texts=check_texts(rows, special_tokens),
        duplicates=find_duplicates(rows, near),
        leaks=leak_figures(rows, near),
        personal_data=find_personal_data(frames),
        lengths=lengths,
        truncation=truncation,
    )
    checkup.remarks = remarks_on(checkup)
    return checkup


def _lengths(
    found: checkup_rows.Data, rows: Mapping[str, Sequence[Row]]
) -> tuple[Lengths, Truncation | None, Sequence[str]]:
    """Lengths in tokens and the tokenizer's special tokens with a config, lengths in characters without."""
    if found.resolved is None:
        return measure_characters(rows), None, ()
    from affinage.curation.build import special_tokens

    answered = dict(found.splits)
    data.drop_rows_without_answer(answered, found.answer)
    if not any(map(len, answered.values())):
        return measure_characters(rows), None, ()
    lengths, truncation = measure_tokens(found.resolved, answered)
    return lengths, truncation, special_tokens(found.resolved.base_model)


def _groups(splits: Mapping[str, Sequence[Row]]) -> Groups:
    counts = {name: Counter(row["group"] for row in rows if row.get("group")) for name, rows in splits.items()}
    whole = sum(counts.values(), Counter())
    without = sum(map(len, splits.values())) - whole.total()
    return Groups({name: len(groups) for name, groups in counts.items()}, max(whole.values(), default=0), without)


def _repeated_ids(splits: Mapping[str, Sequence[Row]]) -> int:
    ids = [row["id"] for rows in splits.values() for row in rows if row.get("id")]
    return len(ids) - len(set(ids))
