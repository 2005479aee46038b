"""Token ids of a dataset's texts, kept on disk under a hash of the texts and of the tokenizer."""

import hashlib
import json
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from affinage.checked_files import read_checked, write_checked
from affinage.console import progress_bar_options
from affinage.paths import user_cache

TokenIds = dict[str, np.ndarray]  # (tokens,) int32 by text, special tokens included, before anything is cut

FORMAT = 1  # of the files; another number makes all older ones useless
LIMIT_BYTES = 5 * 1024**3
PACKAGES = ("ludwig", "transformers", "tokenizers")
TEXTS_AT_A_TIME = 1024


def token_ids(texts: Iterable[str], tokenizer: Any) -> TokenIds | None:
    """The ids of these texts in any order, read from disk when they were encoded before, else encoded and kept.

    `tokenizer` is one of transformers. None for a tokenizer whose ids nothing but encoding can tell; see `identity`.
    """
    known = identity(tokenizer)
    if known is None:
        return None
    digests = {text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in set(texts)}
    ordered = sorted(digests, key=digests.__getitem__)
    key = hashlib.sha256(known.encode() + b"".join(digests[text] for text in ordered)).hexdigest()
    found = _read(f"{key}.ids", ordered)
    if found is None:
        found = _encode(ordered, tokenizer)
        _keep(f"{key}.ids", found)
    return found


def identity(tokenizer: Any) -> str | None:
    """SHA-256, in hexadecimal, of everything about a tokenizer that decides ids, wherever its files are.

    None when that cannot be known: a class of the model's own, one without a state to read, or dropout.
    """
    if not type(tokenizer).__module__.startswith("transformers.") or not hasattr(tokenizer, "backend_tokenizer"):
        return None
    try:
        state = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception:  # the library raises nothing narrower for parts written in Python
        return None
    if state["model"].get("dropout"):
        return None
    described = {
        "format": FORMAT,
        "packages": {name: version(name) for name in PACKAGES},
        "class": type(tokenizer).__qualname__,
        "split_special_tokens": tokenizer.split_special_tokens,
        "state": {name: part for name, part in state.items() if name not in ("truncation", "padding")},
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def folder() -> Path:
    """Where the files are, below XDG_CACHE_HOME or ~/.cache. Raises OSError when there is no such place."""
    try:
        return user_cache() / "tokenized"
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _encode(texts: list[str], tokenizer: Any) -> TokenIds:
    found: TokenIds = {}
    with tqdm(total=len(texts), desc="encoding", unit="text", leave=False, delay=2, **progress_bar_options()) as bar:
        for first in range(0, len(texts), TEXTS_AT_A_TIME):
            some = texts[first : first + TEXTS_AT_A_TIME]
            encoded = tokenizer(some, truncation=False, verbose=False)["input_ids"]
            found |= {text: np.array(ids, dtype=np.int32) for text, ids in zip(some, encoded, strict=True)}
            bar.update(len(some))
    return found


def _read(name: str, texts: list[str]) -> TokenIds | None:
    """What `_keep` wrote for these texts; None when there is nothing, or nothing whole."""
    try:
        content = read_checked(folder() / name)
    except OSError:
        return None
    if content is None:
        return None
    numbers = np.frombuffer(content, dtype="<i4")
    ends = len(texts) + np.cumsum(numbers[: len(texts)], dtype=np.int64)
    return dict(zip(texts, np.split(numbers, [len(texts), *ends])[1:-1], strict=True))


def _keep(name: str, found: TokenIds) -> None:
    """Writes the lengths and the ids; where no file can be written, the next run encodes again."""
    lengths = np.array([len(ids) for ids in found.values()])
    numbers = np.concatenate([lengths, *found.values()]).astype("<i4").tobytes()
    try:
        write_checked(folder() / name, numbers, LIMIT_BYTES)
    except OSError as error:
        tqdm.write(f"warning: token ids cannot be kept for the next run: {error}", file=sys.stderr)
