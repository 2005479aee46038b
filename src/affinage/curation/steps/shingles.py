"""How much two texts, or a text and its source, share, counted in character 5-grams of the normalised texts."""

from affinage.curation.minhash import normalized

SHINGLE = 5  # characters


def shingles(text: str) -> set[str]:
    """The distinct 5-grams of the text as duplicates compare it; a shorter text is one itself."""
    clean = normalized(text)
    return {clean[i : i + SHINGLE] for i in range(max(1, len(clean) - SHINGLE + 1))}


def similarity(a: str, b: str) -> float:
    """The Jaccard index (0..1) of the two texts' 5-grams."""
    first, second = shingles(a), shingles(b)
    return len(first & second) / len(first | second)


def share_in(text: str, source: set[str]) -> float:
    """The part (0..1) of the text's 5-grams that are in those of a source; 1 for an empty text."""
    own = shingles(text)
    return len(own & source) / len(own) if text.strip() else 1.0
