"""chrF and BLEU of whole splits, of single rows and of sums, against sacrebleu called directly."""

import random

import pytest
import sacrebleu

from affinage.scoring.surface import bleu, chrf

WORDS = "le chat la souris mange l'été où rouge grand à jardin . ,".split()


def texts(seed, n, lengths=(0, 1, 2, 3, 4, 8, 20)):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.choice(lengths))) for _ in range(n)]


def sacrebleu_bleu(answers, references):
    return sacrebleu.corpus_bleu(answers, [references], force=True).score


@pytest.mark.parametrize("n", [1, 2, 5, 50])
def test_corpus_scores_are_those_of_sacrebleu_for_texts_of_every_length(n):
    found = []
    for seed in range(60):
        answers, references = texts(seed, n), texts(seed + 1000, n)
        found.append(bleu(answers, references)[0].value())
        assert found[-1] == pytest.approx(sacrebleu_bleu(answers, references), abs=1e-9)
        expected = sacrebleu.corpus_chrf(answers, [references]).score
        assert chrf(answers, references)[0].value() == pytest.approx(expected, abs=1e-9)
    assert max(found) > 0


@pytest.mark.parametrize(
    ("answers", "references"),
    [
        (["le chat"], ["le chat"]),  # no run of four words at all
        (["le chat", "la"], ["le chat", "la"]),
        (["un deux trois quatre"], ["un deux trois cinq"]),  # every order but the last has a match
        (["un deux trois quatre"], ["un x deux y"]),
        (["a b c d e"], ["f g h i j"]),
        ([""], ["a"]),
        (["a"], [""]),
        (["", ""], ["", ""]),
    ],
)
def test_bleu_without_matches_of_some_order_is_that_of_sacrebleu(answers, references):
    assert bleu(answers, references)[0].value() == pytest.approx(sacrebleu_bleu(answers, references), abs=1e-9)


def test_a_row_by_itself_has_the_sentence_score_that_sacrebleu_advises():
    answers, references = texts(1, 80), texts(2, 80)
    pairs = list(zip(answers, references, strict=True))
    sentence_bleu = [sacrebleu.sentence_bleu(a, [r], use_effective_order=True).score for a, r in pairs]
    assert bleu(answers, references)[0].rows == pytest.approx(sentence_bleu, abs=1e-9)
    sentence_chrf = [sacrebleu.sentence_chrf(a, [r]).score for a, r in pairs]
    assert chrf(answers, references)[0].rows == pytest.approx(sentence_chrf, abs=1e-9)
    assert len({round(value, 6) for value in sentence_bleu}) > 20
