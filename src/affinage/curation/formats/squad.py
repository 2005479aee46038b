"""Rows from SQuAD, version 1 or 2: a whole article in each record, or one question."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from affinage.curation.formats.records import Place
from affinage.curation.rows import Row

PARTS = ("title", "context", "question", "answers", "id", "plausible_answers")


def squad_rows(unanswerable: str, record: dict[str, Any], place: Place) -> Iterator[Row]:
    """The rows of one record: input is the context, output the first answer, group the title.

    Questions that have no answer get `unanswerable` as output; they are counted instead when it is "". A question
    without a title is grouped by its context.
    """
    for question in _questions(record, place):
        id_ = str(question.get("id") or "")
        missing = next((name for name in ("question", "context") if not question.get(name)), "")
        answer = _first_answer(question.get("answers"))
        impossible = bool(question.get("is_impossible")) or answer == ""
        if missing:
            place.drop(f"no {missing}", id_)
        elif impossible and not unanswerable:
            place.drop("question without an answer", id_)
        elif answer is None and not impossible:
            place.drop("no answers, or none that SQuAD knows", id_)
        else:
            texts = {"instruction": question["question"], "input": question["context"]}
            texts["output"] = unanswerable if impossible else answer
            others = {name: value for name, value in question.items() if name not in PARTS}
            row = place.row(texts, id_, question.get("title") or _context_name(question["context"]), None, others)
            if row:
                yield row


def _questions(record: dict[str, Any], place: Place) -> Iterator[Mapping[str, Any]]:
    """Each question with its title and context; what holds none is counted."""
    if "paragraphs" not in record:
        yield record
        return
    title = record.get("title")
    paragraphs = record["paragraphs"] if isinstance(record["paragraphs"], list) else []
    if not paragraphs:
        place.drop("article without paragraphs", str(title))
    for paragraph in paragraphs:
        questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
        if not isinstance(questions, list) or not questions:
            place.drop("paragraph without questions", str(title))
            continue
        for question in questions:
            if isinstance(question, dict):
                yield question | {"title": title, "context": paragraph.get("context")}
            else:
                place.drop("question that is no object", str(title))


def _first_answer(answers: Any) -> str | None:
    """The first answer in either layout, "" when there is none, None when the layout is another."""
    if isinstance(answers, dict):
        texts = answers.get("text")
    else:
        texts = [part.get("text") if isinstance(part, dict) else None for part in answers or []]
    if answers is None or not isinstance(texts, list):
        return None
    if not texts:
        return ""
    return texts[0] if isinstance(texts[0], str) else None


def _context_name(context: Any) -> str:
    return "context-" + hashlib.sha256(str(context).encode()).hexdigest()[:16]
