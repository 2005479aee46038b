"""A handbook of 30 pages about one place each, with facts and talk; the same one for the same seed."""

import random
from dataclasses import dataclass
from types import ModuleType

from affinage.documents.reading import Document, Page
from affinage.documents_demo import words_en, words_fr

WORDS: dict[str, ModuleType] = {"en": words_en, "fr": words_fr}
FILLERS_ON_A_PAGE = 36
UNNAMED = 0.25  # of the statements say "this place" instead of its name
INTRODUCED = 0.8  # of the pages say the other name of their place, at their beginning
OTHER_NAME = 0.25  # of the questions call the place by another name
THIS_PLACE = {"en": "this place", "fr": "ce lieu"}


@dataclass(frozen=True)
class Question:
    """`page` and `answer`, a piece of the sentence that answers it, are None for one that nothing answers.

    `kind` is "named" or "other name" (of the place), or for the unanswerable "unknown place", "unknown fact" or
    "off topic".
    """

    text: str
    kind: str
    page: int | None = None
    answer: str | None = None


def handbook(language: str, seed: int = 0) -> tuple[Document, list[Question]]:
    """The handbook in a language ("en", "fr"), and questions: 180 that it answers and 104 that it does not."""
    words, draw = WORDS[language], random.Random(f"{language} {seed}")
    names = [line.split("|") for line in words.PLACES.split("\n") if line]
    pages, questions = [], []
    for number, (name, other_name) in enumerate(names, start=1):
        others = [place for place, _ in names if place != name]
        said = []
        for fact, (statement, asked) in words.FACTS.items():
            value = _value(fact, draw, words.PEOPLE.split("|"))
            called = THIS_PLACE[language] if draw.random() < UNNAMED else name
            said.append(_sentence(statement.format(called, value=value)))
            kind = "other name" if draw.random() < OTHER_NAME else "named"
            text = draw.choice(asked).format(other_name if kind == "other name" else name)
            questions.append(Question(_sentence(text), kind, number, said[-1]))
        fillers = draw.sample(words.FILLERS, FILLERS_ON_A_PAGE)
        said += [_sentence(filler.format(draw.choice(others))) for filler in fillers]
        draw.shuffle(said)
        both_names = draw.random() < INTRODUCED
        introduction = draw.choice(words.INTRODUCTIONS) if both_names else words.PLAIN_INTRODUCTION
        paragraphs = [" ".join(said[i : i + 4]) for i in range(0, len(said), 4)]
        opening = [_sentence(words.TITLE.format(name)), _sentence(introduction.format(name, other=other_name))]
        pages.append(Page(number, "\n\n".join([*opening, *paragraphs])))
    return Document(f"handbook-{language}.pdf", f"{language}{seed}", tuple(pages)), questions + _unanswerable(
        words, draw
    )


def _unanswerable(words: ModuleType, draw: random.Random) -> list[Question]:
    asked = [question for _, some in words.FACTS.values() for question in some]
    names = [line.split("|")[0] for line in words.PLACES.split("\n") if line]
    found = [
        Question(_sentence(question.format(place)), "unknown place")
        for place in words.UNKNOWN_PLACES.split("|")
        for question in draw.sample(asked, 6)
    ]
    found += [
        Question(_sentence(question.format(name)), "unknown fact")
        for question in words.UNKNOWN_FACTS
        for name in draw.sample(names, 15)
    ]
    return found + [Question(text, "off topic") for text in words.OFF_TOPIC]


def _value(fact: str, draw: random.Random, people: list[str]) -> str:
    match fact:
        case "closing":
            return f"{draw.randint(16, 22)}:{draw.choice(('05', '10', '20', '25', '35', '50'))}"
        case "keeper":
            return draw.choice(people)
        case "damage":
            return f"{draw.choice('BCDFGH')}{draw.randint(10, 99)}"
        case "request":
            return str(draw.randint(2, 27))
        case _:
            return str(draw.randint(3, 60))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
