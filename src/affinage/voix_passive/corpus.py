"""Plain French text to pretrain on: sentences beside their transformations, no instruction anywhere."""

from collections.abc import Iterator
from random import Random

from affinage.voix_passive.grammar import (
    DETERMINERS,
    TENSES,
    Clause,
    NounPhrase,
    active,
    negated,
    passive,
    plural_object,
)
from affinage.voix_passive.lexicon import FIELDS, HELD_OUT_NOUNS, HELD_OUT_VERBS, PERSONS, Noun, Verb

PSEUDO_WORD_SHARE = 0.4
STEADY_SHARE = 0.5
CLAUSES_PER_DOCUMENT = (1, 4)
FORMS = (active, passive, negated, plural_object)
SEPARATORS = ("\n", "\n\n", " ")
ONSETS = "b c d f g l m n p r s t v br cr dr fl gr pl pr tr bl cl".split()
NUCLEI = "a i o u é ou an on in".split()
CODAS = "b c d f l m n p r s t v ch gn rt nt st".split()


def documents(seed: int, pseudo_word_share: float = PSEUDO_WORD_SHARE) -> Iterator[str]:
    """Endless documents, the same for the same seed; every noun and verb is invented with the given probability.

    In about half of them every clause is shown in the same forms in the same order; in the others the order changes
    from clause to clause, so that the text alone does not say which transformation follows.
    """
    rng = Random(seed)
    while True:
        yield _document(rng, pseudo_word_share)


def draw_phrase(rng: Random, noun: Noun, plural: bool) -> NounPhrase:
    """The noun with a determiner; the definite article is about as likely as all possessives together."""
    determiner = rng.choices(tuple(DETERMINERS), weights=(8, 4, 3, 2, 2, 2, 2))[0]
    return NounPhrase(noun, determiner, plural)


def _document(rng: Random, pseudo_word_share: float) -> str:
    clauses = [_draw_clause(rng, pseudo_word_share) for _ in range(rng.randint(*CLAUSES_PER_DOCUMENT))]
    between, inside = rng.choice(SEPARATORS), rng.choice(SEPARATORS)
    forms = _draw_forms(rng)
    steady = rng.random() < STEADY_SHARE
    return between.join(_paragraph(clause, forms if steady else _draw_forms(rng), inside) for clause in clauses)


def _draw_forms(rng: Random) -> list:
    forms = rng.sample(FORMS, rng.choice((2, 2, 3, 4)))
    if active in forms and rng.random() < 0.5:
        forms.remove(active)
        forms.insert(0, active)
    return forms


def _paragraph(clause: Clause, forms: list, separator: str) -> str:
    # An object that is plural already would give the active sentence twice.
    return separator.join(form(clause) for form in forms if form is not plural_object or not clause.object.plural)


def _draw_clause(rng: Random, pseudo_word_share: float) -> Clause:
    while True:
        clause = _draw_any_clause(rng, pseudo_word_share)
        if not is_reserved(clause):
            return clause


def is_reserved(clause: Clause) -> bool:
    """True for what only the test split may say: verb, subject and object all held out."""
    nouns = {clause.subject.noun, clause.object.noun}
    return clause.verb in HELD_OUT_VERBS and nouns <= HELD_OUT_NOUNS


def _draw_any_clause(rng: Random, pseudo_word_share: float) -> Clause:
    field = FIELDS[rng.choice(tuple(FIELDS))]
    pseudo = [rng.random() < pseudo_word_share for _ in range(3)]
    subject = _pseudo_noun(rng) if pseudo[0] else rng.choice(PERSONS)
    verb = Verb(_pseudo_stem(rng)) if pseudo[1] else rng.choice(field.verbs)
    patient = _pseudo_noun(rng) if pseudo[2] else rng.choice(field.objects)
    return Clause(
        draw_phrase(rng, subject, rng.random() < 0.4),
        verb,
        draw_phrase(rng, patient, rng.random() < 0.25),
        rng.choice(TENSES),
    )


def _pseudo_noun(rng: Random) -> Noun:
    # The ending tells the gender, or l' would leave the agreement of the participle to chance.
    gender = rng.choice("mf")
    return Noun(_pseudo_stem(rng) + "e" * (gender == "f"), gender)


def _pseudo_stem(rng: Random) -> str:
    syllables = [rng.choice(ONSETS) + rng.choice(NUCLEI) for _ in range(rng.choice((1, 1, 2)))]
    if rng.random() < 0.3:
        syllables.insert(0, rng.choice("aeiou" if rng.random() < 0.8 else "éo"))
    return "".join(syllables) + rng.choice(CODAS)
