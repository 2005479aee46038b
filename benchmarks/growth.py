"""Measures whether preparing rows and an epoch's bookkeeping cost the same per row, however many rows there are.

.venv/bin/python benchmarks/growth.py [--quick] [--output FILE]
"""

import argparse
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from affinage.benchmark_step import TINY, ludwig_config, make_model, prepare_process
from affinage.benchmarking import surroundings
from affinage.console import run_script, stdout
from affinage.paths import ROOT, display

OUTPUT = ROOT / "benchmarks" / "growth.json"
ROWS, ROUNDS = (1_000, 10_000, 100_000), 3
WITHIN = 0.2  # of the time per row at the smallest size


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    parser.add_argument("--quick", action="store_true", help="few rows, once: shows that the script runs")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(sys.stderr):
        result = {"quick": arguments.quick, **measure((100, 200) if arguments.quick else ROWS, ROUNDS, Path(work))}
    show(result)
    output = arguments.output or (None if arguments.quick else OUTPUT)
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stdout.print(display(output))
    return 0


def measure(sizes: tuple[int, ...], rounds: int, work: Path) -> dict[str, Any]:
    """Microseconds per row of every part at every size, the sizes in turn so that a slow minute slows all of them."""
    prepare_process()
    busy = psutil.cpu_percent(interval=1.0)
    make_model(TINY, work)
    per_row(min(sizes), work)  # what is loaded at first use is not measured
    found: dict[int, list[dict[str, float]]] = {n: [] for n in sizes}
    for _ in range(rounds):
        for n in sizes:
            found[n].append(per_row(n, work))
    medians = {
        n: {part: statistics.median(r[part] for r in runs) for part in runs[0]} for n, runs in sorted(found.items())
    }
    smallest = medians[min(sizes)]["all"]
    return {
        "n": rounds,
        "microseconds_per_row": medians,
        "rounds": found,
        "growth": {n: parts["all"] / smallest - 1 for n, parts in medians.items()},
        "bar": WITHIN,
        "met": all(parts["all"] / smallest - 1 <= WITHIN for parts in medians.values()),
        "processor_use_before_percent": busy,
        "environment": surroundings(),
    }


def per_row(n: int, work: Path) -> dict[str, float]:
    """Microseconds per row: preprocessing as `make train` does it, rows of ids, and the batches of one epoch."""
    from ludwig.api import LudwigModel

    from affinage.ludwig_ext import layout, register
    from affinage.ludwig_ext.batches import SpecialTokens, build_rows, epoch_batches

    register()
    data = make_texts(n)
    marks = [time.perf_counter()]
    ludwig = LudwigModel(ludwig_config(work, batch_size=8), backend="local")
    splits = ludwig.preprocess(training_set=data, skip_save_processed_input=True)
    marks.append(time.perf_counter())
    special = SpecialTokens(prefix=(), suffix=(), pad=2, eos=1)
    prompts, answers = splits.training_set.dataset.values()
    rows = build_rows(prompts, answers, special, 4096)
    marks.append(time.perf_counter())
    for chosen in epoch_batches(n, 8, 1, 0):
        layout.padded([rows.rows[i] for i in chosen], 8, 10, 2)
    marks.append(time.perf_counter())
    parts = {
        name: (end - start) / n * 1e6
        for name, (start, end) in zip(("preprocessing", "rows", "batches"), pairwise(marks), strict=True)
    }
    return parts | {"all": (marks[-1] - marks[0]) / n * 1e6}


def make_texts(n: int) -> Any:
    """Prompts of 20 to 60 words and answers of 5 to 30; the same ones at every call."""
    import pandas as pd

    draw = random.Random(1)

    def text(low: int, high: int) -> str:
        return " ".join(f"w{draw.randrange(4, TINY.vocab_size)}" for _ in range(draw.randint(low, high)))

    return pd.DataFrame({"prompt": [text(20, 60) for _ in range(n)], "output": [text(5, 30) for _ in range(n)]})


def show(result: dict[str, Any]) -> None:
    medians = result["microseconds_per_row"]
    table = Table("rows", *next(iter(medians.values())), "growth", title=f"Microseconds per row, n = {result['n']}")
    for n, parts in medians.items():
        table.add_row(f"{n:,}", *(f"{value:.0f}" for value in parts.values()), f"{result['growth'][n]:+.0%}")
    stdout.print(table)
    verdict = "not judged" if result["quick"] else "met" if result["met"] else "[red]not met[/]"
    stdout.print(f"Bar: at most {result['bar']:.0%} more per row than at the smallest size: {verdict}.")
    stdout.print(f"Other programs used {result['processor_use_before_percent']:.0f} % of the processor at the start.")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
