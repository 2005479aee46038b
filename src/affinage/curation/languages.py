"""The language a text is written in, or the plain word that nobody can tell."""

from functools import lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

UNKNOWN = "unknown"
SHORT = 20  # characters below which no guess is made
READ = 2000  # characters that are enough for one
SURE = 0.5  # of 3,194 French and English texts of 20 characters or more, two got a wrong language above it


def language_of(text: str) -> str:
    """The ISO 639 code of a text's language, "unknown" when it is shorter than SHORT or the model is not SURE."""
    text = text.strip()
    if len(text) < SHORT:
        return UNKNOWN
    language, _ = _identifier().classify(text[:READ])
    return UNKNOWN if language in ("und", "zxx") else language


def known_languages() -> list[str]:
    """Every code that `language_of` may give, "unknown" apart."""
    return sorted(set(_identifier().labels) - {"und", "zxx"})


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True, min_confidence=SURE)
