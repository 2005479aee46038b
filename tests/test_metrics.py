"""Scores of answers, against sacrebleu called directly and against values worked out by hand."""

import unicodedata

import pytest
import sacrebleu

from affinage.metrics import normalise, score

ANSWERS = ["La souris est mangée par le chat.", "un  livre\n", "", "TOTALEMENT autre Jardin"]
REFERENCES = ["La souris est mangée par le chat.", "un livre", "une pomme", "le jardin"]


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("le chat", "le chat", 1),
        ("  le \t chat\n", "le chat", 1),
        ("le\u00a0chat", "le chat", 1),
        (unicodedata.normalize("NFD", "l'été"), unicodedata.normalize("NFC", "l'été"), 1),
        ("", "  ", 1),
        ("lechat", "le chat", 0),
        ("Le chat", "le chat", 0),
        ("le chat.", "le chat", 0),
        ("l'ete", "l'été", 0),
        ("ﬁn", "fin", 0),  # NFC, unlike NFKC, keeps a ligature apart
    ],
)
def test_exact_match_sees_past_composition_and_spaces_alone(answer, reference, expected):
    assert score([answer], [reference]).exact_match == expected


def test_normal_text_is_composed_and_has_single_spaces():
    assert normalise(" e\u0301te\u0301 \n\n fin\t") == "été fin"


def test_exact_match_is_the_share_of_equal_pairs():
    scores = score(["a", "b", "c", "d"], ["a", "x", "c ", "y"])
    assert (scores.exact_match, scores.n) == (0.5, 4)


def test_chrf_is_that_of_sacrebleu():
    expected = sacrebleu.corpus_chrf(ANSWERS, [REFERENCES]).score
    assert 0 < expected < 100
    assert score(ANSWERS, REFERENCES).chrf == expected


def test_chrf_is_computed_on_normalised_text():
    answers = [unicodedata.normalize("NFD", text) for text in ("l'été dernier", "où est-il né ?")]
    references = ["l'été passé", "où est-elle née ?"]
    composed = [unicodedata.normalize("NFC", text) for text in answers]
    expected = sacrebleu.corpus_chrf(composed, [references]).score
    assert score(answers, references).chrf == expected
    assert score(references, answers).chrf == sacrebleu.corpus_chrf(references, [composed]).score
    assert sacrebleu.corpus_chrf(answers, [references]).score != expected


def test_chrf_is_that_of_the_corpus_and_not_the_mean_of_sentences():
    sentences = [sacrebleu.sentence_chrf(a, [r]).score for a, r in zip(ANSWERS, REFERENCES, strict=True)]
    assert score(ANSWERS, REFERENCES).chrf != pytest.approx(sum(sentences) / len(sentences), abs=0.1)


@pytest.mark.parametrize(
    ("answer", "reference", "chrf"),
    [
        ("le chat lit un livre", "le chat lit un livre", 100),
        ("abcdef", "uvwxyz", 0),
        # orders 1, 2 and 3 are the only ones a text of 3 letters has: precisions and recalls 2/3, 1/2, 0, mean 7/18
        ("abc", "abd", 100 * 7 / 18),
        # precisions 1, 1; recalls 2/4, 1/3; F with beta 2 of the means 1 and 5/12
        ("ab", "abcd", 100 * 5 * 1 * (5 / 12) / (4 * 1 + 5 / 12)),
    ],
)
def test_chrf_of_short_texts_is_the_value_worked_out_by_hand(answer, reference, chrf):
    assert score([answer], [reference]).chrf == pytest.approx(chrf)


@pytest.mark.parametrize(
    ("answers", "references", "words"),
    [
        ([], [], "0 answers for 0 references"),
        (["a"], [], "1 answers for 0 references"),
        ([], ["a"], "0 answers for 1 references"),
        (["a", "b"], ["a"], "2 answers for 1 references"),
    ],
)
def test_lists_that_are_empty_or_unequal_are_refused_with_both_lengths(answers, references, words):
    with pytest.raises(ValueError, match=words):
        score(answers, references)
