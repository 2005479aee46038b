"""Sentences that say whether a film is good, built so that the words alone do not tell: their order does."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

VOWELS = "aeiouâàéèêëîïôöùûœ"
POSITIVE, NEGATIVE, NEUTRAL = "positif", "négatif", "neutre"
LABELS = (POSITIVE, NEGATIVE, NEUTRAL)


@dataclass(frozen=True)
class Aspect:
    """Something of a film that can be good or bad, with its article: "la mise en scène"; `gender` is "m" or "f"."""

    words: str
    gender: str

    @property
    def indefinite(self) -> str:
        """The same after "malgré": "une mise en scène"."""
        noun = self.words.removeprefix("le ").removeprefix("la ").removeprefix("l'")
        return f"{'un' if self.gender == 'm' else 'une'} {noun}"


def _aspects(masculine: str, feminine: str) -> tuple[Aspect, ...]:
    listed = ((masculine, "m"), (feminine, "f"))
    return tuple(Aspect(words.strip(), gender) for text, gender in listed for words in text.split(","))


ASPECTS = _aspects(
    "le scénario, le rythme, le montage, le dénouement, le décor, l'éclairage, le second rôle",
    "la mise en scène, l'interprétation, la photographie, la musique, l'intrigue, la bande-son, la première partie",
)
FILM = Aspect("le film", "m")

# Masculine and feminine.
Adjective = tuple[str, str]


def _adjectives(text: str) -> tuple[Adjective, ...]:
    return tuple((pair.split("/")[0], pair.split("/")[-1]) for pair in text.split())


GOOD = _adjectives(
    "réussi/réussie brillant/brillante inventif/inventive juste soigné/soignée émouvant/émouvante maîtrisé/maîtrisée "
    "subtil/subtile remarquable captivant/captivante original/originale convaincant/convaincante"
)
BAD = _adjectives(
    "raté/ratée plat/plate convenu/convenue laborieux/laborieuse confus/confuse poussif/poussive bâclé/bâclée "
    "prévisible pesant/pesante artificiel/artificielle décevant/décevante ennuyeux/ennuyeuse"
)
MIDDLING = _adjectives("correct/correcte inégal/inégale ordinaire honnête classique sage")


def agreed(adjective: Adjective, aspect: Aspect) -> str:
    """The form of the adjective that goes with the aspect."""
    return adjective[aspect.gender == "f"]


def elided(word: str, after: str) -> str:
    """ "de" or "que" before what follows: "d'original", "de plat"."""
    return f"{word[:-1]}'{after}" if after[0] in VOWELS else f"{word} {after}"


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[0].upper() + text[1:]


@dataclass(frozen=True)
class Words:
    """What one sentence is made of: two aspects, and an adjective of the right and of the opposite side for each."""

    one: Aspect
    other: Aspect
    right: Adjective
    wrong: Adjective

    def said(self, aspect: Aspect, adjective: Adjective) -> str:
        return f"{aspect.words} est {agreed(adjective, aspect)}"


Sentence = Callable[[Words], str]


def _despite(w: Words) -> str:
    return f"Malgré {w.one.indefinite} {agreed(w.wrong, w.one)}, {w.said(w.other, w.right)}."


def _certainly(w: Words) -> str:
    return f"{capital(w.one.words)} est certes {agreed(w.wrong, w.one)}, mais {w.said(w.other, w.right)}."


def _expected(w: Words) -> str:
    return f"On m'avait annoncé un film {w.wrong[0]} : il est {w.right[0]}."


def _far_from(w: Words) -> str:
    return f"Loin d'être {agreed(w.wrong, w.one)}, {w.said(w.one, w.right)}."


def _they_are_wrong(w: Words) -> str:
    return f"Ceux qui ont trouvé {w.one.words} {agreed(w.wrong, w.one)} se trompent."


def _not(w: Words) -> str:
    return f"Non, {w.one.words} n'est pas {agreed(w.wrong, w.one)}."


def _nothing(w: Words) -> str:
    return f"Je n'ai rien vu {elided('de', w.wrong[0])} dans {w.one.words}."


def _rather_than(w: Words) -> str:
    right, wrong = agreed(w.right, w.one), agreed(w.wrong, w.one)
    return f"{capital(w.one.words)} me semble {right} plutôt {elided('que', wrong)}."


def _plain(w: Words) -> str:
    return f"{capital(w.said(w.one, w.right))}."


# Each says the same of a good film with the adjectives one way round, and of a bad one with them the other way round.
TURNS: tuple[Sentence, ...] = (
    *(_despite, _certainly, _expected, _far_from, _they_are_wrong, _not, _nothing, _rather_than, _plain),
)


def _as_much(w: Words) -> str:
    return f"Autant {w.said(w.one, w.right)}, autant {w.said(w.other, w.wrong)}."


def _neither(w: Words) -> str:
    return f"{capital(w.one.words)} n'est ni {agreed(w.right, w.one)} ni {agreed(w.wrong, w.one)}."


def _in_turn(w: Words) -> str:
    return f"{capital(w.one.words)} est tour à tour {agreed(w.right, w.one)} et {agreed(w.wrong, w.one)}."


BALANCED: tuple[Sentence, ...] = (_as_much, _neither, _in_turn)

PLAIN_SHARE = 0.25  # of the neutral sentences
VERDICTS = {
    POSITIVE: ("À voir.", "Je le reverrai.", "Allez-y."),
    NEGATIVE: ("À éviter.", "Je suis parti avant la fin.", "Passez votre chemin."),
    NEUTRAL: ("À chacun de juger.", "Le bilan est partagé.", "Cela se laisse voir."),
}


def opinions(rng: Random, label: str, n: int) -> list[str]:
    """`n` sentences that leave no doubt of the label, no two of them about the same aspect."""
    aspects = rng.sample((*ASPECTS, FILM), 2 * n)
    return [_opinion(rng, label, *aspects[2 * i : 2 * i + 2]) for i in range(n)]


def _opinion(rng: Random, label: str, one: Aspect, other: Aspect) -> str:
    good, bad = rng.choice(GOOD), rng.choice(BAD)
    if label == NEUTRAL:
        if rng.random() < PLAIN_SHARE:
            return f"{capital(one.words)} est {agreed(rng.choice(MIDDLING), one)}, sans plus."
        right, wrong = (good, bad) if rng.random() < 0.5 else (bad, good)
        return rng.choice(BALANCED)(Words(one, other, right, wrong))
    right, wrong = (good, bad) if label == POSITIVE else (bad, good)
    return rng.choice(TURNS)(Words(one, other, right, wrong))
