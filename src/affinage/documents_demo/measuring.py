"""How often the right passage of the handbooks is found, and how often a question is rightly said to have none."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from scipy.stats import binomtest

from affinage.documents.passages import Passage, passages_of
from affinage.documents.retrieval import FOUND, Found, Index
from affinage.documents_demo.handbook import Question, handbook

CONFIDENCE = 0.95
Share = dict[str, float | int]  # of, n, share, low, high


def measure(index_of: Callable[[Sequence[Passage]], Index], language: str, seeds: Iterable[int]) -> dict[str, Any]:
    """Shares, with Wilson intervals, over the questions on one handbook for each seed.

    "recall@1" and "recall@5" are without a threshold, "found at the threshold" is recall@5 with it, and "refused" how
    often the threshold left nothing; each for all questions and for each kind.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    passages = 0
    for seed in seeds:
        document, questions = handbook(language, seed)
        index = index_of(passages_of([document]))
        passages += len(index.passages)
        for question in questions:
            found = index.search(question.text, FOUND, 0.0)
            refused = not index.search(question.text, FOUND)
            for kind in (question.kind, "answerable" if question.page else "unanswerable"):
                counts[kind].update({"n": 1, "refused": refused, **_ranks(question, found, refused)})
    answerable = ("answerable", "named", "other name")
    return {
        "passages": passages,
        "recall@1": {kind: _share(counts[kind], "first") for kind in answerable},
        "recall@5": {kind: _share(counts[kind], "found") for kind in answerable},
        "found at the threshold": {kind: _share(counts[kind], "kept") for kind in answerable},
        "refused": {kind: _share(some, "refused") for kind, some in counts.items()},
    }


def _ranks(question: Question, found: Sequence[Found], refused: bool) -> dict[str, int]:
    right = [one.passage.page == question.page and str(question.answer) in one.passage.text for one in found]
    return {"first": any(right[:1]), "found": any(right), "kept": any(right) and not refused}


def _share(counts: Counter[str], what: str) -> Share:
    interval = binomtest(counts[what], counts["n"]).proportion_ci(CONFIDENCE, method="wilson")
    share = counts[what] / counts["n"]
    return {"of": counts[what], "n": counts["n"], "share": share, "low": interval.low, "high": interval.high}
