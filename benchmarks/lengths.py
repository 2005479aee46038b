"""Measures what rows of very different lengths cost: padded in fixed order, cut by length, and packed, as ratios.

.venv/bin/python benchmarks/lengths.py [--quick] [--output FILE]
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from affinage.benchmarking import spread, surroundings
from affinage.console import quiet_libraries, run_script, stdout
from affinage.paths import ROOT, display

OUTPUT = ROOT / "benchmarks" / "lengths.json"
LAYOUTS = ("fixed order", "by length", "packed")
FASTER_AT_LEAST = 1.5
LOSS_TOLERANCE = 1e-5  # relative


@dataclass(frozen=True)
class Settings:
    """A GPT-2 with random weights, and rows of `tokens` in all, a third of them the answer; lengths are uniform."""

    vocab_size: int = 50_257
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    batch_size: int = 8
    tokens: tuple[int, int] = (20, 400)
    rounds: int = 12


TINY = Settings(200, 64, 2, 4, rounds=2)


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints the verdict; 1 when the layouts do not give one loss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    parser.add_argument("--quick", action="store_true", help="a tiny model, twice: shows that the script runs")
    arguments = parser.parse_args(argv)
    quiet_libraries()
    os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    result = {"quick": arguments.quick, **measure(TINY if arguments.quick else Settings())}
    show(result)
    output = arguments.output or (None if arguments.quick else OUTPUT)
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stdout.print(display(output))
    return 0 if result["same_loss"] else 1


def measure(settings: Settings) -> dict[str, Any]:
    """Every round takes one step (forward and backward) in each layout on the same rows; the first is not counted."""
    busy = psutil.cpu_percent(interval=1.0)
    import torch

    from affinage.ludwig_ext import layout
    from affinage.ludwig_ext.batches import collate
    from affinage.ludwig_ext.model import parameter_counts

    model = make_model(settings)
    trainable, parameters = parameter_counts(model)
    cost = layout.call_cost(model)
    size = settings.batch_size
    layouts: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
        "fixed order": lambda rows: [collate(rows, 0)],
        "by length": lambda rows: layout.padded(rows, size, cost, 0),
        "packed": lambda rows: layout.packed(rows, size),
    }
    rounds = [
        {name: step(model, lay_out(rows)) for name, lay_out in layouts.items()}
        for rows in (make_rows(settings, seed) for seed in range(settings.rounds + 1))
    ]
    losses = [[found[name]["loss"] for name in LAYOUTS] for found in rounds]
    ratios = {
        name: [found["fixed order"]["seconds"] / found[name]["seconds"] for found in rounds[1:]] for name in LAYOUTS[1:]
    }
    seconds = {name: sum(found[name]["seconds"] for found in rounds[1:]) for name in LAYOUTS}
    overall = {name: seconds["fixed order"] / seconds[name] for name in LAYOUTS[1:]}
    return {
        "settings": asdict(settings) | {"parameters": parameters, "trainable_parameters": trainable},
        "n": settings.rounds,
        "rounds": rounds[1:],
        "ratios": {name: spread(r) for name, r in ratios.items()},
        "overall": overall,
        "bar": FASTER_AT_LEAST,
        "met": overall["by length"] >= FASTER_AT_LEAST,
        "same_loss": all(abs(loss / row[0] - 1) < LOSS_TOLERANCE for row in losses for loss in row),
        "threads": torch.get_num_threads(),
        "processor_use_before_percent": busy,
        "environment": surroundings(),
    }


def make_model(settings: Settings) -> Any:
    """A GPT-2 of that shape without dropout, with LoRA (rank 8) on its attention, ready to train."""
    import transformers
    from peft import LoraConfig, get_peft_model

    transformers.set_seed(1)
    shape = {name: getattr(settings, name) for name in ("vocab_size", "n_embd", "n_layer", "n_head")}
    config = transformers.GPT2Config(**shape, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    base = transformers.GPT2LMHeadModel(config)
    lora = LoraConfig(r=8, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    return get_peft_model(base, lora).train()


def make_rows(settings: Settings, seed: int) -> list[Any]:
    """One batch of rows with random ids."""
    import numpy as np

    from affinage.ludwig_ext.batches import Row

    draw = random.Random(seed)
    lengths = [draw.randint(*settings.tokens) for _ in range(settings.batch_size)]
    return [
        Row(np.array([draw.randrange(settings.vocab_size) for _ in range(n)], dtype=np.int64), n - max(1, n // 3))
        for n in lengths
    ]


def step(model: Any, batches: Sequence[Any]) -> dict[str, float]:
    """Seconds of forward and backward over the batches, what stood in them, and the mean loss per answer token."""
    from affinage.ludwig_ext.loss import answer_nll

    answer_tokens = sum(batch.answer_tokens for batch in batches)
    started, total = time.perf_counter(), 0.0
    for batch in batches:
        nll = answer_nll(model, batch)
        (nll / answer_tokens).backward()
        total += nll.item()
    seconds = time.perf_counter() - started
    model.zero_grad()
    places = sum(batch.input_ids.numel() for batch in batches)
    counts = {"tokens": sum(batch.tokens for batch in batches), "places": places, "calls": len(batches)}
    return {
        "seconds": seconds,
        "answer_tokens_per_second": answer_tokens / seconds,
        "loss": total / answer_tokens,
    } | counts


def show(result: dict[str, Any]) -> None:
    table = Table(
        "layout", "answer tokens/s", "places per token", "calls", "all rows", "a step", "from", "to", title="Medians"
    )
    for name in LAYOUTS:
        found = [r[name] for r in result["rounds"]]
        ratio = result["ratios"].get(name)
        cells = [f"{ratio[edge]:.2f}" for edge in ("median", "min", "max")] if ratio else ["", "", ""]
        overall = f"{result['overall'].get(name, 1):.2f}"
        speed = statistics.median(f["answer_tokens_per_second"] for f in found)
        places = statistics.median(f["places"] / f["tokens"] for f in found)
        table.add_row(
            name, f"{speed:.1f}", f"{places:.2f}", f"{statistics.median(f['calls'] for f in found):g}", overall, *cells
        )
    stdout.print(table)
    verdict = "not judged" if result["quick"] else "met" if result["met"] else "[red]not met[/]"
    stdout.print(f"n = {result['n']}; bar {result['bar']} for all rows, cut by length: {verdict}.")
    stdout.print(f"The losses are {'the same' if result['same_loss'] else '[red]NOT the same[/]'} in every layout.")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
