"""Documents cut into passages that overlap a little, at the ends of paragraphs and sentences where there are any."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from affinage.documents.reading import Document, Page

WORDS, OVERLAP = 180, 40  # of a passage, and of them at most those that it shares with the one before
# The end of a sentence is followed by a space and what begins one; an abbreviation may cut too, which does no harm.
PIECE = re.compile(r".+?(?:\n\s*\n\s*|(?<=[.!?…])[»\")]*\s+(?=[\w«\"(\-])|\Z)", re.DOTALL)
WORD = re.compile(r"\S+")
# A line of Markdown that begins with #, or a short paragraph of one line that does not end like a sentence.
HEADING = re.compile(r"^#{1,6} .+$|(?:(?<=\n\n)|\A)[^\n]{1,80}[^\n.!?…:;,](?=\n[ \t]*\n)", re.MULTILINE)
OPENING_WORDS = 25


@dataclass(frozen=True)
class Passage:
    """A part of a page as it stands there: `text` begins `start` characters after the page's beginning.

    `context` says what the passage is about where it may not say so itself: the words that a
    numbered page begins with, and the heading above the passage. It is searched with the passage.
    """

    file: str
    page: int | None
    start: int
    text: str
    context: str = ""

    @property
    def searched(self) -> str:
        """What is searched: the context and the text."""
        return f"{self.context}\n\n{self.text}" if self.context else self.text


def passages_of(documents: Iterable[Document], words: int = WORDS, overlap: int = OVERLAP) -> list[Passage]:
    """The passages of every page in order, at most `words` long; none goes over the end of a page.

    Raises ValueError unless 0 <= overlap < words.
    """
    if not 0 <= overlap < words:
        raise ValueError(f"an overlap of {overlap} words does not fit passages of {words}")
    return [
        passage
        for document in documents
        for page in document.pages
        for passage in _of_page(document.name, page, words, overlap)
    ]


def _of_page(name: str, page: Page, words: int, overlap: int) -> Iterator[Passage]:
    headings = list(HEADING.finditer(page.text))
    opening = [word.end() for word in islice(WORD.finditer(page.text), OPENING_WORDS)]
    first_words = page.text[: opening[-1]] if page.number and opening else ""
    headings = [heading for heading in headings if heading.start() >= len(first_words)]
    above = 0  # headings that stand before the passage
    for start, end in _cut(page, words, overlap):
        while above < len(headings) and headings[above].start() < start:
            above += 1
        context = [first_words] if start and first_words else []
        context += [headings[above - 1][0]] if above else []
        yield Passage(name, page.number, start, page.text[start:end], "\n".join(context))


def _cut(page: Page, words: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Start and end, in characters, of each passage."""
    pieces = [part for found in PIECE.finditer(page.text) for part in _parts(page.text, *found.span(), words)]
    first = 0
    while first < len(pieces):
        last, total = first, pieces[first][2]
        while last + 1 < len(pieces) and total + pieces[last + 1][2] <= words:
            last += 1
            total += pieces[last][2]
        yield pieces[first][0], pieces[last][1]
        if last + 1 == len(pieces):
            return
        following, shared = last + 1, 0
        allowed = min(overlap, words - pieces[following][2])  # what comes next must fit as well
        while following - 1 > first and shared + pieces[following - 1][2] <= allowed:
            following -= 1
            shared += pieces[following][2]
        first = following


def _parts(text: str, start: int, end: int, words: int) -> Iterator[tuple[int, int, int]]:
    """A sentence as start, end and number of its words, in several where it is longer than a passage."""
    spans = [found.span() for found in WORD.finditer(text, start, end)]
    for first in range(0, len(spans), words):
        some = spans[first : first + words]
        yield some[0][0], some[-1][1], len(some)
