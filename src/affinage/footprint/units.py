"""Amounts of memory as people write and read them."""

from affinage.errors import AffinageError, Problem

UNITS = {"GB": 10**9, "GIB": 2**30}


def parse_memory(text: str) -> int:
    """Bytes of "16GB" (10^9 each, as cards are sold) or "16GiB" (2^30). Raises AffinageError for anything else."""
    written = text.upper().strip()
    for unit, size in UNITS.items():
        if written.endswith(unit):
            try:
                return round(float(written.removesuffix(unit)) * size)
            except (ValueError, OverflowError):
                break
    raise AffinageError(Problem("MEMORY", f"'{text}' is not an amount of memory.", "such as 16GB or 24GiB"))


def unit_for(most: int) -> tuple[str, int]:
    """The unit in which amounts up to `most` bytes are shown, and its bytes."""
    return ("GiB", 2**30) if most >= 2**32 else ("MiB", 2**20)
