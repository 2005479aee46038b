"""Threads of mails between readers and a reading room, drawn with a seed, and the exchanges that are in them."""

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from random import Random

from affinage.archives_demo import reading_room, records

TOPICS = records.EXCHANGES | reading_room.EXCHANGES
WEIGHTS = {
    "généalogie": 30,
    "état civil": 22,
    "horaires": 13,
    "notaires": 11,
    "cadastre": 10,
    "reproduction": 9,
    "hors sujet": 5,
}
# Kinds of threads: questions in the first mail, whether a second pair of mails follows, how many such threads.
KINDS = {"one": 22, "two": 18, "inline": 8, "follow-up": 8, "unanswered": 4}
FIRST_NAMES = "Jeanne Paul Solange Marc Odette Karim Lucie Bernard Inès Hugo Mireille Samuel Claire Youssef".split()
SURNAMES = "Morvaud Brécinet Fauchelon Gardoise Lambrecy Petitclos Rouvrelle Sarmance Tourvault Vaudelin".split()
COMMUNES = "Corvenay Lestrandes Maubrecy Pierrefaucon Rostreville Saint-Ulmain Thélonges Vaucreuse".split()
DAYS = "mardi mercredi jeudi vendredi".split()
MONTHS = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
ARCHIVISTS = ("Colette Dumarais", "Thierry Valmorin")
ARCHIVES = "archives.valcreux@example.org"
# Numbers that the French regulator sets aside for fiction; the last four digits are drawn.
PHONES = ("01 99 00", "02 61 91", "03 53 01", "04 65 71", "05 36 49", "06 39 98")
LEADS = (
    "Je travaille sur l'histoire de ma famille depuis deux ans.",
    "Je vous écris sur le conseil de la mairie.",
    "Je suis étudiante en histoire et je débute aux archives.",
    "Merci encore pour votre accueil du mois dernier.",
    "Je n'ai pas trouvé la réponse sur votre site.",
    "Retraité depuis peu, je reprends mes recherches.",
)
CLOSINGS = ("Bien cordialement,", "Avec mes remerciements,", "Cordialement,", "Merci d'avance,")
MOTTOES = ("", "", "", "{ Racines & Branches } - cercle de Corvenay", "Envoyé de mon téléphone", "-- \n100 % bénévole")
ENDINGS = (
    "Bonnes recherches.",
    "Le président de salle vous aidera volontiers sur place.",
    "Notre fiche d'aide, en ligne, reprend ces étapes une à une.",
    "N'hésitez pas à nous écrire de nouveau si cela ne suffit pas.",
    "Pensez à noter la cote de ce que vous consultez.",
    "Une visite guidée a lieu chaque mois pour les nouveaux lecteurs.",
    "Nous pouvons en parler par téléphone si vous préférez.",
    "D'autres lecteurs nous ont posé la question récemment.",
    "Les bibliothèques du département ont aussi des guides sur ce point.",
    "Cette réponse vaut pour l'ensemble du département.",
)


@dataclass(frozen=True)
class Exchange:
    """A question as a reader asks it, the archivist's answer, and the topic it is about."""

    question: str
    answer: str
    label: str


@dataclass(frozen=True)
class Thread:
    """The mails of one conversation as they lie in the mailbox, and what a careful reader would find there.

    `year` is that of the first mail.
    """

    text: str
    year: int
    exchanges: tuple[Exchange, ...]


def make_threads(seed: int) -> list[Thread]:
    """All threads in the order of their dates, from January 2022 to December 2024; the same for the same seed."""
    rng = Random(seed)
    draw = _exchanges(rng)
    kinds = [kind for kind, n in KINDS.items() for _ in range(n)]
    rng.shuffle(kinds)
    start, step = datetime(2022, 1, 4), timedelta(days=3 * 365 // len(kinds))
    moments = [start + step * i + timedelta(minutes=rng.randrange(7 * 60, 22 * 60)) for i in range(len(kinds))]
    return [_Writer(rng, moment).thread(kind, draw) for kind, moment in zip(kinds, moments, strict=True)]


def _exchanges(rng: Random) -> Iterator[Exchange]:
    """Exchanges without end, no question twice; every wording of a topic comes before one comes again."""
    decks: dict[str, list[tuple[str, str]]] = {label: [] for label in TOPICS}
    asked: set[str] = set()
    while True:
        [label] = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if not decks[label]:
            decks[label] = [(wording, form[2]) for form in TOPICS[label] for wording in form[:2]]
            rng.shuffle(decks[label])
        question, answer = decks[label].pop()
        facts = _facts(rng)
        question = question.format(**facts)
        if question not in asked:
            asked.add(question)
            yield Exchange(question, f"{answer.format(**facts)} {rng.choice(ENDINGS)}", label)


def _facts(rng: Random) -> dict[str, object]:
    year = rng.randrange(1806, 1890)
    return {
        "nom": rng.choice(SURNAMES),
        "commune": rng.choice(COMMUNES),
        "jour": rng.choice(DAYS),
        "nombre": rng.randrange(15, 31),
        "annee": year,
        "plus10": year + 10,
        "ancien": rng.randrange(1702, 1790),
        "recent": rng.randrange(1921, 1945),
    }


class _Writer:
    """Writes the mails of one thread, one after the other."""

    def __init__(self, rng: Random, moment: datetime) -> None:
        self.rng, self.moment = rng, moment
        self.reader = f"{rng.choice(FIRST_NAMES)} {rng.choice(SURNAMES)}"
        self.phone = f"{rng.choice(PHONES)} {rng.randrange(100):02d} {rng.randrange(100):02d}"
        self.archivist = rng.choice(ARCHIVISTS)
        self.motto = rng.choice(MOTTOES)
        self.mails: list[str] = []
        self.last = self.subject = ""
        self.quoted: list[str] = []

    def thread(self, kind: str, draw: Iterator[Exchange]) -> Thread:
        year = self.moment.year
        asked = [next(draw) for _ in range({"two": 2, "inline": 3}.get(kind, 1))]
        self.subject = self.rng.choice(("Question sur vos fonds", "Renseignement", f"Demande - {asked[0].label}"))
        self._ask(asked, self.rng.choice(LEADS))
        if kind == "unanswered":
            return Thread("\n".join(self.mails), year, ())
        self._answer(asked, inline=kind == "inline")
        if kind == "follow-up":
            more = next(draw)
            self._ask([more], "Merci pour votre réponse rapide. J'ai une autre question.", quote=True)
            self._answer([more], inline=False)
            asked.append(more)
        return Thread("\n".join(self.mails), year, tuple(asked))

    def _ask(self, asked: Sequence[Exchange], lead: str, quote: bool = False) -> None:
        numbered = len(asked) > 2
        questions = [f"{n}. {one.question}" if numbered else one.question for n, one in enumerate(asked, start=1)]
        signature = [self.rng.choice(CLOSINGS), f"{self.reader}\nTél. {self.phone}"]
        paragraphs = ["Bonjour,", lead, *questions, *signature, *([self.motto] if self.motto else [])]
        self._send(paragraphs, from_reader=True, quote=quote)

    def _answer(self, asked: Sequence[Exchange], inline: bool) -> None:
        body = ["Bonjour,"]
        for one in asked:
            body += [_quoted(_wrapped(one.question)), one.answer] if inline else [one.answer]
        signature = f"{self.archivist}\nSalle de lecture, Archives départementales du Valcreux\n01 99 00 12 34"
        self._send([*body, "Bien à vous,", signature], from_reader=False, quote=not inline)

    def _send(self, paragraphs: list[str], from_reader: bool, quote: bool) -> None:
        """Adds one mail; a reply quotes the whole mail before it when `quote` is set."""
        body = "\n\n".join(_wrapped(part) for part in paragraphs)
        if quote and self.quoted:
            body += f"\n\n{self.quoted[0]}\n{_quoted(self.quoted[1])}"
        plain = unicodedata.normalize("NFD", self.reader.lower()).encode("ascii", "ignore").decode()
        address = f"{plain.replace(' ', '.')}@example.org"
        names = {True: f"{self.reader} <{address}>", False: f"Salle de lecture <{ARCHIVES}>"}
        number = f"<{self.moment:%Y%m%d%H%M}.{len(self.mails) + 1}@example.org>"
        headers = [
            f"From {address if from_reader else ARCHIVES} {self.moment.ctime()}",
            f"From: {names[from_reader]}",
            f"To: {names[not from_reader]}",
            f"Date: {format_datetime(self.moment)}",
            f"Subject: {'Re: ' if self.mails else ''}{self.subject}",
            f"Message-ID: {number}",
            *([f"In-Reply-To: {self.last}"] if self.mails else []),
        ]
        self.mails.append("\n".join(headers) + f"\n\n{body}\n")
        date = f"{self.moment.day} {MONTHS[self.moment.month - 1]} {self.moment.year}"
        writer = self.reader if from_reader else self.archivist
        self.quoted = [f"Le {date} à {self.moment:%H:%M}, {writer} a écrit :", body]
        self.last = number
        self.moment = self._next_moment(from_reader)

    def _next_moment(self, answers_reader: bool) -> datetime:
        """One to three days later, at an hour when readers write or, on working days, archivists do."""
        day = self.moment + timedelta(days=self.rng.randrange(1, 4))
        while answers_reader and day.weekday() > 4:
            day += timedelta(days=1)
        hours = (9, 17) if answers_reader else (7, 22)
        return day.replace(hour=self.rng.randrange(*hours), minute=self.rng.randrange(60))


def _wrapped(text: str) -> str:
    """Paragraphs in lines of 72 characters, as mail programs send them; short lines and quotes stay."""
    return "\n".join(
        line if line.startswith(">") else textwrap.fill(line, 72, break_on_hyphens=False) for line in text.split("\n")
    )


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))
