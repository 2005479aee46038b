"""Rows and texts that repeat others, exactly or nearly."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from affinage.curation.disk_list import DiskList
from affinage.curation.minhash import NearDuplicates, Pair, normalized, text_key
from affinage.curation.rows import TEXTS, Counts, Row

__all__ = ["Pair", "drop_exact", "drop_near", "near_pairs", "near_pairs_between", "normalized", "row_text", "text_key"]


def row_text(row: Row, columns: Sequence[str] = TEXTS) -> str:
    """The columns that are not empty, one under the other."""
    return "\n".join(text for name in columns if (text := str(row.get(name) or "")))


def drop_exact(
    rows: Iterable[Row], counts: Counts, columns: Sequence[str] = TEXTS, step: str = "exact duplicates"
) -> Iterator[Row]:
    """The rows whose columns, once `normalized`, are not all those of an earlier row; the others are counted.

    Streams; takes about 100 bytes of memory a row.
    """
    seen: set[bytes] = set()
    for row in rows:
        counts.add(step, "seen")
        keys = b"".join(text_key(str(row.get(name) or "")) for name in columns)
        key = hashlib.blake2b(keys, digest_size=16).digest()
        if key in seen:
            counts.add(step, "dropped: exact duplicate", example=f"{row.get('id', '')}: {row_text(row, columns)}")
            continue
        seen.add(key)
        yield row


def drop_near(
    rows: Iterable[Row],
    threshold: float,
    counts: Counts,
    columns: Sequence[str] = TEXTS,
    step: str = "near duplicates",
    processes: int | None = None,
) -> Iterator[Row]:
    """The first row of each cluster of rows whose joined columns have a Jaccard index of at least `threshold`.

    Single pairs link clusters, so a dropped row may be less like the one kept than the threshold; examples name the
    one kept and say how much. All rows are read, and wait on disk, before the first comes out; 350 bytes of memory a
    row.
    """
    waiting, index = DiskList(), NearDuplicates(threshold, processes=processes)
    index.add(row_text(row, columns) for row in waiting.filled(rows))
    dropped = "dropped: near duplicate"
    for place, first in enumerate(index.clusters().tolist()):
        row = waiting[place]
        counts.add(step, "seen")
        if first == place:
            yield row
        elif counts.of(step, dropped) < Counts.EXAMPLES:
            alike = f"{index.jaccard(first, place):.2f} like {waiting[first].get('id', '')}"
            counts.add(step, dropped, example=f"{row.get('id', '')} ({alike}): {row_text(row, columns)}")
        else:
            counts.add(step, dropped)


def near_pairs(
    texts: Iterable[str],
    threshold: float = 0.8,
    shingle: int = 5,
    num_perm: int = 128,
    seed: int = 1,
    processes: int | None = None,
) -> Iterator[Pair]:
    """Every pair of texts whose sets of character n-grams have at least this Jaccard index (0..1), in no special order.

    Misses at most about one pair in fifty at the threshold, next to none 0.05 above it; gives none below. n texts
    that are all alike are n(n-1)/2 pairs. `NearDuplicates` says what is compared. Raises ValueError for a threshold
    that is not above 0 and at most 1.
    """
    index = NearDuplicates(threshold, shingle, num_perm, seed, processes)
    index.add(texts)
    return index.pairs()


def near_pairs_between(
    left: Iterable[str],
    right: Iterable[str],
    threshold: float = 0.8,
    shingle: int = 5,
    num_perm: int = 128,
    seed: int = 1,
    processes: int | None = None,
) -> Iterator[Pair]:
    """As `near_pairs`, but only pairs of a text of `left` (its place there is `i`) and one of `right` (`j`)."""
    index = NearDuplicates(threshold, shingle, num_perm, seed, processes)
    lefts, rights = index.add(left), index.add(right)
    side = np.repeat(np.array([0, 1], dtype=np.uint8), [lefts, rights])
    return (Pair(pair.i, pair.j - lefts, pair.jaccard) for pair in index.pairs(part=side))
