"""Cuts raw text into conversations, and has a model find the questions and answers in each."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from affinage.curation.formats.encodings import find_encoding, text_lines
from affinage.curation.formats.files import SourceFile, data_files, fingerprint
from affinage.curation.rows import Counts, Row, ordered
from affinage.curation.steps.asking import Work, object_schema
from affinage.curation.steps.recipe import Segment
from affinage.curation.steps.shingles import share_in, shingles
from affinage.errors import AffinageError, Problem
from affinage.ollama_replies import Reply
from affinage.paths import display

PARTS = ("question", "context", "answer")
QUOTE_MARKS = re.compile(r"^[ \t]*(?:>[ \t]?)+", re.MULTILINE)
TEXT = {"type": "string", "minLength": 1}


@dataclass(frozen=True)
class Document:
    """A conversation of a raw file, or the whole file; `source` names the file and the line it begins on."""

    id: str
    source: str
    text: str
    captured: dict[str, str]

    @property
    def item(self) -> dict[str, str]:
        """How lists of what went wrong name it."""
        return {"id": self.id, "source": self.source}


def read_documents(place: Path, step: Segment, counts: Counts) -> tuple[list[Document], list[SourceFile], list[str]]:
    """The documents of a text file, or of the text files in a folder; the files; and notes about what was guessed.

    Text before the first conversation is counted. Raises AffinageError for a file that is no text, and when
    `conversation_start` matches nowhere.
    """
    paths, notes = data_files(place, "text")
    found: list[Document] = []
    for path in paths:
        encoding, note = find_encoding(path)
        notes += [f"{path.name}: {note}"] if note else []
        name = path.relative_to(place).as_posix() if place.is_dir() else path.name
        text = "".join(text_lines(path, encoding)).replace("\r\n", "\n")
        found += _documents(name, text, step, counts)
    if not found:
        remedy = "Change conversation_start in curate.yaml; ^ matches at the beginning of every line."
        raise AffinageError(Problem(display(place), "no conversation begins there.", remedy=remedy))
    return found, [fingerprint(path) for path in paths], notes


def _documents(name: str, text: str, step: Segment, counts: Counts) -> Iterator[Document]:
    starts = [0]
    if step.conversation_start:
        starts = [found.start() for found in re.finditer(step.conversation_start, text, re.MULTILINE)]
        before = text[: starts[0] if starts else len(text)].strip()
        if before:
            counts.add(step.name, "text before the first conversation", example=f"{name}: {before}")
    stem = name.rpartition(".")[0] or name
    for n, (start, end) in enumerate(pairwise([*starts, len(text)]), start=1):
        part = text[start:end].strip("\n")
        if part.strip():
            line = text.count("\n", 0, start) + 1
            yield Document(f"{stem}-{n:04d}", f"{name}#{line}", part, _captured(part, step, counts))


def _captured(text: str, step: Segment, counts: Counts) -> dict[str, str]:
    captured = {}
    for column, pattern in step.capture.items():
        found = re.search(pattern, text, re.MULTILINE)
        captured[column] = (found[1] if found.re.groups else found[0]).strip() if found else ""
        if not found:
            counts.add(step.name, f"no {column} found", example=text)
    return captured


def segment(documents: Sequence[Document], step: Segment, work: Work) -> list[Row]:
    """One row for each question that the model finds answered in a document; the document is the row's group.

    A row whose question, context or answer is less than `min_copied` copied from the document is listed in
    `work.unparsed` and not used, like an answer that is not valid.
    """
    schema = _schema(step)
    pieces = [(document, piece) for document in documents for piece in _pieces(document.text, step.max_chars)]
    replies = work.ask(step, [{"text": piece} for _, piece in pieces], schema)
    answered: dict[str, list[Reply]] = {}
    for (document, _), [reply] in zip(pieces, replies, strict=True):
        answered.setdefault(document.id, []).append(reply)
    rows: list[Row] = []
    for document in documents:
        work.counts.add(step.name, "seen")
        if len(answered[document.id]) > 1:
            work.counts.add(step.name, "documents cut into pieces", example=document.id)
        made = list(_rows(document, answered[document.id], step, work))
        for row in made:
            work.decide(step, schema, row, document.text, _shown(row))
        if len(made) > 1:
            work.counts.add(step.name, "added: further rows of a document", len(made) - 1)
        if not made:
            empty = all(reply.ok and not reply.value["exchanges"] for reply in answered[document.id])
            reason = "no answered question found" if empty else "no usable answer"
            work.counts.add(step.name, f"dropped: {reason}", example=document.id)
        rows += made
    return rows


def _schema(step: Segment) -> dict[str, Any]:
    parts: dict[str, Any] = {"question": TEXT, "context": {"type": "string"}, "answer": TEXT}
    if not step.conversation_start:
        parts = {"conversation": {"type": "integer", "minimum": 1}} | parts
    return object_schema({"exchanges": {"type": "array", "items": object_schema(parts)}})


def _pieces(text: str, max_chars: int) -> Iterator[str]:
    """The text in pieces of at most that length, cut between paragraphs where that is possible."""
    while len(text) > max_chars:
        cut = max(text.rfind("\n\n", 0, max_chars), 0) or max(text.rfind("\n", 0, max_chars), 0) or max_chars
        yield text[:cut]
        text = text[cut:].lstrip("\n")
    yield text


def _rows(document: Document, replies: Sequence[Reply], step: Segment, work: Work) -> Iterator[Row]:
    known = shingles(QUOTE_MARKS.sub("", document.text))
    made = 0
    for piece, reply in enumerate(replies, start=1):
        if not reply.ok:
            work.counts.add(step.name, f"answers not used: {reply.status}", example=f"{document.id}: {reply.content}")
            work.reject(step.name, str(reply.status), document.item, reply)
            continue
        for exchange in reply.value["exchanges"]:
            copied = min(share_in(QUOTE_MARKS.sub("", exchange[part]), known) for part in PARTS)
            if copied < step.min_copied or not (exchange["question"].strip() and exchange["answer"].strip()):
                reason = "exchanges not used: not in the source text"
                work.counts.add(step.name, reason, example=f"{document.id}: {exchange['question']}")
                work.reject(step.name, "not_in_source", document.item, copied=round(copied, 3), exchange=exchange)
                continue
            made += 1
            yield _row(document, exchange, made, piece) | work.provenance(step, _schema(step))


def _row(document: Document, exchange: Mapping[str, Any], number: int, piece: int) -> Row:
    group = document.id
    if "conversation" in exchange:
        group = f"{document.id}.{piece}.{exchange['conversation']}"
    row = {
        "instruction": exchange["question"].strip(),
        "input": exchange["context"].strip(),
        "output": exchange["answer"].strip(),
        "id": f"{document.id}.{number}",
        "group": group,
        "source": document.source,
        "parent_id": "",
        "synthetic": False,
    }
    return ordered(row | document.captured)


def _shown(row: Row) -> str:
    context = f"\n[{row['input']}]" if row["input"] else ""
    return f"Q: {row['instruction']}{context}\n\nR: {row['output']}"
