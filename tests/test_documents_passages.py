"""Passages: nothing is lost, none is too long, they begin and end where sentences do and know where they are from."""

import random

import pytest

from affinage.documents.passages import OPENING_WORDS, passages_of
from affinage.documents.reading import Document, Page


def document(*texts, numbered=True, name="a.pdf"):
    return Document(name, "0", tuple(Page(n if numbered else None, text) for n, text in enumerate(texts, start=1)))


def text_of(draw, sentences, longest):
    """Random sentences of up to `longest` words, in paragraphs."""
    found = []
    for _ in range(sentences):
        words = ["Mot", *(draw.choice(["un", "deux", "l'été", "3,5", "x-y"]) for _ in range(draw.randint(0, longest)))]
        found.append(" ".join(words) + draw.choice([". ", " ! ", "\n\n", ".\n", " « fin ». "]))
    return "".join(found)


@pytest.mark.parametrize("seed", range(20))
def test_every_word_is_in_a_passage_and_every_passage_is_cut_out_of_its_page(seed):
    draw = random.Random(seed)
    text = text_of(draw, draw.randint(1, 60), draw.choice([5, 40, 90]))
    words, overlap = draw.choice([(40, 0), (40, 10), (40, 39), (1, 0), (180, 40)])
    found = passages_of([document(text)], words, overlap)
    assert all(passage.text == text[passage.start :][: len(passage.text)] for passage in found)
    assert all(1 <= len(passage.text.split()) <= words for passage in found)
    covered = {i for passage in found for i in range(passage.start, passage.start + len(passage.text))}
    assert all(i in covered for i, character in enumerate(text) if not character.isspace())
    ends = [passage.start + len(passage.text) for passage in found]
    assert ends == sorted(set(ends)), "each goes further than the one before"
    shared = [len(text[b.start : end].split()) for end, b in zip(ends, found[1:], strict=False) if b.start < end]
    assert max(shared, default=0) <= overlap


def test_passages_are_cut_between_sentences_and_share_the_last():
    sentences = [f"Sentence {n} has exactly six words." for n in range(10)]
    found = passages_of([document(" ".join(sentences))], words=18, overlap=6)
    assert found[0].text == " ".join(sentences[:3]) and found[1].text == " ".join(sentences[2:5])
    assert found[-1].text.endswith(sentences[-1])


def test_a_sentence_that_is_longer_than_a_passage_is_cut_between_words():
    found = passages_of([document("mot " * 100)], words=30, overlap=0)
    assert [len(passage.text.split()) for passage in found] == [30, 30, 30, 10]


def test_passages_know_file_and_page_and_stay_on_it():
    found = passages_of([document("One.", "Two."), document("Three.", numbered=False, name="b.txt")])
    assert [(p.file, p.page, p.text) for p in found] == [
        ("a.pdf", 1, "One."),
        ("a.pdf", 2, "Two."),
        ("b.txt", None, "Three."),
    ]


def test_the_context_is_the_beginning_of_a_numbered_page_and_the_heading_above():
    start = "The sauna\n\nOpen to all members. " + "Filler words stand here. " * 20
    text = start + "\n\nCleaning\n\n" + "It is swept daily. " * 20
    first, *_, last = passages_of([document(text)], words=40, overlap=0)
    assert first.context == ""
    assert last.context.startswith("The sauna\n\nOpen to all") and last.context.endswith("\nCleaning")
    assert len(last.context.split()) == OPENING_WORDS + 1
    assert last.searched == f"{last.context}\n\n{last.text}"


def test_without_pages_the_context_is_the_heading_above():
    text = "# Rules\n\n" + "Words stand here. " * 20 + "\n\n## Fees\n\n" + "You pay. " * 30
    contexts = [p.context for p in passages_of([document(text, numbered=False)], words=20, overlap=0)]
    assert contexts[0] == "" and contexts[1] == "# Rules" and contexts[-1] == "## Fees"


@pytest.mark.parametrize(("words", "overlap"), [(10, 10), (10, -1), (0, 0)])
def test_an_overlap_that_does_not_fit_is_an_error(words, overlap):
    with pytest.raises(ValueError, match="overlap"):
        passages_of([], words, overlap)


def test_a_page_of_a_million_words_is_cut_in_time():
    assert len(passages_of([document("Un deux trois quatre. " * 250_000)])) > 5000
