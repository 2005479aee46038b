"""Measures 4-bit training of a 7 B and an 8 B model on one CUDA GPU against TRL with Liger, unattended, in 10 minutes.

.venv/bin/python benchmarks/gpu.py [--quick] [--output FILE]

Until a file stands in benchmarks/results, it has not run on a GPU and its figures are not known.
"""

import argparse
import contextlib
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.table import Table

from affinage import environment
from affinage.benchmark_gpu import Case, measure_cases
from affinage.console import quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.footprint.known_models import LLAMA_8B, MISTRAL_7B
from affinage.paths import ROOT, display

RESULTS = ROOT / "benchmarks" / "results"
CONTESTANTS = ("affinage", "trl")
COURSE_GB = {1: 5, 2: 8, 4: 10, 16: 26}  # what learners are told that Mistral-7B in 4 bits takes, by batch size
SPEED_AT_LEAST = 1.0
LOSS_TOLERANCE = 1e-2  # relative, in bfloat16
SECONDS = 560  # after which no case starts
LONGEST_PROCESS = 240
# the second turn of the 7 B model comes last, so that a slow GPU leaves out what is known best
ORDER = [("Mistral-7B", MISTRAL_7B), ("Llama-8B", LLAMA_8B), ("Mistral-7B", MISTRAL_7B)]
CASES = [Case(batch, checkpointing) for checkpointing in (True, False) for batch in COURSE_GB]

SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
TINY = {**SMALL, "num_key_value_heads": 2, "vocab_size": 200, "max_position_embeddings": 256}
QUICK_ORDER = [("tiny mistral", {"model_type": "mistral", **TINY})]
QUICK_CASES = [Case(batch, True, tokens=32, answer_tokens=8, steps=2) for batch in (1, 2)]


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON whatever failed, and prints what there is; 1 when no case gave a figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file (default: benchmarks/results/<GPU>.json)")
    parser.add_argument("--quick", action="store_true", help="tiny models, on the CPU too: shows that the script runs")
    arguments = parser.parse_args(argv)
    quiet_libraries()
    hardware = environment.hardware()
    if not arguments.quick and hardware["devices"][0]["type"] != "cuda":
        raise AffinageError(
            Problem("this machine", "torch sees no CUDA GPU.", remedy="Add --quick to see that the script runs.")
        )
    output = arguments.output or (None if arguments.quick else RESULTS / f"{name_of(hardware)}.json")
    order, cases = (QUICK_ORDER, QUICK_CASES) if arguments.quick else (ORDER, CASES)
    deadline = time.time() + SECONDS
    result: dict[str, Any] = {"quick": arguments.quick, "rows": [], "course_gb": COURSE_GB}
    result["environment"] = {"git": environment.git_state(), "packages": environment.versions(), **hardware}
    for turn, (shape_name, shape) in enumerate(order):
        for contestant in CONTESTANTS:
            stderr.print(f"{shape_name}, {contestant}, {max(0, deadline - time.time()):.0f} s left")
            rows = run(contestant, shape, cases, deadline)
            result["rows"] += [{"shape": shape_name, "turn": turn, **row} for row in rows]
            result |= judge(result["rows"])
            if output:  # again after every process: an interrupted run has its rows so far
                output.parent.mkdir(parents=True, exist_ok=True)
                output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show(result)
    if output:
        stdout.print(display(output))
    return 0 if any("seconds" in row for row in result["rows"]) else 1


def name_of(hardware: dict[str, Any]) -> str:
    """The GPU's name as a file name."""
    return re.sub(r"[^a-z0-9]+", "-", hardware["devices"][0]["name"].lower()).strip("-")


def run(contestant: str, shape: dict[str, Any], cases: Sequence[Case], deadline: float) -> list[dict[str, Any]]:
    """The rows of one process; those it did not get to say how the process ended."""
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(sys.stderr):
        lines = Path(work) / "rows.jsonl"
        process = get_context("spawn").Process(target=measure_cases, args=(contestant, shape, cases, deadline, lines))
        process.start()
        process.join(LONGEST_PROCESS)
        ended = "took too long" if process.is_alive() else f"the process ended with exit code {process.exitcode}"
        if process.is_alive():
            process.kill()
            process.join()
        text = lines.read_text(encoding="utf-8") if lines.exists() else ""
    found = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    missing = cases[len(found) :]
    return found + [{"contestant": contestant, **vars(case), "refused": ended} for case in missing]


def judge(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Speed and loss of Affinage against TRL in each turn, and the least peaks of the 7 B model by batch size."""
    measured = {
        (row["shape"], row["turn"], row["batch_size"], row["checkpointing"], row["contestant"]): row
        for row in rows
        if row.get("seconds")
    }
    ratios: dict[str, list[float]] = {}
    losses_equal = []
    for (*case, contestant), row in measured.items():
        other = measured.get((*case, "trl"))
        if contestant != "affinage" or other is None:
            continue
        shape, _, batch, checkpointing = case
        speed = statistics.median(other["seconds"]) / statistics.median(row["seconds"])
        ratios.setdefault(f"{shape}, batch {batch}, {'with' if checkpointing else 'no'} checkpointing", []).append(
            speed
        )
        losses_equal.append(abs(row["loss"] / other["loss"] - 1) < LOSS_TOLERANCE)
    peaks: dict[int, float] = {}
    for (shape, _, batch, _, contestant), row in measured.items():
        if shape == "Mistral-7B" and contestant == "affinage" and "reserved" in row:
            peaks[batch] = min(row["reserved"] / 1e9, peaks.get(batch, float("inf")))
    speeds = {
        name: {"n": len(r), "min": min(r), "median": statistics.median(r), "max": max(r)} for name, r in ratios.items()
    }
    return {
        "speed_affinage_to_trl": speeds,
        "speed_met": bool(speeds) and all(found["median"] >= SPEED_AT_LEAST for found in speeds.values()),
        "same_loss": bool(losses_equal) and all(losses_equal),
        "least_peak_gb": peaks,
        "memory_met": peaks.keys() == COURSE_GB.keys() and all(peaks[n] < gb for n, gb in COURSE_GB.items()),
    }


def show(result: dict[str, Any]) -> None:
    columns = ("model", "turn", "who", "batch", "checkpointing", "tokens/s", "peak GB", "")
    table = Table(*columns, title="tokens/s: median of the steps; peak: what torch reserved")
    for row in result["rows"]:
        speed = f"{row['tokens_per_step'] / statistics.median(row['seconds']):,.0f}" if row.get("seconds") else ""
        peak = f"{row['reserved'] / 1e9:.1f}" if "reserved" in row else ""
        case = [str(row["batch_size"]), "yes" if row["checkpointing"] else "no"]
        table.add_row(
            row["shape"], str(row["turn"]), row["contestant"], *case, speed, peak, row.get("refused", "")[:60]
        )
    stdout.print(table)
    if result["quick"]:
        stdout.print("Tiny models: not judged.")
        if not list(RESULTS.glob("*.json")):
            stdout.print("There is no file in benchmarks/results: the real measurement has not run on a GPU yet.")
    else:
        verdicts = {name: "met" if result[name] else "[red]not met[/]" for name in ("speed_met", "memory_met")}
        stdout.print(f"At least as fast as TRL with Liger: {verdicts['speed_met']}.")
        stdout.print(f"Under the course's table (5, 8, 10, 26 GB): {verdicts['memory_met']}.")
    stdout.print(f"The losses are {'the same' if result['same_loss'] else '[red]NOT the same[/]'}.")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
