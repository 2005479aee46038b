"""What the benchmarks write alike: the spread of their figures, and the machine and versions they were taken on."""

import statistics
from collections.abc import Sequence
from typing import Any

from affinage import environment


def spread(values: Sequence[float]) -> dict[str, float]:
    """The least, the middle and the largest of the values."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def surroundings() -> dict[str, Any]:
    """Commit, versions and hardware."""
    return {"git": environment.git_state(), "packages": environment.versions(), **environment.hardware()}
