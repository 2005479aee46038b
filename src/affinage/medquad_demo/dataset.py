"""Writes medquad-demo to disk: one XML file for each document, in MedQuAD's form, and the card that describes them."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from xml.etree import ElementTree

from affinage.medquad_demo import inner_conditions, outer_conditions
from affinage.medquad_demo.card import CARD
from affinage.medquad_demo.general import PARAGRAPHS, WITHOUT_ANSWERS

FOLDER = "documents"
QUESTIONS = {
    "information": "What is (are) {name} ?",
    "symptoms": "What are the symptoms of {name} ?",
    "causes": "What causes {name} ?",
    "treatment": "What are the treatments for {name} ?",
}
OVERVIEWS = 6  # documents whose first answer is several times as long as what GPT-2 is asked to read
REPEATED = 6  # documents that a second collection has as well, in nearly the same words
REMOVED = "The answers of this collection were taken out, as three subsets of the real one have none."
SECOND_OPINION = " Ask a doctor."


@dataclass(frozen=True)
class Document:
    """One page about a condition: `pairs` are the type of a question, the question and its answer, or an empty one."""

    collection: str
    number: int
    name: str
    pairs: tuple[tuple[str, str, str], ...]

    @property
    def path(self) -> str:
        return f"{self.collection}/{self.number:07d}.xml"


def make_documents(seed: int) -> list[Document]:
    """All documents by collection and number; the same for the same seed."""
    rng = Random(seed)
    named = {"1_Inside_QA": inner_conditions.CONDITIONS, "2_Outside_QA": outer_conditions.CONDITIONS}
    names = [name for conditions in named.values() for name in conditions]
    long = set(rng.sample(names, OVERVIEWS))
    documents = []
    for collection, conditions in named.items():
        for n, (name, answers) in enumerate(conditions.items(), start=1):
            first = _overview(name, answers, rng) if name in long else answers[0]
            documents.append(Document(collection, n, name, _pairs(name, (first, *answers[1:]))))
    repeated = rng.sample([one for one in documents if one.name not in long], REPEATED)
    for n, one in enumerate(repeated, start=1):
        retold = [answer + SECOND_OPINION for _, _, answer in one.pairs]
        documents.append(Document("3_Second_QA", n, one.name, _pairs(one.name, retold)))
    for n, name in enumerate(WITHOUT_ANSWERS, start=1):
        documents.append(Document("4_Removed_QA", n, name, _pairs(name, [""] * len(QUESTIONS))))
    return documents


def _pairs(name: str, answers: tuple[str, ...] | list[str]) -> tuple[tuple[str, str, str], ...]:
    asked = zip(QUESTIONS.items(), answers, strict=True)
    return tuple((kind, question.format(name=name), answer) for (kind, question), answer in asked)


def _overview(name: str, answers: tuple[str, ...], rng: Random) -> str:
    """A list of points and then paragraphs, with the white space of pages that were made into XML."""
    points = "".join(f"    - {answer}" for answer in answers[:3])
    general = [text.format(name=name.lower()) for text in rng.sample(PARAGRAPHS, len(PARAGRAPHS))]
    return f"Key Points\n{' ' * 20}{points}\n" + "".join(f"\n{' ' * 20}{text}" for text in [*answers, *general])


def write_sample(folder: Path, seed: int) -> tuple[Path, int]:
    """Writes documents/ and README.md into `folder`, made when missing; the path of the documents and how many.

    Whatever stood in documents/ goes. Each of the two is complete or absent: it is written under another name first.
    """
    documents = make_documents(seed)
    partial, place = folder / ".documents-partial", folder / FOLDER
    shutil.rmtree(partial, ignore_errors=True)
    for document in documents:
        path = partial / document.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_xml(document))
    card = folder / "README.md.partial"
    card.write_text(sample_card(documents, partial, seed), encoding="utf-8", newline="\n")
    shutil.rmtree(place, ignore_errors=True)
    partial.rename(place)
    card.replace(folder / "README.md")
    return place, len(documents)


def _xml(document: Document) -> bytes:
    source = document.collection.split("_")[1]
    number = f"{document.number:07d}"
    url = f"https://example.org/{source.lower()}/{number}"
    root = ElementTree.Element("Document", id=number, source=source, url=url)
    if not any(answer for _, _, answer in document.pairs):
        root.append(ElementTree.Comment(REMOVED))
    ElementTree.SubElement(root, "Focus").text = document.name
    pairs = ElementTree.SubElement(root, "QAPairs")
    for n, (kind, question, answer) in enumerate(document.pairs, start=1):
        pair = ElementTree.SubElement(pairs, "QAPair", pid=str(n))
        ElementTree.SubElement(pair, "Question", qid=f"{number}-{n}", qtype=kind).text = question
        ElementTree.SubElement(pair, "Answer").text = answer
    ElementTree.indent(root, "\t")
    return ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True, short_empty_elements=False) + b"\n"


def sample_card(documents: list[Document], folder: Path, seed: int) -> str:
    """The Markdown card; `folder` holds the files that its SHA-256 is of."""
    pairs = [answer for document in documents for _, _, answer in document.pairs]
    content = b"".join((folder / document.path).read_bytes() for document in documents)
    return CARD.format(
        documents=len(documents),
        pairs=len(pairs),
        empty=pairs.count(""),
        overviews=OVERVIEWS,
        repeated=REPEATED,
        removed=len(WITHOUT_ANSWERS),
        counts="\n".join(_counts(documents)),
        seed=seed,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _counts(documents: list[Document]) -> Iterator[str]:
    yield "| collection | documents | pairs | with an answer |\n|---|---:|---:|---:|"
    for collection in dict.fromkeys(document.collection for document in documents):
        own = [document for document in documents if document.collection == collection]
        answers = [answer for document in own for _, _, answer in document.pairs]
        yield f"| `{collection}` | {len(own)} | {len(answers)} | {sum(map(bool, answers))} |"
