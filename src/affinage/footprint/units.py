"""Amounts of memory as people write and read them."""

from affinage.errors import AffinageError, Problem

UNITS = {"GB": 10**9, "GIB": 2**30}
# Of a GPU's memory, the rest is for the CUDA context and gaps between blocks. On a CPU, processes rose up to 2.5
# times as far as what torch had allocated (benchmarks/memory.json): its allocator gives little back to the system.
USABLE = {"cuda": 0.9, "mps": 0.9, "cpu": 0.4}


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
