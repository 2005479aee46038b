"""Texts as words: a tokenizer that keeps accents, French elisions, and the forms that are taken for equal."""

import unicodedata
from functools import lru_cache
from typing import Literal, get_args

import regex
import snowballstemmer

from affinage.metrics import normalise

Language = Literal["da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pt", "ro", "ru", "sv", "tr"]
LANGUAGES: tuple[str, ...] = get_args(Language)
SNOWBALL = dict(
    zip(
        LANGUAGES,
        "danish german english spanish finnish french hungarian italian dutch norwegian portuguese romanian russian "
        "swedish turkish".split(),
        strict=True,
    )
)
ELISIONS = frozenset("c d j l m n s t qu jusqu lorsqu puisqu quoiqu".split())
STEMMED_FROM = 4  # letters: rouge-score leaves shorter words as they are, so that "les" does not become "le"

_APOSTROPHES = "’ʼ＇"
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:'[\p{L}\p{M}\p{N}]+)*")
_PUNCTUATION = regex.compile(r"(?![-−](?=\p{N}))(?!%)\p{P}")


class Words:
    """Turns a text into its words; has the `tokenize` that rouge-score asks of a tokenizer."""

    def __init__(self, language: str = "fr", stem: bool = False, fold_accents: bool = False) -> None:
        self.language, self.fold_accents = language, fold_accents
        self._stemmer = snowballstemmer.stemmer(SNOWBALL[language]) if stem else None
        self._form = lru_cache(maxsize=100_000)(self._word_form)

    def tokenize(self, text: str) -> list[str]:
        """The words in order: NFC, case folded, letters and digits of every script, apostrophes as cuts.

        In French only elisions are cut off ("l'été" is "l" and "été"; "aujourd'hui" is one word). Then stemmed, then
        without accents, when asked for.
        """
        found = _WORD.findall(unicodedata.normalize("NFC", _plain(text)))
        words = (part for word in found for part in (self._cut(word) if "'" in word else (word,)))
        return [self._form(word) for word in words]

    def _cut(self, word: str) -> list[str]:
        parts = word.split("'")
        if self.language != "fr":
            return parts
        elided = 0
        while elided < len(parts) - 1 and parts[elided] in ELISIONS:
            elided += 1
        return [*parts[:elided], "'".join(parts[elided:])]

    def _word_form(self, word: str) -> str:
        if self._stemmer is not None and len(word) >= STEMMED_FROM:
            word = self._stemmer.stemWord(word)
        return without_accents(word) if self.fold_accents else word


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    for mark in _APOSTROPHES:
        text = text.replace(mark, "'")
    return text.casefold()


def without_accents(text: str) -> str:
    """The text without combining marks: "é" as "e"."""
    apart = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in apart if not unicodedata.combining(c)))


def loose(text: str) -> str:
    """The text as `loose` exact match compares it: case and punctuation do not count, nor do runs of white space.

    Punctuation becomes a space; a minus before a digit and the percent sign stay, because they change a number.
    """
    return normalise(_PUNCTUATION.sub(" ", _plain(text)))


def label_key(text: str) -> str:
    """What two spellings of a label have in common: case, white space and punctuation around it do not count."""
    return loose(text) or normalise(text)
