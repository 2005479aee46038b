"""Measures how busy `make judge` keeps a server: 500 answers, 50 ms for each, 8 at a time, against the ideal.

.venv/bin/python benchmarks/judging.py [--quick] [--output FILE]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from affinage.benchmarking import spread, surroundings
from affinage.console import run_script, stdout
from affinage.paths import ROOT, display

OUTPUT = ROOT / "benchmarks" / "judging.json"
SERVER = ROOT / "tests" / "ollama_server.py"
MODEL = "llama3.1:8b"
LATENCY_S, SLOTS = 0.05, 8
AT_LEAST = 0.85
WORDS = "la mère ouvre sa porte et le chat mange une pomme rouge pendant que notre sœur lit ce livre".split()


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints the verdict; 1 when an item got no verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    parser.add_argument("--quick", action="store_true", help="few items, twice: shows that the script runs")
    arguments = parser.parse_args(argv)
    items, times = (40, 2) if arguments.quick else (500, 5)
    busy = psutil.cpu_percent(interval=1.0)
    result = {
        "quick": arguments.quick,
        **measure(items, times),
        "processor_use_before_percent": busy,
        "environment": surroundings(),
    }
    output = arguments.output or (None if arguments.quick else OUTPUT)
    show(result)
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stdout.print(display(output))
    return 0 if result["without_verdict"] == 0 else 1


def measure(items: int, times: int) -> dict[str, Any]:
    """Judges the same answers `times` times with an empty cache; the ideal is that every slot is always busy."""
    found = []
    with tempfile.TemporaryDirectory() as work, server() as url:
        for i in range(times):
            found.append(judged(url, Path(work) / str(i), items))
    seconds, ideal = [taken for taken, _ in found], items * LATENCY_S / SLOTS
    shares = [ideal / taken for taken in seconds]
    return {
        "items": items,
        "latency_seconds": LATENCY_S,
        "slots": SLOTS,
        "n": times,
        "ideal_seconds": ideal,
        "seconds": spread(seconds),
        "share_of_ideal": spread(shares),
        "bar": AT_LEAST,
        "met": statistics.median(shares) >= AT_LEAST,
        "without_verdict": sum(missing for _, missing in found),
    }


@contextmanager
def server() -> Iterator[str]:
    """A server that speaks Ollama's protocol, in a process of its own as Ollama is; gives its address."""
    command = [sys.executable, str(SERVER), "--port", "0", "--delay", str(LATENCY_S), "--slots", str(SLOTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().partition("=")[2]
        finally:
            process.terminate()


def judged(url: str, work: Path, items: int) -> tuple[float, int]:
    """Seconds from the first question to the last verdict, each answer kept on disk, and how many items have none."""
    from affinage.answer_cache import AnswerCache
    from affinage.judging.forms import form_of
    from affinage.judging.items import items_of
    from affinage.judging.settings import JudgeSettings
    from affinage.ollama_batch import ask_all
    from affinage.ollama_chat import Chat
    from affinage.scoring import read_predictions

    work.mkdir()
    (work / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(items)), encoding="utf-8")
    form = form_of(JudgeSettings(), "score")
    asked = items_of(read_predictions(work / "predictions.jsonl"), form, range(items // 2))
    with Chat(url, MODEL, cache=AnswerCache(work / "answers.jsonl")) as chat:
        chat.preflight()
        started = time.perf_counter()
        replies = ask_all(chat, [form.question(item.case, item.answers) for item in asked], SLOTS, "judging")
        verdicts = [form.read(reply) for reply in replies]
        return time.perf_counter() - started, sum(verdict["status"] != "ok" for verdict in verdicts)


def rows(items: int) -> Iterator[dict[str, str]]:
    """Rows with two answers each; no two questions are the same."""
    for i in range(items // 2):
        reference = f"{' '.join(WORDS[i % 7 :])} {i}."
        asked = {"id": str(i), "instruction": "Recopie la phrase.", "input": reference, "reference": reference}
        yield asked | {"base": reference.upper(), "tuned": reference}


def show(result: dict[str, Any]) -> None:
    """Prints the measurements and, unless quick, the verdict."""
    title = f"{result['items']} items, {1000 * result['latency_seconds']:.0f} ms each, {result['slots']} at a time"
    table = Table(f"{result['n']} times", "median", "from", "to", title=title)
    edges = ("median", "min", "max")
    table.add_row("seconds", *(f"{result['seconds'][edge]:.2f}" for edge in edges))
    table.add_row("share of the ideal", *(f"{result['share_of_ideal'][edge]:.1%}" for edge in edges))
    stdout.print(table)
    verdict = "not judged" if result["quick"] else "met" if result["met"] else "[red]not met[/]"
    stdout.print(f"Ideal: {result['ideal_seconds']:.3f} s. Bar: at least {result['bar']:.0%} of it; {verdict}.")
    stdout.print(f"Other programs used {result['processor_use_before_percent']:.0f} % of the processor at the start.")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
