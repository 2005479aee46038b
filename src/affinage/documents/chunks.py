"""Texts cut and put together so that each part fits what a model can read at once."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from affinage.documents.passages import PIECE, WORD

Fits = Callable[[str], bool]


@dataclass
class Cut:
    """Words that were cut off."""

    words: int = 0


def chunks(text: str, fits: Fits) -> list[str]:
    """The whole text in parts that fit, as few as follow from cutting at paragraphs and sentences.

    A sentence that does not fit is cut between words, a word between characters. Raises ValueError when not even one
    character fits.
    """
    found, start = [], 0
    sentences = [piece.end() for piece in PIECE.finditer(text)]
    words = [word.end() for word in WORD.finditer(text)]
    while start < len(text):
        end = next(filter(None, (_longest(text, start, ends, fits) for ends in (sentences, words))), None)
        end = end or _longest(text, start, range(start + 1, len(text) + 1), fits)
        if end is None:
            raise ValueError("not one character fits")
        found.append(text[start:end])
        start = end
    return [part for part in found if part.strip()]


def packed(parts: Sequence[str], fits: Fits, cut: Cut) -> list[list[str]]:
    """The parts in groups that fit when joined, fewer groups than parts when there are two or more.

    Where no two parts fit together, all lose the second half of their words, which are counted in `cut`.
    """
    while True:
        groups = _grouped(parts, fits)
        if len(groups) < len(parts) or len(parts) < 2:
            return groups
        counts = [len(WORD.findall(part)) for part in parts]
        parts = [_beginning(part, max(1, n // 2)) for part, n in zip(parts, counts, strict=True)]
        lost = sum(counts) - sum(len(WORD.findall(part)) for part in parts)
        if not lost:
            raise ValueError("no two words fit together")
        cut.words += lost


def joined(parts: Sequence[str]) -> str:
    """The parts as paragraphs."""
    return "\n\n".join(parts)


def shortened(text: str, fits: Fits, cut: Cut) -> str:
    """The text, without as many words at its end as it takes to fit."""
    if fits(text):
        return text
    ends = [word.end() for word in WORD.finditer(text)]
    end = _longest(text, 0, ends, fits) or 0
    cut.words += sum(one > end for one in ends)
    return text[:end]


def _grouped(parts: Sequence[str], fits: Fits) -> list[list[str]]:
    groups: list[list[str]] = []
    for part in parts:
        if groups and fits(joined([*groups[-1], part])):
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def _beginning(text: str, words: int) -> str:
    ends = [word.end() for word in WORD.finditer(text)]
    return text[: ends[words - 1]] if len(ends) > words else text


def _longest(text: str, start: int, ends: Sequence[int], fits: Fits) -> int | None:
    """The last of the sorted ends up to which the text from `start` fits, found in few steps; None when none does."""
    first = bisect_right(ends, start)
    step, low = 1, first - 1  # ends[low] fits
    while low + step < len(ends) and fits(text[start : ends[low + step]]):
        low += step
        step *= 2
    high = min(low + step, len(ends))  # ends[high] does not fit, or is none
    while low + 1 < high:
        middle = (low + high) // 2
        if fits(text[start : ends[middle]]):
            low = middle
        else:
            high = middle
    return ends[low] if low >= first else None
