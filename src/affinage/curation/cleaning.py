"""Cleans rows step by step, and counts what every step saw, changed and dropped."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from affinage.curation.duplicates import drop_exact, drop_near, row_text
from affinage.curation.languages import UNKNOWN, known_languages, language_of
from affinage.curation.markup import is_about_markup, without_markup
from affinage.curation.rows import TEXTS, Counts, Row

Change = Callable[[Row], dict[str, str]]  # the texts of a row that become others, by column
Reason = Callable[[Row], str]  # why a row is dropped, "" when it stays

_LINE_ENDS = "\x0b\x0c\u2028\u2029"
_INVISIBLE = "\u00ad\u200b\u2060\ufeff"  # soft hyphen, zero-width space, word joiner, byte order mark


def _control_characters() -> dict[int, str]:
    table = {code: "" for code in (*range(32), 0x7F) if chr(code) not in "\t\n\r"}
    # Windows-1252 read as Latin-1 leaves these: 0x92 is an apostrophe, as in HTML.
    table |= {code: bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)}
    return table | dict.fromkeys(map(ord, _LINE_ENDS), "\n") | dict.fromkeys(map(ord, _INVISIBLE), "")


CONTROL_CHARACTERS = _control_characters()
_CONTROL = re.compile(f"[{re.escape(''.join(map(chr, CONTROL_CHARACTERS)))}]")


class CleaningRules(BaseModel):
    """What `clean` does to rows. "report" only counts what it finds, "keep" does not look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    normalize_unicode: bool = True
    control_characters: Literal["strip", "report", "keep"] = "strip"
    html: Literal["strip", "report", "keep"] = "strip"
    special_tokens: list[str] = []  # of the base model's tokenizer: in a text, they end or open what they should not
    special_tokens_action: Literal["strip", "drop", "report"] = "report"
    whitespace: bool = True  # line ends as \n, nothing around the text
    drop_empty: bool = True  # rows without an answer
    drop_output_equals_input: bool = True
    min_output_chars: int = Field(default=1, ge=0)
    max_chars: int | None = Field(default=None, gt=0)  # of all texts of a row, as are the words
    min_words: int = Field(default=0, ge=0)
    max_words: int | None = Field(default=None, gt=0)
    languages: list[str] = []  # ISO 639 codes of the languages wanted; none: any
    language_action: Literal["report", "drop"] = "report"
    exact_duplicates: bool = True
    near_duplicates: Annotated[float, Field(gt=0, le=1)] | None = None  # the Jaccard index from which rows are dropped

    @field_validator("special_tokens")
    @classmethod
    def _tokens_are_not_empty(cls, tokens: list[str]) -> list[str]:
        if not all(map(str.strip, tokens)):
            raise ValueError("a special token is empty or white space")
        return tokens

    @field_validator("languages")
    @classmethod
    def _languages_are_known(cls, languages: list[str]) -> list[str]:
        if unknown := sorted(set(languages) - set(known_languages() if languages else [])):
            raise ValueError(f"unknown language codes {', '.join(unknown)}; known are {', '.join(known_languages())}")
        return languages


def clean(rows: Iterable[Row], rules: CleaningRules, counts: Counts) -> Iterator[Row]:
    """The rows that the rules keep, changed as the rules say; rows given are never changed in place.

    Every step counts in `counts` the rows "seen", and by reason those "changed...", "found..." (reported only) and
    "dropped...", so that seen less dropped is what the next step sees. Steps run in the order of this function. All
    but near duplicates stream: those read every row, which wait on disk, before the first comes out.
    """
    if rules.html != "keep":
        rows = _change(rows, counts, "html", _html(counts), report=rules.html == "report")
    if rules.control_characters != "keep":
        report = rules.control_characters == "report"
        rows = _change(rows, counts, "control characters", _each_text(without_control_characters), report)
    if rules.normalize_unicode:
        rows = _change(rows, counts, "unicode", _each_text(lambda text: unicodedata.normalize("NFC", text)))
    if rules.special_tokens:
        rows = _special_tokens(rows, counts, rules)
    if rules.whitespace:
        rows = _change(rows, counts, "white space", _each_text(_trimmed))
    for step, reason in _reasons(rules):
        rows = _drop(rows, counts, step, reason)
    if rules.languages:
        rows = _languages(rows, counts, rules)
    if rules.exact_duplicates:
        rows = drop_exact(rows, counts)
    if rules.near_duplicates is not None:
        rows = drop_near(rows, rules.near_duplicates, counts)
    yield from rows


def without_control_characters(text: str) -> str:
    """The text without control and invisible characters; those that end lines, or that stand for others, become these.

    Joiners and direction marks stay: emoji, Persian and Arabic need them.
    """
    return text.translate(CONTROL_CHARACTERS) if _CONTROL.search(text) else text


def _change(rows: Iterable[Row], counts: Counts, step: str, change: Change, report: bool = False) -> Iterator[Row]:
    """Rows with the texts that `change` gives anew, or as they are when these are only to be reported."""
    for row in rows:
        counts.add(step, "seen")
        if texts := change(row):
            counts.add(step, "found" if report else "changed", example=_difference(row, *next(iter(texts.items()))))
        yield row | texts if texts and not report else row


def _drop(rows: Iterable[Row], counts: Counts, step: str, reason: Reason) -> Iterator[Row]:
    for row in rows:
        counts.add(step, "seen")
        if why := reason(row):
            counts.add(step, f"dropped: {why}", example=f"{row.get('id', '')}: {row_text(row)}")
        else:
            yield row


def _each_text(change: Callable[[str], str]) -> Change:
    def changed(row: Row) -> dict[str, str]:
        texts = {name: row[name] for name in TEXTS if row.get(name)}
        return {name: new for name, text in texts.items() if (new := change(text)) != text}

    return changed


def _difference(row: Row, column: str, new: str) -> str:
    """Where a text first changes, before and after, with invisible characters spelt out."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(row[column], new, strict=False))
    at = max(0, sum(1 for _ in same) - 20)
    before, after = (text[at : at + 60] for text in (row[column], new))
    return f"{row.get('id', '')} {column}: {before!r} became {after!r}"


def _html(counts: Counts) -> Change:
    strip = _each_text(without_markup)

    def change(row: Row) -> dict[str, str]:
        texts = strip(row)
        if texts and is_about_markup(row_text(row)):
            counts.add("html", "kept: the row is about markup", example=f"{row.get('id', '')}: {row_text(row)}")
            return {}
        return texts

    return change


def _special_tokens(rows: Iterable[Row], counts: Counts, rules: CleaningRules) -> Iterator[Row]:
    tokens = re.compile("|".join(map(re.escape, sorted(rules.special_tokens, key=len, reverse=True))))

    def strip(text: str) -> str:
        while (stripped := tokens.sub("", text)) != text:  # what is left of "<</s>/s>" is a token again
            text = stripped
        return text

    if rules.special_tokens_action == "drop":
        return _drop(
            rows, counts, "special tokens", lambda row: "special token" if tokens.search(row_text(row)) else ""
        )
    return _change(rows, counts, "special tokens", _each_text(strip), rules.special_tokens_action == "report")


def _trimmed(text: str) -> str:
    """Line ends as \\n; no white space at the end, no blank line before, no indent of a single line."""
    text = re.sub(r"\A(?:[^\S\n]*\n)+", "", text.replace("\r\n", "\n").replace("\r", "\n")).rstrip()
    return text if "\n" in text else text.lstrip()


def _reasons(rules: CleaningRules) -> Iterator[tuple[str, Reason]]:
    """The steps that drop a row for what it says, in order."""
    if rules.drop_empty:
        yield "empty answers", lambda row: "" if row["output"].strip() else "empty answer"
    if rules.drop_output_equals_input:
        yield "answers equal to inputs", lambda row: "answer equals input" if _repeats_input(row) else ""
    yield "lengths", lambda row: _length_fault(row, rules)


def _repeats_input(row: Row) -> bool:
    """Whether the answer is the input, or without one the instruction; case counts, as capitals may be the task."""
    answer = row["output"].split()
    return bool(answer) and answer == (row.get("input") or row["instruction"]).split()


def _length_fault(row: Row, rules: CleaningRules) -> str:
    answer, text = len(row["output"].strip()), row_text(row)
    words = len(text.split())
    if answer < rules.min_output_chars:
        return f"answer under {rules.min_output_chars} characters"
    if rules.max_chars is not None and len(text) > rules.max_chars:
        return f"over {rules.max_chars} characters"
    if words < rules.min_words:
        return f"under {rules.min_words} words"
    if rules.max_words is not None and words > rules.max_words:
        return f"over {rules.max_words} words"
    return ""


def _languages(rows: Iterable[Row], counts: Counts, rules: CleaningRules) -> Iterator[Row]:
    for row in rows:
        language = language_of(row_text(row))
        counts.add("languages", "seen")
        counts.add("languages", f"found: {language}")
        if rules.language_action == "drop" and language not in (UNKNOWN, *rules.languages):
            counts.add("languages", f"dropped: {language}", example=f"{row.get('id', '')}: {row_text(row)}")
        else:
            yield row
