"""The passages that answer a question, found by words (BM25); `embeddings` finds them by meaning."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

import bm25s
import numpy as np

from affinage.documents.passages import Passage
from affinage.documents.terms import reading_language, terms

FOUND = 5  # passages, unless told otherwise
WORD_THRESHOLD = 0.15  # measured: docs/app.md


@dataclass(frozen=True)
class Found:
    """A passage and how well it fits, from 0 to 1."""

    passage: Passage
    score: float


class Index(Protocol):
    """Passages that can be searched."""

    passages: Sequence[Passage]
    threshold: float  # the score below which nothing counts as found, unless told otherwise

    def search(self, question: str, k: int = FOUND, threshold: float | None = None) -> list[Found]:
        """The k best passages, the best first; none when not one of them has a score of the threshold or more."""
        ...


def above(found: list[Found], threshold: float) -> list[Found]:
    """All of them when the best score reaches the threshold, else none."""
    return found if max((one.score for one in found), default=-1.0) >= threshold else []


class WordIndex:
    """BM25 over the words of the passages, of each file in its own language.

    BM25 puts passages in order; its sum has no upper bound and says nothing about whether a passage answers. So the
    score is the share of the question's terms that a passage holds, each weighed by how rare it is (its idf).
    """

    threshold = WORD_THRESHOLD

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages
        self._languages = np.array(_languages(passages))
        found = [
            [_marked(language, term) for term in terms(passage.searched, language)]
            for passage, language in zip(passages, self._languages, strict=True)
        ]
        self._terms = [frozenset(some) for some in found]
        self._holding = Counter(term for some in self._terms for term in some)
        self._bm25 = None
        if self._holding:
            self._bm25 = bm25s.BM25(method="lucene")
            self._bm25.index(found, show_progress=False)

    def search(self, question: str, k: int = FOUND, threshold: float | None = None) -> list[Found]:
        """See `Index`; a passage with a score of 0 is never found."""
        asked = {language: set(self._asked(question, language)) for language in set(self._languages.tolist())}
        known = sorted(term for some in asked.values() for term in some if term in self._holding)
        if self._bm25 is None or not known:
            return []
        ranked = self._bm25.get_scores(known)
        best = [i for i in np.argsort(-ranked, kind="stable")[:k].tolist() if ranked[i] > 0]
        found = [Found(self.passages[i], self._share(asked[self._languages[i]], i)) for i in best]
        return above(found, self.threshold if threshold is None else threshold)

    def _asked(self, question: str, language: str) -> list[str]:
        return [_marked(language, term) for term in terms(question, language)]

    def _share(self, asked: set[str], passage: int) -> float:
        whole = sum(map(self._idf, asked))
        return sum(self._idf(term) for term in asked & self._terms[passage]) / whole if whole else 0.0

    def _idf(self, term: str) -> float:
        """The idf of BM25 in its positive form; a term that no passage holds weighs as much as one in a single one."""
        n = max(1, self._holding[term])
        return float(np.log1p((len(self.passages) - n + 0.5) / (n + 0.5)))


def _languages(passages: Sequence[Passage]) -> list[str]:
    """The language of the file that each passage is from."""
    found: list[str] = []
    for _, some in groupby(passages, key=lambda passage: passage.file):
        texts = [passage.text for passage in some]
        found += [reading_language("\n".join(texts[:20]))] * len(texts)
    return found


def _marked(language: str, term: str) -> str:
    return f"{language}:{term}"
