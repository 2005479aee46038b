"""The words of a text that say what it is about, stemmed and without accents, in French or English."""

import re
from functools import lru_cache

from bm25s.stopwords import STOPWORDS_EN_PLUS, STOPWORDS_FRENCH

from affinage.curation.languages import language_of
from affinage.scoring.texts import ELISIONS, Words

LANGUAGES = ("en", "fr")
# Words that ask; "été" is a season more often than a verb in a question.
ASKING = {
    "en": "also else how long many much often shall may might must would could please say tell whose whether yes",
    "fr": "a afin ainsi alors aussi ça ceci cela celle celui cette ceux cet chaque combien comme comment doit donc "
    "dont elles faut lors où peut peux pourquoi puis quand quel quelle quelles quels quoi sans selon si sous "
    "tous tout toute toutes très vers voici voilà dit dois doivent peuvent être avoir fait faire",
}
STOPPED = {
    "en": frozenset((*STOPWORDS_EN_PLUS, *ASKING["en"].split())),
    "fr": frozenset((*STOPWORDS_FRENCH, *ASKING["fr"].split(), *ELISIONS)) - {"été", "étés"},
}
LIGATURES = {"œ": "oe", "Œ": "OE", "æ": "ae", "Æ": "AE"}
LINE_END_HYPHEN = re.compile(r"(?<=\w)[-\xad]\n(?=\w)")
_plain = {language: Words(language) for language in LANGUAGES}
_stemmed = {language: Words(language, stem=True, fold_accents=True) for language in LANGUAGES}


def terms(text: str, language: str) -> list[str]:
    """The terms of a text in order, repeated as often as they occur; `language` is one of LANGUAGES."""
    text = LINE_END_HYPHEN.sub("", text)
    for ligature, letters in LIGATURES.items():
        text = text.replace(ligature, letters)
    words = _plain[language].tokenize(text)
    return [_stem(word, language) for word in words if word not in STOPPED[language]]


def reading_language(text: str) -> str:
    """By which of LANGUAGES a text is stemmed: French where it is that, else English."""
    return "fr" if language_of(text) == "fr" else "en"


@lru_cache(maxsize=200_000)
def _stem(word: str, language: str) -> str:
    return "".join(_stemmed[language].tokenize(word))
