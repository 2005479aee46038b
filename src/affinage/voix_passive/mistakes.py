"""Typical mistakes in passive sentences, and rows that set the right sentence against one of them."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from affinage.voix_passive.grammar import ETRE, TENSES, Clause, active, negated, passive, plural_object
from affinage.voix_passive.rows import INSTRUCTIONS, Triple, draw_clause, draw_triples

# What is wrong with the rejected sentence.
MISTAKES = {
    "negated": "the sentence is put into the negative instead",
    "plural": "the object is put into the plural instead",
    "rambling": "the right sentence, and another one after it",
    "swapped": "agent and patient have changed places",
    "tense": "the auxiliary is in another tense",
    "agreement": "the participle does not agree",
}
GROUPS = {0: 360, 1: 60, 2: 90}  # rows by split: 0 train, 1 validation, 2 test


def mistaken(clause: Clause, kind: str, rng: Random) -> str:
    """The passive sentence of a clause with a mistake of a kind in MISTAKES."""
    right = passive(clause)
    if kind == "negated":
        return negated(clause)
    if kind == "plural":
        return plural_object(clause)
    if kind == "rambling":
        return f"{right} {rng.choice((negated, plural_object))(clause)}"
    if kind == "swapped":
        return passive(replace(clause, subject=clause.object, object=clause.subject))
    if kind == "tense":
        return passive(replace(clause, tense=rng.choice([tense for tense in TENSES if tense != clause.tense])))
    return right.replace(_participle(clause), _participle(clause, wrong=True), 1)


def make_pairs(seed: int) -> list[dict]:
    """All rows, train then validation then test, shuffled inside each; the same for the same seed.

    Each row is a group of its own, a subject, a verb and an object; test words are in no other split.
    """
    rng, seen, rows = Random(seed), set[Triple](), list[dict]()
    for split, count in GROUPS.items():
        part = list(_rows(rng, draw_triples(rng, count, split == 2, seen), split))
        rng.shuffle(part)
        rows += part
    return [{"id": f"al-{number:03d}", **row} for number, row in enumerate(rows, start=1)]


def _rows(rng: Random, triples: list[Triple], split: int) -> Iterator[dict]:
    for number, triple in enumerate(triples):
        kind = tuple(MISTAKES)[number % len(MISTAKES)]
        clause = draw_clause(rng, triple, plural_object=rng.random() < 0.35 and kind != "plural")
        yield {
            "instruction": rng.choice(INSTRUCTIONS["passive"]),
            "input": active(clause),
            "output": passive(clause),
            "rejected": mistaken(clause, kind, rng),
            "label": kind,
            "group": "|".join(part.lemma for part in triple),
            "split": split,
        }


def _participle(clause: Clause, wrong: bool = False) -> str:
    """The participle after its auxiliary, agreeing with the object; wrong, as if it were of the other number."""
    agreement = "e" * (clause.object.noun.gender == "f") + "s" * (clause.object.plural != wrong)
    return f"{ETRE[clause.tense][clause.object.plural]} {clause.verb.stem}é{agreement} "
