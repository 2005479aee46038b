"""What an answer has that its reference lacks, word by word."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

SAME, ADDED, REMOVED = 0, 1, -1
WORDS = re.compile(r"\w+|\s+|[^\w\s]")
# SequenceMatcher takes time with the product of the lengths: beyond it, one block stands for all that differs.
LARGEST = 4_000_000

Piece = tuple[int, str]


def word_diff(reference: str, answer: str) -> list[Piece]:
    """Pieces of text, each SAME, ADDED (only in the answer) or REMOVED (only in the reference).

    The pieces that are not REMOVED join to the answer, those that are not ADDED to the reference. Words count with
    their accents and case; white space and punctuation between two changed words belong to the change.
    """
    before, after = WORDS.findall(reference), WORDS.findall(answer)
    pieces: list[Piece] = []
    for kind, i, j, k, m in _opcodes(before, after):
        if kind == "equal":
            pieces.append((SAME, "".join(before[i:j])))
            continue
        pieces += [(REMOVED, "".join(before[i:j]))] if i < j else []
        pieces += [(ADDED, "".join(after[k:m]))] if k < m else []
    return _joined(_without_islands(pieces))


def _opcodes(before: list[str], after: list[str]) -> Sequence[tuple[str, int, int, int, int]]:
    if len(before) * len(after) > LARGEST:
        return [("replace", 0, len(before), 0, len(after))]
    return SequenceMatcher(None, before, after, autojunk=False).get_opcodes()


def _without_islands(pieces: list[Piece]) -> list[Piece]:
    """Equal text without a word in it, between two changes, becomes part of both sides of the change."""
    kept: list[Piece] = []
    for place, (kind, text) in enumerate(pieces):
        between = 0 < place < len(pieces) - 1
        if kind == SAME and between and not re.search(r"\w", text):
            kept += [(REMOVED, text), (ADDED, text)]
        else:
            kept.append((kind, text))
    return kept


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Between two equal pieces, one removed and one added piece at most, in this order."""
    joined: list[Piece] = []
    texts = {REMOVED: "", ADDED: ""}
    for kind, text in [*pieces, (SAME, "")]:
        if kind != SAME:
            texts[kind] += text
            continue
        joined += [(side, texts[side]) for side in (REMOVED, ADDED) if texts[side]]
        joined += [(SAME, text)] if text else []
        texts = {REMOVED: "", ADDED: ""}
    return joined
