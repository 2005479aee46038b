"""Measures how many tokens two workers train on in the time of one, each with one thread, whole and in parts (FSDP).

.venv/bin/python benchmarks/workers.py [--quick] [--output FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from affinage.benchmarking import spread, surroundings
from affinage.console import run_script, stdout
from affinage.paths import ROOT, display
from affinage.runs import all_runs

OUTPUT = ROOT / "benchmarks" / "workers.json"
CONFIG = ROOT / "ludwig_configs" / "voix-passive" / "petit-llama-full.yaml"
STEPS, ROUNDS = 60, 3
KINDS = {"one": (1, "ddp"), "two, whole": (2, "ddp"), "two, in parts": (2, "fsdp")}


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    parser.add_argument("--quick", action="store_true", help="two steps, once: shows that the script runs")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work:
        result = {"quick": arguments.quick, **measure(*((2, 1) if arguments.quick else (STEPS, ROUNDS)), Path(work))}
    show(result)
    output = arguments.output or (None if arguments.quick else OUTPUT)
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stdout.print(display(output))
    return 0


def measure(steps: int, rounds: int, work: Path) -> dict[str, Any]:
    """Tokens per second of every kind, the kinds in turn, with the ratios to one worker of the same round."""
    busy = psutil.cpu_percent(interval=1.0)
    found = [{name: train(*kind, steps, work / f"{n}-{name}") for name, kind in KINDS.items()} for n in range(rounds)]
    others = [name for name in KINDS if name != "one"]
    speed = {name: [one[name]["tokens"] / one[name]["seconds"] for one in found] for name in KINDS}
    return {
        "n": rounds,
        "steps": steps,
        "tokens_per_second": speed,
        "ratio": {name: spread([a / b for a, b in zip(speed[name], speed["one"], strict=True)]) for name in others},
        "efficiency": spread([one["two, whole"]["scaling_efficiency"] for one in found]),
        "last_loss": {name: found[0][name]["evaluations"][-1]["train_loss"] for name in KINDS},
        "processor_use_before_percent": busy,
        "environment": surroundings(),
    }


def train(workers: int, strategy: str, steps: int, results: Path) -> dict[str, Any]:
    """What the manifest of a run of every weight of petit-llama says of its training."""
    trainer = f"trainer.train_steps={steps} trainer.checkpoints_per_epoch=0 trainer.steps_per_checkpoint={steps}"
    settings = f"{trainer} backend.trainer.strategy={strategy}"
    command = [sys.executable, str(ROOT / "tools" / "train.py"), "--config", str(CONFIG), "--set", settings]
    command += ["--gpus", str(workers), "--results", str(results)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    (run,) = all_runs(results)
    return run.manifest["training"]


def show(result: dict[str, Any]) -> None:
    table = Table("two workers", "tokens/s, over those of one")
    for name, ratio in result["ratio"].items():
        table.add_row(name, f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
    stdout.print(table)
    stdout.print(f"Whole: {result['efficiency']['median']:.2f} of the time was not spent on waiting for each other.")
    stdout.print(f"n = {result['n']}; loss of the first round: {result['last_loss']}")
    stdout.print("What a second worker brings depends on the machine: not judged.")
    stdout.print(f"Other programs used {result['processor_use_before_percent']:.0f} % of the processor at the start.")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
