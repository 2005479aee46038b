"""Measures training steps of a config by batch size and bits of the base weights, each in a process of its own."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from affinage.errors import AffinageError
from affinage.footprint.units import USABLE, unit_for

NO_ROOM = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


@dataclass(frozen=True)
class Cell:
    """What is to be measured: bits of the base weights (4, 8, 16 or 32), rows in a batch, tokens of each, steps."""

    bits: int
    batch: int
    tokens: int
    steps: int


@dataclass(frozen=True)
class Result:
    """Seconds of each step and bytes of its peak, or in `refused` why there are none; `estimate` is in bytes, too."""

    bits: int
    batch: int
    seconds: list[float]
    peak: int | None
    reserved: int | None
    estimate: int | None
    refused: str = ""


def settings(config: dict[str, Any], cell: Cell) -> dict[str, Any]:
    """The config with the base weights in so many bits, one batch a step and no evaluation.

    16 is what Affinage's mixed precision does: bfloat16, but float32 for the weights that are trained; 32 is neither.
    """
    trainer = {"batch_size": cell.batch, "gradient_accumulation_steps": 1, "skip_all_evaluation": True}
    trainer["use_mixed_precision"] = cell.bits == 16
    quantization = {**(config.get("quantization") or {}), "bits": cell.bits} if cell.bits < 16 else None
    return {**config, "quantization": quantization, "trainer": {**config["trainer"], **trainer}}


def measure_cells(config: dict[str, Any], cells: Sequence[Cell]) -> Iterator[Result]:
    """One result after another. What does not fit is a result; whatever else goes wrong is raised."""
    for cell in cells:
        # a fresh process each time, so that no memory is left over from the cell before
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                yield pool.submit(_measure, config, cell, str(Path.cwd())).result()
            except BrokenProcessPool:
                yield Result(cell.bits, cell.batch, [], None, None, None, "does not fit: the system ended the process")
            except (RuntimeError, MemoryError) as error:
                if not any(sign in str(error) for sign in NO_ROOM):
                    raise
                yield Result(cell.bits, cell.batch, [], None, None, None, "does not fit")


def _measure(config: dict[str, Any], cell: Cell, folder: str) -> Result:
    """Runs in a process of its own, in the folder that paths in the config are relative to."""
    os.chdir(folder)
    from affinage.console import quiet_libraries

    quiet_libraries()
    from ludwig.utils.torch_utils import get_torch_device

    from affinage import training
    from affinage.footprint.measure import measure
    from affinage.footprint.needs import Footprint
    from affinage.footprint.step import Batch
    from affinage.ludwig_ext import register
    from affinage.memory_estimate import free_memory

    register()
    config = settings(config, cell)
    try:
        resolved = training.resolve(config, "this combination")
    except AffinageError as error:
        return Result(cell.bits, cell.batch, [], None, None, None, f"Ludwig refuses it: {error}")
    device = get_torch_device()
    batch = Batch(cell.batch, cell.tokens, cell.tokens // 2)
    estimate = sum(Footprint(resolved, device).items(batch).values())
    if device == "cpu" and estimate > USABLE["cpu"] * free_memory("cpu"):  # asking for too much ends other programs
        return Result(cell.bits, cell.batch, [], None, None, estimate, "does not fit, says the estimate: not tried")
    found = measure(config, None, cell.steps, shape=batch)
    return Result(cell.bits, cell.batch, found.seconds, found.peak, found.reserved, estimate)


def draw(results: Sequence[Result], tokens: int, path: Path) -> None:
    """Writes a PNG: memory and seconds per step by batch size, a line for each number of bits."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    name, unit = unit_for(max((result.peak or 0 for result in results), default=0))
    figure, (memory, time) = plt.subplots(1, 2, figsize=(10, 4.2), dpi=150)
    colours = {4: "#2463a8", 8: "#c8501e", 16: "#4b8b3b", 32: "#6b5b95"}
    for bits in dict.fromkeys(result.bits for result in results):
        done = [result for result in results if result.bits == bits and result.peak is not None]
        at = [result.batch for result in done]
        style = {"color": colours.get(bits), "markersize": 5}
        memory.plot(at, [(r.peak or 0) / unit for r in done], "o-", label=f"{bits} bits", **style)
        memory.plot(at, [(r.estimate or 0) / unit for r in done], "x:", linewidth=1, **style)
        time.plot(at, [median(r.seconds) for r in done], "o-", label=f"{bits} bits", **style)
    memory.set(ylabel=f"peak memory ({name})", title="crosses: the estimate", ylim=(0, None))
    time.set(ylabel="seconds per step (median)", ylim=(0, None))
    for axes in (memory, time):
        axes.set(xlabel=f"rows of {tokens} tokens in a batch", xticks=sorted({result.batch for result in results}))
        axes.grid(alpha=0.25)
    if any(result.peak is not None for result in results):
        memory.legend(frameon=False)
    figure.tight_layout()
    partial = path.with_suffix(".partial")
    figure.savefig(partial, format="png")
    plt.close(figure)
    partial.replace(path)


def median(seconds: Sequence[float]) -> float:
    """The middle one of the measured seconds, without the first step, which warms up."""
    ordered = sorted(seconds[1:] or seconds)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [
        {**asdict(result), "median_seconds": median(result.seconds) if result.seconds else None} for result in results
    ]
