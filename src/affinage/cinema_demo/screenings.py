"""The rows of datasets/extraction: the announcement of a screening, and what it says as one JSON object."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any

from affinage.cinema_demo.films import films_by_split

INSTRUCTION = "Donne en JSON le film, la date, l'heure, le lieu, la ville et le prix annoncés."
FIELDS = ("film", "date", "heure", "lieu", "ville", "prix")
ANNOUNCEMENTS = 7  # of each film
FIRST_DAY, DAYS = date(2025, 1, 6), 700
WEEKDAYS = "lundi mardi mercredi jeudi vendredi samedi dimanche".split()
MONTHS = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
HALLS: tuple[str, ...] = ("la salle Jean-Vigo", "la médiathèque Colette", "la Maison du peuple", "le cinéma Le Rialto")
HALLS += ("l'Espace 1901", "la grange du Prieuré", "le théâtre des Halles", "le foyer rural")
HALLS += ("le cinéma Les Arcades", "l'auditorium")
TOWNS = ("Quimper", "Arras", "Tulle", "Dole", "Foix", "Auch", "Sens", "Mende", "Laon", "Vire", "Blois", "Gap")
CLUBS = ("Le ciné-club Lumière", "L'association Plein Cadre", "Le comité des fêtes", "L'Amicale laïque")


@dataclass(frozen=True)
class Screening:
    """What an announcement says; `price` is in euros, 0 for a free entry, None where nothing is said of it."""

    film: str
    day: date
    hour: int
    minute: int
    hall: str
    town: str
    price: int | float | None

    @property
    def answer(self) -> str:
        """The JSON object that is expected, its keys in the order of FIELDS."""
        place = self.hall.removeprefix("la ").removeprefix("le ").removeprefix("l'")
        values = (self.film, self.day.isoformat(), f"{self.hour:02d}:{self.minute:02d}", place, self.town, self.price)
        return json.dumps(dict(zip(FIELDS, values, strict=True)), ensure_ascii=False)


def make_rows(seed: int) -> list[dict[str, Any]]:
    """All rows, train then validation then test, shuffled inside each; the same for the same seed.

    Films are the groups: all announcements of a film are in one split. No announcement occurs twice.
    """
    rng, seen, rows = Random(seed), set[str](), list[dict[str, Any]]()
    for split, films in films_by_split(rng).items():
        part = [row for film in films for row in _of_film(rng, film, split, seen)]
        rng.shuffle(part)
        rows += part
    return [{"id": f"an-{number:03d}", **row} for number, row in enumerate(rows, start=1)]


def _of_film(rng: Random, film: str, split: int, seen: set[str]) -> Iterator[dict[str, Any]]:
    for _ in range(ANNOUNCEMENTS):
        screening, text = _announced(rng, film)
        while text in seen:
            screening, text = _announced(rng, film)
        seen.add(text)
        common = {"instruction": INSTRUCTION, "input": text, "output": screening.answer}
        yield {**common, "group": film, "split": split}


def _announced(rng: Random, film: str) -> tuple[Screening, str]:
    day = FIRST_DAY + timedelta(days=rng.randrange(DAYS))
    price = rng.choice((0, 4, 5, 6, 6.5, 7, 7.5, 8, None, None))
    hour, minute = rng.choice((14, 16, 17, 18, 20, 20, 21)), rng.choice((0, 0, 15, 30, 30, 45))
    screening = Screening(film, day, hour, minute, rng.choice(HALLS), rng.choice(TOWNS), price)
    return screening, _text(rng, screening)


def _text(rng: Random, s: Screening) -> str:
    when, at, where = written_day(s.day, rng.random() < 0.4), written_time(s), f"{_at(s.hall)} ({s.town})"
    other = s.day - timedelta(days=rng.randrange(2, 9))
    forms = (
        f"{rng.choice(CLUBS)} projette « {s.film} » {when} à {at}, {where}.",
        f"Séance de « {s.film} » : {when}, {at}, {where}.",
        f"{s.town}, {s.hall}. Projection du film « {s.film} » {when} ; début à {at}, ouverture des portes à "
        f"{s.hour - 1} h.",
        f"Venez voir « {s.film} » {_at(s.hall)} à {s.town}, {when}. La séance commence à {at}.",
        f"Prévue {written_day(other, False)}, la projection de « {s.film} » est reportée : {when}, {at}, {where}.",
    )
    return " ".join(part for part in (rng.choice(forms), _about_price(rng, s.price)) if part)


def written_day(day: date, numbers: bool) -> str:
    """The day as people write it: "le vendredi 14 mars 2025", or "le 14/03/2025"."""
    if numbers:
        return f"le {day:%d/%m/%Y}"
    first = "1er" if day.day == 1 else str(day.day)
    return f"le {WEEKDAYS[day.weekday()]} {first} {MONTHS[day.month - 1]} {day.year}"


def written_time(s: Screening) -> str:
    """The hour as people write it: "20 h 30", "20 h"."""
    return f"{s.hour} h {s.minute:02d}" if s.minute else f"{s.hour} h"


def _at(hall: str) -> str:
    return f"au {hall.removeprefix('le ')}" if hall.startswith("le ") else f"à {hall}"


def _about_price(rng: Random, price: int | float | None) -> str:
    if price is None:
        return rng.choice(("", "Réservation conseillée.", "Débat avec le public après la séance."))
    if price == 0:
        return rng.choice(("Entrée libre.", "Gratuit, dans la limite des 80 places."))
    shown = str(price).replace(".5", ",50")
    reduced = f" (tarif réduit {int(price) - 2} €)" if price > 4 and rng.random() < 0.4 else ""
    return rng.choice((f"Entrée : {shown} €{reduced}.", f"Plein tarif {shown} €{reduced}, 80 places."))
