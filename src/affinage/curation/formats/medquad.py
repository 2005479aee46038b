"""Question and answer pairs from the two XML layouts of MedQuAD, one document in each file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from affinage.curation.formats.encodings import open_binary, refuse_binary
from affinage.curation.formats.records import Place, Record, RecordFile, broken
from affinage.curation.rows import Row
from affinage.paths import display

# root -> names of: pair, question, answer, focus, the attribute that holds the id, the one that holds the collection
LAYOUTS = {
    "Document": ("QAPair", "Question", "Answer", "Focus", "id", "source"),
    "doc": ("pair", "question", "answer", "doctitle-focus", "docid", "corpus"),
}
MAX_BYTES = 4 * 2**20  # a tree of elements takes up to 80 times its text
LEFT_OUT = "annotations of the focus (UMLS codes, synonyms, category) are left out"


def open_medquad(path: Path, name: str) -> RecordFile:
    """The pairs of one document. Raises AffinageError, here or while reading, for XML that is broken or unsafe."""
    refuse_binary(path, "XML")
    return RecordFile(name, display(path), "medquad", "pair", lambda: _pairs(path), notes=(LEFT_OUT,))


def _pairs(path: Path) -> Iterator[Record]:
    root = _root(path)
    pair_tag, question_tag, answer_tag, focus_tag, id_name, corpus_name = LAYOUTS[root.tag]
    document = {
        "document": root.get(id_name, "").strip(),
        "corpus": root.get(corpus_name, "").strip(),
        "url": root.get("url", "").strip(),
        "focus": _one_line(root.findtext(focus_tag)),
    }
    pairs = list(root.iter(pair_tag))
    if not pairs:
        yield 1, document
    for n, pair in enumerate(pairs, start=1):
        question, answer = pair.find(question_tag), pair.find(answer_tag)
        yield n, document | {"question": question, "answer": answer}


def _root(path: Path) -> Element:
    with open_binary(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise broken(path, None, f"longer than {MAX_BYTES // 2**20} MiB.", "Cut it into one file for each document.")
    try:
        root = fromstring(content, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except ParseError as error:
        raise broken(path, error.position[0], f"broken XML: {error}. The file may be cut.") from error
    except DefusedXmlException as error:
        found = f"declares a document type or entities ({type(error).__name__}), which can be an attack."
        raise broken(path, None, found, "Remove the <!DOCTYPE> part.") from error
    except (ValueError, LookupError, RecursionError) as error:
        raise broken(path, None, f"XML in an encoding that is not known: {error}.") from error
    if root.tag not in LAYOUTS:
        found = f"the outermost element is <{root.tag}>."
        raise broken(path, None, found, "Name a file of MedQuAD.", ", ".join(f"<{tag}>" for tag in LAYOUTS))
    return root


def medquad_rows(record: dict[str, Any], place: Place) -> Iterator[Row]:
    """The row of one pair: label is the question type, group the document. Pairs without an answer are counted."""
    if "question" not in record:
        place.drop("document without a pair")
        return
    question, answer = record["question"], record["answer"]
    texts = {"instruction": _one_line(_text(question)), "output": _lines(_text(answer))}
    missing = next((name for name, text in (("question", "instruction"), ("answer", "output")) if not texts[text]), "")
    if missing:
        place.drop(f"empty {missing}", texts["instruction"])
        return
    # Files that describe one page share its id, and collections number their pages alike.
    group = "/".join(filter(None, (record["corpus"], record["document"] or place.file.name)))
    others = {name: record[name] for name in ("corpus", "focus", "url") if record[name]}
    row = place.row(texts, group=group, label=question.get("qtype"), others=others)
    if row:
        yield row


def _text(element: Element | None) -> str:
    return "" if element is None else "".join(element.itertext())


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _lines(text: str) -> str:
    """The text with one space between words and one line break between lines that are not blank."""
    return "\n".join(line for line in map(_one_line, text.splitlines()) if line)
