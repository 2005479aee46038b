"""Answers per second against `ludwig predict`, mended so that it loads, on petit-llama; the answers must agree.

.venv/bin/python benchmarks/answers.py [--quick] [--output FILE]
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from affinage.benchmarking import spread, surroundings
from affinage.console import library_log, quiet_libraries, run_script, stdout
from affinage.paths import CONFIGS, ROOT, display

OUTPUT = ROOT / "benchmarks" / "answers.json"
CONFIG = CONFIGS / "voix-passive" / "petit-llama-lora.yaml"
FASTER_AT_LEAST = 8.0
BATCH_SIZE = 32


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints the verdict; 1 when an answer differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    parser.add_argument("--quick", action="store_true", help="few rows, twice: shows that the script runs")
    arguments = parser.parse_args(argv)
    sizes = (
        {"train_steps": 2, "rows": 8, "pairs": 2} if arguments.quick else {"train_steps": 200, "rows": 128, "pairs": 4}
    )
    quiet_libraries()
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(sys.stderr):
        result = {"quick": arguments.quick, **measure(Path(work), **sizes)}
    output = arguments.output or (None if arguments.quick else OUTPUT)
    show(result)
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stdout.print(display(output))
    return 0 if result["different_answers"] == 0 else 1


def measure(work: Path, train_steps: int, rows: int, pairs: int) -> dict[str, Any]:
    """Trains a little, then answers the same rows in turn; rows per second of each, and their ratios."""
    import torch

    from affinage import training

    busy = psutil.cpu_percent(interval=1.0)
    plan = training.plan(CONFIG, overrides=f"trainer.train_steps={train_steps}")
    run = training.start(plan, work)
    with run.held(), library_log(run.folder / "train.log"):
        training._fit(run, plan, [])
    asked = plan.splits["test"].iloc[:: max(1, len(plan.splits["test"]) // rows)].head(rows).reset_index(drop=True)
    contestants = {
        "ludwig": ludwig_predict(run.model_folder, asked),
        "affinage": affinage_answers(run.model_folder, asked),
    }
    measured, answers = [], {}
    for pair in range(pairs + 1):  # the first warms up
        seconds = {}
        for name, answer in contestants.items():
            started = time.perf_counter()
            answers[name] = answer()
            seconds[name] = time.perf_counter() - started
        if pair:
            measured.append({name: len(asked) / taken for name, taken in seconds.items()})
    ratios = [pair["affinage"] / pair["ludwig"] for pair in measured]
    return {
        "rows": len(asked),
        "batch_size": BATCH_SIZE,
        "n": pairs,
        "rows_per_second": {name: spread([pair[name] for pair in measured]) for name in contestants},
        "ratio": spread(ratios),
        "bar": FASTER_AT_LEAST,
        "met": statistics.median(ratios) >= FASTER_AT_LEAST,
        "different_answers": sum(a != b for a, b in zip(answers["ludwig"], answers["affinage"], strict=True)),
        "threads": torch.get_num_threads(),
        "processor_use_before_percent": busy,
        "environment": surroundings(),
    }


def ludwig_predict(folder: Path, rows: Any) -> Callable[[], list[str]]:
    """`LudwigModel.predict` with the stock loop over rows, on classes that load a tuned model at all."""
    from ludwig.api import LudwigModel
    from ludwig.models.llm import LLM
    from ludwig.models.registry import model_type_registry

    from affinage.ludwig_ext.model import AnswerLLM

    class RowByRow(AnswerLLM):
        generate = LLM.generate

    ours = model_type_registry["llm"]
    model_type_registry["llm"] = RowByRow
    try:
        ludwig = LudwigModel.load(str(folder), backend="local")
    finally:
        model_type_registry["llm"] = ours

    def answer() -> list[str]:
        found, _ = ludwig.predict(rows, batch_size=BATCH_SIZE, skip_save_unprocessed_output=True)
        return [" ".join(text).strip() if isinstance(text, list) else text for text in found["output_response"]]

    return answer


def affinage_answers(folder: Path, rows: Any) -> Callable[[], list[str]]:
    """Rendering, encoding, batched generation and decoding, as `make evaluate` does it for one system."""
    from ludwig.api import LudwigModel

    from affinage.generation import answer_all
    from affinage.prompts import encode, render

    ludwig = LudwigModel.load(str(folder), backend="local")
    llm = ludwig.model

    def answer() -> list[str]:
        prompts = encode(render(ludwig.config_obj, rows), llm.tokenizer)
        found = answer_all(llm.model, prompts, llm.generation, llm.context_len, BATCH_SIZE)
        return [llm.tokenizer.decode(one.ids, skip_special_tokens=True).strip() for one in found]

    return answer


def show(result: dict[str, Any]) -> None:
    """Prints the measurements and, unless quick, the verdict."""
    table = Table("rows per second", "median", "from", "to", title=f"{result['rows']} rows, {result['n']} pairs")
    for name, found in result["rows_per_second"].items():
        table.add_row(name, *(f"{found[edge]:.1f}" for edge in ("median", "min", "max")))
    table.add_row("affinage / ludwig", *(f"{result['ratio'][edge]:.2f}" for edge in ("median", "min", "max")))
    stdout.print(table)
    verdict = "not judged" if result["quick"] else "met" if result["met"] else "[red]not met[/]"
    stdout.print(f"Bar: at least {result['bar']:g} times as many; {verdict}.")
    stdout.print(f"Answers that differ: {result['different_answers']} of {result['rows']}.")
    stdout.print(f"Other programs used {result['processor_use_before_percent']:.0f} % of the processor at the start.")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
