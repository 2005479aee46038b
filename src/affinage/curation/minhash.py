"""Finds texts that are nearly the same: MinHash signatures cut into bands propose, the exact Jaccard index decides."""

import hashlib
import os
import signal
import threading
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import batched, chain, islice
from multiprocessing import get_context, parent_process
from typing import NamedTuple

import numpy as np
from datasketch import MinHash
from tqdm import tqdm

from affinage.console import progress_bar_options
from affinage.curation.disk_list import DiskList

BATCH = 2000  # texts that one process signs at a time
WORTH_PROCESSES = 10  # batches; below, starting processes takes longer than it saves
PAIRS_AT_ONCE = 100_000
RECALL = 0.98  # part of the pairs just at the threshold that banding finds

Places = np.ndarray  # of texts in the order they were added, int64


class Pair(NamedTuple):
    """Two texts, by their places in the input (i < j), and the exact Jaccard index of their shingles (0..1)."""

    i: int
    j: int
    jaccard: float


def normalized(text: str) -> str:
    """The text as duplicates compare it: NFC, case folded, every run of white space one space, none at the ends."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(folded.split())


def text_key(text: str) -> bytes:
    """A 16-byte hash that two texts share when they are the same once `normalized`, and else practically never."""
    return hashlib.blake2b(normalized(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def text_keys(texts: Iterable[str]) -> np.ndarray:
    """(n,) uint64, the first half of each `text_key`: a million texts share one by chance with probability 3e-8."""
    return np.fromiter((int.from_bytes(text_key(text)[:8], "little") for text in texts), dtype=np.uint64)


def first_equals(keys: np.ndarray) -> Places:
    """(n,) for each key the place of the first key equal to it, which may be its own."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse]


class _Signed(NamedTuple):
    """What is kept in memory of n texts."""

    keys: np.ndarray  # (n,) uint64
    sizes: np.ndarray  # (n,) uint32, distinct shingles
    bands: np.ndarray  # (bands, n) uint64
    sketches: np.ndarray  # (n, num_perm) uint8, the low byte of each MinHash value


@dataclass(frozen=True)
class _Signing:
    """How texts become sets of shingles, and these become signatures of `num_perm` values in bands of `width`."""

    shingle: int
    num_perm: int
    seed: int
    width: int

    def shingles(self, text: str) -> np.ndarray:
        """Sorted 64-bit hashes of the distinct n-grams of a normalised text; a shorter text is one n-gram itself."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
        codes = np.pad(codes, (0, max(0, self.shingle - len(codes))), constant_values=0x110000)  # no character
        n = len(codes) - self.shingle + 1
        hashes = np.zeros(n, dtype=np.uint64)
        for k, factor in enumerate(_odd_factors(self.seed, self.shingle)):
            hashes += codes[k : k + n] * factor
        return np.unique(hashes)

    def __call__(self, texts: Sequence[str]) -> tuple[list[str], _Signed]:
        """The normalised texts and what is kept of them."""
        clean = [normalized(text) for text in texts]
        sets = [self.shingles(text) for text in clean]
        upper = ((hashes >> np.uint64(32)).tolist() for hashes in sets)  # the upper half is the better mixed one
        minhashes = MinHash.bulk(upper, num_perm=self.num_perm, seed=self.seed, hashfunc=int, scheme="affine32")
        values = np.stack([minhash.hashvalues for minhash in minhashes])  # (n, num_perm) uint32
        bands = self.num_perm // self.width
        cut = values[:, : bands * self.width].reshape(len(values), bands, self.width).astype(np.uint64)
        hashed = (cut * _odd_factors(self.seed + 1, self.width)).sum(axis=2, dtype=np.uint64)  # (n, bands)
        sizes = np.array([len(hashes) for hashes in sets], dtype=np.uint32)
        return clean, _Signed(text_keys(clean), sizes, hashed.T.copy(), values.astype(np.uint8))


@lru_cache
def _odd_factors(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**63, n, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


class NearDuplicates:
    """Texts on disk and their signatures in memory (about 320 bytes a text), to find those that nearly repeat others.

    Texts are `normalized` and cut into character n-grams of length `shingle`; a text shorter than that is like its
    equals only. Bands are as wide as can be while a pair at the threshold is found with probability RECALL: b bands of
    r values find a pair of index J with 1 - (1 - J^r)^b (Leskovec et al., Mining of Massive Datasets, 3.4.2). Every
    pair found is verified, so none below the threshold is given. `processes` (default: one a core) share the signing;
    their number changes nothing in the result.
    """

    def __init__(
        self,
        threshold: float = 0.8,
        shingle: int = 5,
        num_perm: int = 128,
        seed: int = 1,
        processes: int | None = None,
    ) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"a threshold is above 0 and at most 1, not {threshold}")
        widths = (r for r in range(num_perm, 1, -1) if 1 - (1 - threshold**r) ** (num_perm // r) >= RECALL)
        self.threshold = threshold
        self._signing = signing = _Signing(shingle, num_perm, seed, next(widths, 1))
        self._processes = processes or os.cpu_count() or 1
        self._texts = texts = DiskList()
        self._signed: list[_Signed] = []
        # A pair at the threshold agrees in fewer values than this once in 30,000 times (4 standard deviations).
        self._least_agreement = num_perm * threshold - 4 * np.sqrt(num_perm * threshold * (1 - threshold))
        self._shingles = lru_cache(maxsize=10_000)(lambda place: signing.shingles(texts[place]))

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, texts: Iterable[str]) -> int:
        """Reads texts, each once, and returns how many there were."""
        before = len(self)
        with tqdm(desc="Signing texts", unit=" texts", delay=1, **progress_bar_options()) as bar:
            for clean, signed in _in_processes(self._signing, batched(texts, BATCH), self._processes):
                for text in clean:
                    self._texts.append(text)
                self._signed.append(signed)
                bar.update(len(clean))
        return len(self) - before

    def jaccard(self, i: int, j: int) -> float:
        """The Jaccard index of the shingles of two texts (0..1), exact as far as 64-bit hashes tell shingles apart."""
        a, b = self._shingles(i), self._shingles(j)
        shared = len(np.intersect1d(a, b, assume_unique=True))
        return shared / (len(a) + len(b) - shared)

    def identical(self) -> Places:
        """(n,) for each text the place of the first one that is the same once normalised, which may be its own."""
        return first_equals(self._arrays().keys) if len(self) else np.zeros(0, dtype=np.int64)

    def pairs(
        self,
        places: Places | None = None,
        part: np.ndarray | None = None,
        skip: Callable[[Places, Places], np.ndarray] | None = None,
    ) -> Iterator[Pair]:
        """Every pair at or above the threshold, each once, in an order that depends on the texts alone.

        `places` leaves only some texts in; `part` (n,) gives only pairs of texts from two parts. `skip(i, j)` tells
        which of the pairs about to be verified are not needed; it may change its mind while pairs come out.
        """
        places = np.arange(len(self)) if places is None else places
        if len(places) < 2:
            return
        arrays = self._arrays()
        bands = tqdm(arrays.bands, desc="Comparing", unit=" bands", delay=1, **progress_bar_options())
        for number, band in enumerate(bands):
            for i, j in _collisions(band[places], None if part is None else part[places]):
                for at in range(0, len(i), PAIRS_AT_ONCE):
                    chunk = slice(at, at + PAIRS_AT_ONCE)
                    yield from self._verified(*self._likely(places[i[chunk]], places[j[chunk]], number, skip))

    def clusters(self) -> Places:
        """(n,) for each text the place of the first one of its cluster; single pairs link clusters."""
        root = self.identical()

        def find(place: int) -> int:
            while root[place] != place:
                root[place] = root[root[place]]
                place = root[place]
            return place

        firsts = np.flatnonzero(root == np.arange(len(root)))
        for i, j, _ in self.pairs(firsts, skip=lambda i, j: root[i] == root[j]):
            a, b = sorted((find(i), find(j)))
            root[b] = a
        while (root[root] != root).any():
            root = root[root]
        return root

    def _arrays(self) -> _Signed:
        if len(self._signed) > 1:
            fields = list(zip(*self._signed, strict=True))
            self._signed = []  # so that the batches of one field go as soon as they are joined
            self._signed = [_Signed(*(np.concatenate(fields.pop(0), axis=axis) for axis in (0, 0, 1, 0)))]
        return self._signed[0]

    def _likely(
        self, i: Places, j: Places, number: int, skip: Callable[[Places, Places], np.ndarray] | None
    ) -> tuple[Places, Places]:
        """The pairs that met in no band before this one, that sizes and sketches allow, and that are needed."""
        arrays = self._arrays()
        few, many = np.sort([arrays.sizes[i], arrays.sizes[j]], axis=0)
        keep = few >= self.threshold * many
        for band in arrays.bands[:number]:
            keep &= band[i] != band[j]
        i, j = i[keep], j[keep]
        keep = (arrays.sketches[i] == arrays.sketches[j]).sum(axis=1) >= self._least_agreement
        if skip is not None:
            keep &= ~skip(i, j)
        return i[keep], j[keep]

    def _verified(self, i: Places, j: Places) -> Iterator[Pair]:
        for pair in zip(i.tolist(), j.tolist(), strict=True):
            jaccard = self.jaccard(*pair)
            if jaccard >= self.threshold:
                yield Pair(*pair, jaccard)


def _collisions(hashes: np.ndarray, part: np.ndarray | None) -> Iterator[tuple[Places, Places]]:
    """Pairs i < j of equal hashes (and unequal parts), in arrays: first everyone's first partner, then the second..."""
    order = np.argsort(hashes, kind="stable") if part is None else np.lexsort((part, hashes))
    changes = hashes[order][1:] != hashes[order][:-1]
    end = _stretch_ends(changes)
    one = np.arange(len(order))
    other = one + 1 if part is None else _stretch_ends(changes | (part[order][1:] != part[order][:-1]))
    while (alive := other < end).any():
        one, other, end = one[alive], other[alive], end[alive]
        yield np.minimum(order[one], order[other]), np.maximum(order[one], order[other])
        other = other + 1


def _stretch_ends(changes: np.ndarray) -> Places:
    """(n,) for each of n sorted items the place behind the last one equal to it; `changes` is (n - 1,)."""
    ends = np.append(np.flatnonzero(changes) + 1, len(changes) + 1)
    return np.repeat(ends, np.diff(ends, prepend=0))


def _in_processes(call: _Signing, batches: Iterable[Sequence[str]], processes: int) -> Iterator[tuple]:
    """call(batch) for each batch, in order, a few batches ahead; in this process when there are few or one core."""
    batches = iter(batches)
    first = list(islice(batches, WORTH_PROCESSES))
    if processes == 1 or len(first) < WORTH_PROCESSES:
        yield from map(call, chain(first, batches))
        return
    # Spawned, because a fork of a process that has threads may hang.
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_leave_with_parent) as pool:
        ahead: deque[Future] = deque()
        for batch in chain(first, batches):
            ahead.append(pool.submit(call, batch))
            if len(ahead) > 2 * processes:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _leave_with_parent() -> None:
    """Ctrl-C is the parent's to handle, and a parent that is killed leaves no process behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        if parent := parent_process():
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
