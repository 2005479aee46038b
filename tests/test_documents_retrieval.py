"""Passages found by words: the order of BM25, a score that means something, French and English, and measured recall."""

import json
import math
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from affinage.documents.passages import Passage, passages_of
from affinage.documents.reading import Document, Page, read
from affinage.documents.retrieval import WordIndex
from affinage.documents.terms import reading_language, terms
from affinage.documents_demo.handbook import handbook
from affinage.documents_demo.measuring import measure
from affinage.paths import ROOT

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("document_files.py"))))
FRENCH = [
    "La bibliothèque générale ouvre à neuf heures et ferme ses portes à dix-huit heures.",
    "L'inscription des étudiants se fait au secrétariat avant la fin du mois de septembre.",
    "Les chevaux du manège mangent du foin, et le palefrenier les brosse chaque matin.",
    "Le règlement intérieur interdit de fumer dans les couloirs et dans les salles de cours.",
]
ENGLISH = [
    "The library opens at nine in the morning and closes its doors at six in the evening.",
    "Students enrol at the secretary's office before the end of September each year.",
    "The horses of the riding school eat hay and are brushed by the groom every morning.",
]


def passages(*texts, file="a.txt"):
    return [Passage(file, None, 0, text) for text in texts]


def numbers(found, texts):
    return [texts.index(one.passage.text) for one in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L'été, qu'est-ce que l'on mange ?", ["ete", "mang"]),
        ("Quels sont les horaires d’ouverture des bibliothèques", ["horair", "ouvertur", "bibliothequ"]),
        ("les CHEVAUX du règlement intérieur", ["cheval", "regl", "interieur"]),
        ("la biblio-\nthèque", ["bibliothequ"]),
        ("Combien coûte l'œuvre n° 12 ?", ["cout", "oeuvr", "12"]),
    ],
)
def test_french_terms(text, expected):
    assert terms(text, "fr") == expected


def test_english_terms():
    assert terms("What don't the students' libraries lend, and why?", "en") == ["student", "librari", "lend"]


def test_a_text_is_read_as_french_or_else_english():
    assert [reading_language(text) for text in (FRENCH[0], ENGLISH[0], "xyz", "")] == ["fr", "en", "en", "en"]


def test_the_order_is_that_of_bm25_worked_out_by_hand():
    texts = [f"{'apple ' * a}{'pear ' * b}{'plum ' * c}" for a, b, c in [(1, 0, 9), (2, 1, 1), (0, 3, 1), (0, 0, 5)]]
    found = WordIndex(passages(*texts)).search("apple or pear?", threshold=0)
    documents = [Counter(terms(text, "en")) for text in texts]
    mean = sum(sum(d.values()) for d in documents) / len(documents)

    def score(d):
        total = 0.0
        for term in ("appl", "pear"):
            n = sum(term in other for other in documents)
            idf = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
            total += idf * d[term] / (d[term] + 1.5 * (1 - 0.75 + 0.75 * sum(d.values()) / mean))
        return total

    expected = sorted(range(3), key=lambda i: -score(documents[i]))
    assert numbers(found, texts) == expected, "the fourth holds no term and is not found"


def test_the_score_is_the_share_of_the_questions_terms_by_how_rare_they_are():
    texts = ["apple pear", "apple", "plum", "fig"]
    (best, second) = WordIndex(passages(*texts)).search("apple pear cherry", threshold=0)

    def idf(n):
        return math.log(1 + (4 - n + 0.5) / (n + 0.5))

    whole = idf(2) + idf(1) + idf(1)  # a term that is nowhere weighs as much as one in a single passage
    assert best.score == pytest.approx((idf(2) + idf(1)) / whole)
    assert second.score == pytest.approx(idf(2) / whole)
    assert WordIndex(passages(*texts)).search("PEAR")[0].score == pytest.approx(1)


def test_nothing_is_found_when_no_passage_reaches_the_threshold_and_all_when_one_does():
    index = WordIndex(passages("apple pear", "apple", "plum", "fig"))
    best = index.search("apple pear cherry", threshold=0)[0].score
    assert len(index.search("apple pear cherry", threshold=best)) == 2
    assert index.search("apple pear cherry", threshold=best + 0.001) == []
    assert len(index.search("apple pear", k=1)) == 1


@pytest.mark.parametrize("question", ["", "?!", "the of and", "xylophone", "où est-ce que"])
def test_a_question_without_a_known_term_finds_nothing(question):
    assert WordIndex(passages(*ENGLISH)).search(question, threshold=0) == []


@pytest.mark.parametrize("texts", [[], [""], ["the of and", "..."]])
def test_passages_without_terms_are_no_error(texts):
    assert WordIndex(passages(*texts)).search("library") == []


def test_each_file_is_searched_in_its_own_language():
    index = WordIndex([*passages(*FRENCH, file="fr.txt"), *passages(*ENGLISH, file="en.txt")])
    asked = {
        "Quelles sont les heures d'ouverture de la bibliotheque ?": FRENCH[0],
        "Où les étudiants s'inscrivent-ils en septembre ?": FRENCH[1],
        "Que mange un cheval ?": FRENCH[2],
        "When does the library close?": ENGLISH[0],
        "Which horse is brushed?": ENGLISH[2],
    }
    assert {question: index.search(question)[0].passage.text for question in asked} == asked


def test_the_heading_of_a_passage_is_searched_with_it():
    page = "The sauna\n\n" + "Bring a towel and water. " * 40 + "It is open until nine at this place. " * 8
    index = WordIndex(passages_of([Document("a.pdf", "0", (Page(1, page), Page(2, "The pool is open until ten.")))]))
    found = index.search("sauna")
    assert [one.passage.page for one in found] == [1, 1] and {"sauna" in one.passage.text for one in found} == {
        True,
        False,
    }


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_handbook_is_the_same_for_the_same_seed_and_its_answers_stand_in_it(language):
    document, questions = handbook(language, 7)
    assert (document, questions) == handbook(language, 7) != handbook(language, 8)
    assert len(document.pages) == 30
    answered = [question for question in questions if question.page]
    assert len(answered) == 180 and len(questions) - len(answered) == 104
    assert all(q.answer in document.pages[q.page - 1].text for q in answered)
    assert len({q.answer for q in answered}) > 170, "a value is rarely given twice"


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_right_passage_is_among_five_for_nine_questions_in_ten(language):
    found = measure(WordIndex, language, [10, 11])
    assert found["recall@5"]["answerable"]["n"] == 360
    assert found["recall@5"]["answerable"]["share"] >= 0.9
    assert found["found at the threshold"]["answerable"]["share"] >= 0.88
    assert found["refused"]["off topic"]["share"] == 1
    assert found["refused"]["answerable"]["share"] <= 0.05


@pytest.mark.parametrize("language", ["en", "fr"])
def test_it_is_found_in_a_real_pdf_too(language):
    document, questions = handbook(language, 10)
    made = read("handbook.pdf", files.pdf([page.text for page in document.pages], size=8))
    index, right = WordIndex(passages_of([made])), []
    for question in questions:
        if question.page:
            found = index.search(question.text, threshold=0)
            texts = [" ".join(one.passage.text.split()) for one in found if one.passage.page == question.page]
            right.append(any(question.answer in text for text in texts))
    assert len(right) == 180 and sum(right) / len(right) >= 0.9


def test_the_benchmark_runs_and_says_what_it_measured(tmp_path):
    command = [sys.executable, "benchmarks/retrieval.py", "--quick", "--output", str(tmp_path / "out.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "recall@5" in done.stdout and "Bar:" in done.stdout
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert set(found["languages"]) == {"en", "fr"} and found["quick"] and found["seeds"] == [10]


def test_the_figures_of_the_page_are_those_of_the_benchmark():
    found = json.loads((ROOT / "benchmarks" / "retrieval.json").read_text(encoding="utf-8"))
    assert not found["quick"] and found["threshold"] == WordIndex.threshold
    page = (ROOT / "docs" / "app.md").read_text(encoding="utf-8")
    for figure in ("recall@1", "recall@5", "found at the threshold", "refused"):
        for kind in found["languages"]["en"][figure]:
            both = [found["languages"][language][figure][kind] for language in ("en", "fr")]
            cells = [f"{s['share']:.3f} ({s['low']:.3f} to {s['high']:.3f}), n = {s['n']}" for s in both]
            assert f" | {cells[0]} | {cells[1]} |" in page, (figure, kind)
