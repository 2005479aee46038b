"""How much memory this process has held."""

import sys

import psutil


def peak_memory() -> dict[str, int]:
    """The largest amounts so far, in bytes: resident memory, and what torch allocated on the GPU where there is one."""
    import torch

    peak = {"resident": _peak_resident()}
    if torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated()
    return peak


def _peak_resident() -> int:
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
