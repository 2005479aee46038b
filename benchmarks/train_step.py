"""Measures a training step, its time and its memory, of Affinage's trainer against stock Ludwig's, as ratios.

.venv/bin/python benchmarks/train_step.py [--quick] [--output FILE]
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from affinage.benchmark_step import (
    TINY,
    Settings,
    around_steps,
    make_model,
    make_rows,
    make_trainer,
    measure_memory,
    plain_loss,
    prepare_process,
)
from affinage.benchmarking import spread, surroundings
from affinage.console import run_script, stdout
from affinage.paths import ROOT, display

OUTPUT = ROOT / "benchmarks" / "train_step.json"
CONTESTANTS = ("stock", "affinage")
FASTER_AT_LEAST, MEMORY_AT_MOST = 1.6, 0.6
LOSS_TOLERANCE = 1e-5  # relative


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints the verdict; 1 when a loss is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    parser.add_argument("--quick", action="store_true", help="a tiny model, twice: shows that the script runs")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(sys.stderr):
        result = {"quick": arguments.quick, **measure(TINY if arguments.quick else Settings(), Path(work))}
    output = arguments.output or (None if arguments.quick else OUTPUT)
    show(result)
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stdout.print(display(output))
    return 0 if result["losses"]["as_expected"] else 1


def measure(settings: Settings, work: Path) -> dict[str, Any]:
    """The whole comparison as JSON-able values, in seconds and bytes."""
    prepare_process()
    import torch

    busy = psutil.cpu_percent(interval=1.0)
    make_model(settings, work)
    seconds, losses, sizes = time_and_losses(settings, work)
    # a fresh process each time, so that no memory is left over from the measurement before
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        in_turn = partial(pool.map, partial(measure_memory, settings, work), CONTESTANTS)
        memory = [dict(zip(CONTESTANTS, in_turn(), strict=True)) for _ in range(settings.memory_runs)]
    speed, size = compared(seconds, "stock", "affinage"), compared(memory, "affinage", "stock")
    return {
        "settings": asdict(settings) | sizes,
        "time": speed | {"bar": FASTER_AT_LEAST, "met": speed["ratio"]["median"] >= FASTER_AT_LEAST},
        "memory": size | {"bar": MEMORY_AT_MOST, "met": size["ratio"]["median"] <= MEMORY_AT_MOST},
        "losses": losses,
        "threads": torch.get_num_threads(),
        "processor_use_before_percent": busy,
        "environment": surroundings(),
    }


def compared(pairs: list[Any], above: str, below: str) -> dict[str, Any]:
    """Spread of each contestant and of the ratios above / below within the pairs."""

    found = {name: spread([pair[name] for pair in pairs]) for name in CONTESTANTS}
    found["ratio"] = spread([pair[above] / pair[below] for pair in pairs])
    return {"n": len(pairs), "ratio_of": f"{above} / {below}", **found, "pairs": pairs}


def time_and_losses(settings: Settings, work: Path) -> tuple[list[dict[str, float]], dict[str, Any], dict[str, Any]]:
    """Seconds per step in pairs, the losses of one batch, and the sizes of rows and model."""
    data = make_rows(settings, settings.warmup + settings.pairs)
    stock, stock_rows = make_trainer(settings, work, data, "stock", [])
    stock_step = stock_steps(stock, stock_rows, settings.batch_size)
    marks: list[float] = []

    def stock_first() -> None:
        marks.append(time.perf_counter())
        next(stock_step)
        marks.append(time.perf_counter())

    callbacks = around_steps(stock_first, lambda: marks.append(time.perf_counter()))
    affinage, rows = make_trainer(settings, work, data, "affinage", callbacks)
    affinage.train(rows, save_path=str(work / "run"))
    pairs = [{"stock": b - a, "affinage": c - b} for a, b, c in zip(*(marks[i::3] for i in range(3)), strict=True)]
    tokens = [len(row.ids) for row in affinage.rows.rows]
    sizes = {name: affinage.summary()[name] for name in ("parameters", "trainable_parameters")}
    sizes["tokens_per_row"] = {"min": min(tokens), "mean": statistics.mean(tokens), "max": max(tokens)}
    return pairs[settings.warmup :], compare_losses(affinage, stock, stock_rows, data, work), sizes


def stock_steps(trainer: Any, rows: Any, batch_size: int) -> Iterator[None]:
    """Does what Ludwig's training loop does, but for logs and progress bar, and stops after every step."""
    trainer.dist_model.train()
    trainer.model.reset_metrics()
    with rows.initialize_batcher(batch_size, should_shuffle=False) as batcher:
        while not batcher.last_batch():
            loss, _, _ = trainer.train_step(*trainer._batch_to_tensors(batcher.next_batch()))
            trainer.scheduler.step()
            loss.item()
            yield


def compare_losses(affinage: Any, stock: Any, stock_rows: Any, data: Any, work: Path) -> dict[str, Any]:
    """Mean loss (nats) per answer token of one row and of the first batch, all with the weights Affinage trained."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from affinage.ludwig_ext import batches, checkpoints

    affinage.model.model.save_pretrained(work / "adapter")
    checkpoints.load_trainable_state(stock.model, checkpoints.trainable_state(affinage.model))
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(work / "model"), work / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(work / "model")

    def losses(n: int) -> dict[str, float]:
        batch = batches.collate(affinage.rows.rows[:n], affinage.model.special.pad)
        with stock_rows.initialize_batcher(n, should_shuffle=False) as batcher:
            matrices = stock._batch_to_tensors(batcher.next_batch())
        found = {"affinage": affinage.nll(batch).item() / batch.answer_tokens}
        found["stock"] = stock._forward_pass(*matrices, should_step=False)[1].item()
        return found | {"plain": plain_loss(plain, tokenizer, data.head(n))}

    for model in (affinage.dist_model, stock.dist_model, plain):
        model.eval()
    with torch.no_grad():
        row, batch = losses(1), losses(affinage.batch_size)
    equal = [abs(found[side] / found["plain"] - 1) < LOSS_TOLERANCE for found in (row, batch) for side in CONTESTANTS]
    # stock Ludwig attends padding, which one row has none of
    return {"row": row, "batch": batch, "as_expected": equal == [True, True, False, True]}


def show(result: dict[str, Any]) -> None:
    """Prints the measurements, the losses and, unless quick, the verdict."""
    table = Table("", "n", *CONTESTANTS, "ratio", "from", "to", "bar", "met", title="Medians; ratios are within pairs")
    for part, label, unit in (("time", "seconds", 1), ("memory", "MiB above model", 2**20)):
        found = result[part]
        cells = [f"{found[name]['median'] / unit:.3f}" for name in CONTESTANTS]
        cells += [f"{found['ratio'][edge]:.2f}" for edge in ("median", "min", "max")]
        met = "not judged" if result["quick"] else "yes" if found["met"] else "[red]no[/]"
        table.add_row(f"{label}, {found['ratio_of']}", str(found["n"]), *cells, str(found["bar"]), met)
    stdout.print(table)
    for part in ("row", "batch"):
        losses = result["losses"][part].items()
        stdout.print(f"Loss of one {part}: " + ", ".join(f"{name} {loss:.6f}" for name, loss in losses))
    stdout.print(f"The losses are {'' if result['losses']['as_expected'] else '[red]NOT[/] '}what they should be.")
    stdout.print(f"Other programs used {result['processor_use_before_percent']:.0f} % of the processor at the start.")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
