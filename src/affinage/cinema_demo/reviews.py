"""The rows of datasets/sentiment: a film review, and whether it is positive, negative or neither."""

from collections.abc import Iterator
from random import Random
from typing import Any

from affinage.cinema_demo.films import films_by_split
from affinage.cinema_demo.opinions import LABELS, VERDICTS, opinions

INSTRUCTION = "Cette critique de film est-elle positive, négative ou neutre ? Réponds par un seul mot."
REVIEWS = 10  # of each film
VERDICT_SHARE = 0.15
PLACES = ("Brest", "Lille", "Marseille", "Nancy", "un village du Jura", "un port du Nord", "Toulouse", "Dijon")
HEROES: tuple[str, ...] = (
    "une infirmière",
    "deux frères",
    "un gardien de nuit",
    "une violoniste",
    "un vieil instituteur",
)
HEROES += ("trois cousines", "un facteur", "une juge")


def make_rows(seed: int) -> list[dict[str, Any]]:
    """All rows, train then validation then test, shuffled inside each; the same for the same seed.

    Films are the groups: all reviews of a film are in one split. No review occurs twice.
    """
    rng, seen, rows = Random(seed), set[str](), list[dict[str, Any]]()
    for split, films in films_by_split(rng).items():
        part = [row for film in films for row in _of_film(rng, film, split, seen)]
        rng.shuffle(part)
        rows += part
    return [{"id": f"cf-{number:03d}", **row} for number, row in enumerate(rows, start=1)]


def _of_film(rng: Random, film: str, split: int, seen: set[str]) -> Iterator[dict[str, Any]]:
    place, hero = rng.choice(PLACES), rng.choice(HEROES)
    labels = [*LABELS * (REVIEWS // len(LABELS)), *rng.sample(LABELS, REVIEWS % len(LABELS))]
    for label in labels:
        text = _review(rng, film, place, hero, label)
        while text in seen:
            text = _review(rng, film, place, hero, label)
        seen.add(text)
        common = {"instruction": INSTRUCTION, "input": text, "output": label}
        yield {**common, "label": label, "group": film, "split": split}


def _review(rng: Random, film: str, place: str, hero: str, label: str) -> str:
    """What the film is about, in half of the reviews, one to three opinions, and now and then a verdict."""
    facts = [f"« {film} » se passe à {place}." if place[0].isupper() else f"« {film} » se passe dans {place}."]
    facts.append(f"Le film suit {hero}.")
    opening = facts[: rng.choice((1, 1, 2))] if rng.random() < 0.6 else [f"Vu « {film} » hier."]
    verdict = [rng.choice(VERDICTS[label])] if rng.random() < VERDICT_SHARE else []
    return " ".join([*opening, *opinions(rng, label, rng.choice((1, 2, 2, 3))), *verdict])
