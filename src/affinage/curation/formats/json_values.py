"""What a JSON value must be, so that it can be a record and be written again."""

import json
import math
from pathlib import Path
from typing import Any

from affinage.curation.formats.records import MAX_DEPTH, broken

KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is too large")
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key '{twice}' stands twice in one object")
    return found


# Raises ValueError for what is not JSON, NaN and infinities included, and for an object with a key twice.
DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant)


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    return KINDS.get(type(value), "a number")


def reason(error: Exception) -> str:
    """Why a value that is well formed is refused, as a sentence."""
    return f"nested more than {MAX_DEPTH} levels deep." if isinstance(error, RecursionError) else f"{error}."


def checked_record(value: Any, text: str, path: Path, line: int, name: str) -> dict[str, Any]:
    """The value, which was read from `text`, when it is an object that can be written again.

    Raises AffinageError for another kind of value, for one nested too deep, and for half a character ("\\ud800").
    """
    if not isinstance(value, dict):
        raise broken(path, line, f"{name} is {kind_of(value)}, not an object.", "Write each record as {...}.")
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise broken(path, line, f"{name} is nested more than {MAX_DEPTH} levels deep.")
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise broken(path, line, f"{half} is half of a character (a lone surrogate).", "Mend the text.") from error
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        parts = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = [child for part in parts for child in part]
    return depth
