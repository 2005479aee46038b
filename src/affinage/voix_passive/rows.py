"""The rows of voix-passive: one instruction, one sentence and the sentence it asks for."""

from collections.abc import Iterator
from random import Random

from affinage.voix_passive.corpus import draw_phrase
from affinage.voix_passive.grammar import TENSES, Clause, active, negated, passive, plural_object
from affinage.voix_passive.lexicon import FIELDS, HELD_OUT_NOUNS, HELD_OUT_VERBS, PERSONS, Noun, Verb

INSTRUCTIONS = {
    "passive": (
        "Mets la phrase à la voix passive.",
        "Réécris cette phrase au passif.",
        "Transforme cette phrase active en phrase passive.",
        "Tourne la phrase au passif.",
    ),
    "active": (
        "Mets la phrase à la voix active.",
        "Réécris cette phrase à l'actif.",
        "Transforme cette phrase passive en phrase active.",
        "Tourne la phrase à l'actif.",
    ),
    "negation": (
        "Mets la phrase à la forme négative.",
        "Réécris cette phrase avec « ne … pas ».",
        "Transforme cette phrase affirmative en phrase négative.",
        "Nie ce que dit la phrase.",
    ),
    "plural": (
        "Mets le complément d'objet au pluriel.",
        "Réécris cette phrase avec son complément d'objet au pluriel.",
        "Transforme la phrase : le complément d'objet passe au pluriel.",
        "Accorde au pluriel l'objet du verbe.",
    ),
}
# Sentence given and sentence asked for.
FORMS = {
    "passive": (active, passive),
    "active": (passive, active),
    "negation": (active, negated),
    "plural": (active, plural_object),
}
SPLITS = {0: "train", 1: "validation", 2: "test"}
# Every group gives one row of each label.
GROUPS = {0: 1000, 1: 75, 2: 100}

Triple = tuple[Noun, Verb, Noun]


def make_rows(seed: int) -> list[dict]:
    """All rows, train then validation then test, shuffled inside each; the same for the same seed.

    A group is one subject, verb and object. Its four rows share clauses, so that one sentence often comes under
    several instructions, and they never straddle splits. Test words are in no other split.
    """
    rng = Random(seed)
    seen: set[Triple] = set()
    rows: list[dict] = []
    for split, count in GROUPS.items():
        triples = draw_triples(rng, count, split == 2, seen)
        part = [row for triple in triples for row in _group_rows(rng, triple, split)]
        rng.shuffle(part)
        rows += part
    return [{"id": f"vp-{number:04d}", **row} for number, row in enumerate(rows, start=1)]


def draw_triples(rng: Random, count: int, held_out: bool, seen: set[Triple]) -> list[Triple]:
    """`count` new triples, the fields of the lexicon in turn; adds them to `seen`."""
    drawn: list[Triple] = []
    while len(drawn) < count:
        field = tuple(FIELDS.values())[len(drawn) % len(FIELDS)]
        verb = rng.choice([verb for verb in field.verbs if (verb in HELD_OUT_VERBS) == held_out])
        subject, patient = (
            rng.choice([noun for noun in nouns if (noun in HELD_OUT_NOUNS) == held_out])
            for nouns in (PERSONS, field.objects)
        )
        triple = (subject, verb, patient)
        if subject != patient and triple not in seen:
            seen.add(triple)
            drawn.append(triple)
    return drawn


def _group_rows(rng: Random, triple: Triple, split: int) -> Iterator[dict]:
    singular = draw_clause(rng, triple, plural_object=False)
    other = draw_clause(rng, triple, plural_object=rng.random() < 0.5)
    clauses = {
        "passive": rng.choice((singular, other)),
        "active": other,
        "negation": rng.choice((singular, other)),
        "plural": singular,
    }
    for label, clause in clauses.items():
        given, asked = FORMS[label]
        yield {
            "instruction": rng.choice(INSTRUCTIONS[label]),
            "input": given(clause),
            "output": asked(clause),
            "label": label,
            "group": "|".join((triple[0].lemma, triple[1].lemma, triple[2].lemma)),
            "split": split,
        }


def draw_clause(rng: Random, triple: Triple, plural_object: bool) -> Clause:
    """A clause about these three, with the determiners, the number of the subject and the tense drawn."""
    subject, verb, patient = triple
    return Clause(
        draw_phrase(rng, subject, rng.random() < 0.35),
        verb,
        draw_phrase(rng, patient, plural_object),
        rng.choice(TENSES),
    )
