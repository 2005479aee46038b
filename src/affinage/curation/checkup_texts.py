"""What is wrong inside single texts: nothing there, markup left over, characters and tokens that do not belong."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from tqdm import tqdm

from affinage.console import progress_bar_options
from affinage.curation.checkup_duplicates import Place, place_of
from affinage.curation.cleaning import without_control_characters
from affinage.curation.duplicates import row_text
from affinage.curation.languages import language_of
from affinage.curation.markup import is_about_markup, without_markup
from affinage.curation.personal_data import SECRETS, STEP, hidden, scan
from affinage.curation.rows import TEXTS, Counts, Row

EXAMPLES = 5
Check = Callable[[Row], str]  # what to show of a row that has it, "" for one that has not
FOUND = "found: "  # how `scan` starts its reasons
AROUND = 30  # characters shown before what was found; twice as many from there on
WELL_KNOWN_TOKENS = ("<s>", "</s>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "[INST]", "[/INST]")


@dataclass(frozen=True)
class TextCheck:
    """One thing looked for in every row: how many rows of each split have it, and where for example."""

    name: str
    rows: dict[str, int]
    examples: list[Place]


@dataclass(frozen=True)
class PersonalData:
    """Rows of each split that hold each kind of personal data, in any column; kinds that none holds are left out.

    `samples` are masked; `secrets` are the kinds, such as keys, that open something.
    """

    rows: dict[str, dict[str, int]]
    samples: dict[str, list[str]]
    secrets: list[str]


def check_texts(splits: Mapping[str, Sequence[Row]], special_tokens: Sequence[str] = ()) -> list[TextCheck]:
    """Looks for what no row should hold; `special_tokens` are those of the tokenizer, else well-known ones."""
    checks = _checks(special_tokens or WELL_KNOWN_TOKENS)
    found = {name: TextCheck(name, dict.fromkeys(splits, 0), []) for name in checks}
    total = sum(map(len, splits.values()))
    with tqdm(total=total, desc="looking at texts", unit=" rows", delay=1, **progress_bar_options()) as bar:
        for split, rows in splits.items():
            for number, row in enumerate(rows):
                for name, check in checks.items():
                    if check(row):
                        found[name].rows[split] += 1
                        if len(found[name].examples) < EXAMPLES:
                            found[name].examples.append(_example(split, number, row, check))
                bar.update()
    return list(found.values())


def _checks(special_tokens: Sequence[str]) -> dict[str, Check]:
    tokens = re.compile("|".join(map(re.escape, sorted(special_tokens, key=len, reverse=True))))
    return {
        "no answer": lambda row: "" if row["output"].strip() else _question(row) or "(no question either)",
        "no question": lambda row: "" if _question(row).strip() else row["output"] or "(no answer either)",
        "answer repeats the input": _repeated,
        "HTML left over": lambda row: "" if is_about_markup(row_text(row)) else _changed(without_markup, row),
        "control characters": lambda row: _changed(without_control_characters, row),
        "special tokens in text": lambda row: _changed(lambda text: tokens.sub("", text), row),
        "not in Unicode form NFC": lambda row: _changed(lambda text: unicodedata.normalize("NFC", text), row),
    }


def _example(split: str, number: int, row: Row, check: Check) -> Place:
    """What the check shows of the row once personal data is masked, which may be nothing."""
    masked = row | {column: hidden(row[column]) for column in TEXTS}
    return place_of(split, number, row, check(masked) or "(masked)")


def _question(row: Row) -> str:
    return row_text(row, TEXTS[:2])


def _repeated(row: Row) -> str:
    """The answer when it is the input, or without one the instruction; case counts, as capitals may be the task."""
    answer = row["output"].split()
    return row["output"] if answer and answer == (row["input"] or row["instruction"]).split() else ""


def _changed(change: Callable[[str], str], row: Row) -> str:
    """Where `change` would first change a text of the row, with invisible characters spelt out; "" when nowhere."""
    for name in TEXTS:
        if (new := change(row[name])) != row[name]:
            at = next((i for i, (a, b) in enumerate(zip(row[name], new, strict=False)) if a != b), len(new))
            return f"{name}: {row[name][max(0, at - AROUND) : at + 2 * AROUND]!r}"
    return ""


def find_languages(splits: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, int]]:
    """Rows by language of the answer (ISO 639 code, or "unknown") and split, the most frequent first."""
    counts: dict[str, Counter[str]] = {}
    total = sum(map(len, splits.values()))
    with tqdm(total=total, desc="guessing languages", unit=" rows", delay=1, **progress_bar_options()) as bar:
        for split, rows in splits.items():
            counts[split] = Counter()
            for row in rows:
                counts[split][language_of(row["output"])] += 1
                bar.update()
    languages = sum(counts.values(), Counter[str]()).most_common()
    return {language: {split: counts[split][language] for split in splits} for language, _ in languages}


def find_personal_data(splits: Mapping[str, pd.DataFrame]) -> PersonalData:
    """Looks for personal data and secrets in every column of text, as `personal_data.scan` does."""
    counts = {name: Counts() for name in splits}
    for name, frame in splits.items():
        rows = (dict(zip(frame.columns, cells, strict=True)) for cells in frame.itertuples(index=False, name=None))
        bar = tqdm(rows, f"looking for personal data in {name}", len(frame), delay=1, **progress_bar_options())
        for _ in scan(bar, "report", counts[name]):
            pass
    found = dict.fromkeys(reason for one in counts.values() for reason in one.steps[STEP] if reason.startswith(FOUND))
    return PersonalData(
        {reason.removeprefix(FOUND): {name: counts[name].of(STEP, reason) for name in splits} for reason in found},
        {reason.removeprefix(FOUND): _samples(counts.values(), reason) for reason in found},
        list(SECRETS),
    )


def _samples(counts: Iterable[Counts], reason: str) -> list[str]:
    return [example for one in counts for example in one.examples.get((STEP, reason), [])][:EXAMPLES]
