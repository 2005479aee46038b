"""Measures how fast rows become a dataset, in how much memory, and how long the search for near duplicates takes.

.venv/bin/python benchmarks/data.py [--rows 300000 1000000] [--near] [--quick] [--output FILE]
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from affinage.benchmarking import surroundings
from affinage.console import run_script, stdout
from affinage.paths import ROOT, display

OUTPUT = ROOT / "benchmarks" / "data.json"
BARS = {"peak_memory_bytes": 1.5e9, "near_seconds": 60.0}
NEAR_TEXTS = 50_000
THRESHOLD = 0.8
SYLLABLES = """a à an ar au ba bé bon cha che ci con cou da de dé di don du é en eu fa fi for gé gou i in ja jou
la le lé li lon lu ma men mi mon na ne ni nou o on ou pa pé pi por pu qua que ra re ré ri ron sa se sé si son ta te té
ti tion tou u va ve vé vi vou""".split()
# One row in so many has this fault; faults never meet in one row, so that each count can be foretold.
FAULTS = {"exact duplicate": 50, "near duplicate": 50, "e-mail": 100, "phone": 100, "html": 100, "empty": 200}
DROPPED_IN = {"exact duplicate": "exact duplicates", "empty": "empty answers", "near duplicate": "near duplicates"}


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints the figures; 1 when what was planted is not what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[300_000], help="rows to build from (default: 300000)")
    parser.add_argument("--near", action="store_true", help="build with near duplicates dropped and near leaks sought")
    parser.add_argument("--quick", action="store_true", help="a few rows: shows that the script runs")
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    arguments = parser.parse_args(argv)
    sizes, texts = ([4000], 2000) if arguments.quick else (arguments.rows, NEAR_TEXTS)
    busy = psutil.cpu_percent(interval=1.0)
    with tempfile.TemporaryDirectory() as work:
        builds = [in_a_process(partial(measure_build, rows, arguments.near, Path(work))) for rows in sizes]
        near = in_a_process(partial(measure_near, texts))
    result = {
        "quick": arguments.quick,
        "bars": BARS,
        "builds": builds,
        "near_duplicates": near,
        "processor_use_before_percent": busy,
        "environment": surroundings(),
    }
    output = arguments.output or (None if arguments.quick else OUTPUT)
    if output:
        output.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    show(result)
    if output:
        stdout.print(display(output))
    return 0 if near["as_expected"] and all(build["as_expected"] for build in builds) else 1


def in_a_process(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `measure` gives in a fresh process, so that no memory is left over from the measurement before."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure).result()


@contextlib.contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Fills in, at its end, what this process and its children took: seconds, processor seconds, peak memory (bytes).

    Processor seconds are those of children that have ended, too; they depend less on what else the machine does.
    """
    found: dict[str, float] = {}
    peak, done, me = 0, threading.Event(), psutil.Process()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.05):
            with contextlib.suppress(psutil.NoSuchProcess):
                processes = [me, *me.children(recursive=True)]
                peak = max(peak, sum(process.memory_info().rss for process in processes))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    started, worked = time.perf_counter(), sum(os.times()[:4])
    yield found
    found["seconds"] = time.perf_counter() - started
    found["processor_seconds"] = sum(os.times()[:4]) - worked
    done.set()
    thread.join()
    found["peak_memory_bytes"] = peak


def measure_build(rows: int, near: bool, work: Path) -> dict[str, Any]:
    """Builds a dataset from generated rows: read, clean, mask personal data, split by group and label, mend leaks."""
    from affinage.curation.build import build
    from affinage.curation.options import read_options

    source = work / "rows.jsonl"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in generated(rows))
    typed = {"source": str(source), "task": f"rows-{rows}", "stratify": "label", "pii": "mask"}
    typed |= {"near": str(THRESHOLD)} if near else {"near_leaks": "off"}
    with watched() as found:
        manifest = build(read_options(typed), work).manifest
    shutil.rmtree(work / f"rows-{rows}")
    expected, seen = planted(rows), faults_found({step["step"]: step for step in manifest["steps"]})
    return {
        "rows": rows,
        "near": near,
        "source_bytes": source.stat().st_size,
        **found,
        "rows_per_second": rows / found["seconds"],
        "memory_met": found["peak_memory_bytes"] < BARS["peak_memory_bytes"],
        "split": manifest["split"],
        "planted": expected,
        "found": seen,
        "as_expected": all(agrees(name, seen[name], expected[name]) for name in seen),
    }


def faults_found(steps: dict[str, Any]) -> dict[str, int]:
    """Rows in which the steps of a manifest found each fault; near duplicates only when they were sought."""
    found = {name: steps[step]["in"] - steps[step]["out"] for name, step in DROPPED_IN.items() if step in steps}
    changes = {"html": ("html", "changed")}
    changes |= {"e-mail": ("personal data", "found: email"), "phone": ("personal data", "found: phone")}
    return found | {name: steps[step]["reasons"][reason]["rows"] for name, (step, reason) in changes.items()}


def agrees(name: str, found: int, expected: int) -> bool:
    """Whether a fault was found as often as it was planted; MinHash may miss one near duplicate in fifty."""
    return 0.98 * expected <= found <= expected if name == "near duplicate" else found == expected


def measure_near(texts: int) -> dict[str, Any]:
    """Searches texts of about 200 characters for pairs with a Jaccard index of THRESHOLD or more."""
    from affinage.curation.duplicates import near_pairs

    given = [row["output"] for row in generated(texts) if row["output"]]
    with watched() as found:
        pairs = sum(1 for _ in near_pairs(given, THRESHOLD))
    counts = planted(texts)
    expected = counts["near duplicate"] + counts["exact duplicate"]
    return {
        "texts": len(given),
        "mean_characters": sum(map(len, given)) / len(given),
        "threshold": THRESHOLD,
        "processes": os.cpu_count(),
        **found,
        "time_met": found["seconds"] < BARS["near_seconds"],
        "pairs": pairs,
        "planted": expected,
        "as_expected": 0.98 * expected <= pairs <= 1.02 * expected,
    }


def generated(rows: int) -> Iterator[dict[str, str]]:
    """French-like rows in groups of 1 to 5, with FAULTS; the same ones at every call."""
    draw = random.Random(1)
    group, left = 0, 0
    last: dict[str, str] = {}
    for place in range(rows):
        if not left:
            group, left = place, draw.randint(1, 5)
        left -= 1
        fault = fault_of(place)
        texts = {"instruction": f"{sentence(draw, 6)} ?", "input": "", "output": sentence(draw, 30)}
        if fault in ("exact duplicate", "near duplicate"):
            texts = {name: last[name] for name in texts}
        row = {**texts, "id": f"r{place}", "group": f"g{group}", "label": f"label {draw.randrange(8)}"}
        yield damaged(row, fault, draw)
        last = row


def fault_of(place: int) -> str:
    """The fault of the row at a place, "" for most; the row before one that repeats it has none."""
    for shift, (fault, every) in enumerate(FAULTS.items()):
        if place % every == 1 + 2 * shift:
            return fault
    return ""


def planted(rows: int) -> dict[str, int]:
    """How many of the first rows have each fault."""
    places = [fault_of(place) for place in range(rows)]
    return {fault: places.count(fault) for fault in FAULTS}


def damaged(row: dict[str, str], fault: str, draw: random.Random) -> dict[str, str]:
    output = row["output"]
    match fault:
        case "near duplicate":
            words = output.split()
            words[draw.randrange(len(words))] = "jamais"
            output = " ".join(words)
        case "e-mail":
            output += f" Écrivez à {word(draw)}.{word(draw)}@example.org."
        case "phone":
            output += f" Appelez le 01 99 00 {draw.randrange(10, 99)} {draw.randrange(10, 99)}."
        case "html":
            output = f"<p>{output}</p><br>Voir&nbsp;aussi."
        case "empty":
            output = ""
    return row | {"output": output}


def sentence(draw: random.Random, words: int) -> str:
    text = " ".join(word(draw) for _ in range(words))
    return text[0].upper() + text[1:]


def word(draw: random.Random) -> str:
    return "".join(draw.choices(SYLLABLES, k=draw.randint(1, 4)))


def show(result: dict[str, Any]) -> None:
    """Prints the figures and whether what was planted was found."""
    table = Table(title="Rows to dataset", title_justify="left")
    for heading in ("rows", "near", "seconds", "rows/s", "processor s", "peak memory", "bar", "met"):
        table.add_column(heading, justify="right")
    for build in result["builds"]:
        near = "yes" if build["near"] else "no"
        figures = [f"{build['seconds']:.1f}", f"{build['rows_per_second']:,.0f}", f"{build['processor_seconds']:.1f}"]
        figures.append(size(build["peak_memory_bytes"]))
        met = judged(build["memory_met"], result["quick"])
        table.add_row(f"{build['rows']:,}", near, *figures, size(BARS["peak_memory_bytes"]), met)
        stdout.print(f"{build['rows']:,} rows, found of planted: {shares(build)}")
    stdout.print(table)
    near = result["near_duplicates"]
    met = judged(near["time_met"], result["quick"])
    stdout.print(
        f"Near duplicates among {near['texts']:,} texts of {near['mean_characters']:.0f} characters: "
        f"{near['seconds']:.1f} s (bar {BARS['near_seconds']:.0f} s, met: {met}), "
        f"{near['processor_seconds']:.1f} processor s, {size(near['peak_memory_bytes'])}, "
        f"{near['pairs']:,} pairs of {near['planted']:,} planted"
    )
    stdout.print(f"Other programs used {result['processor_use_before_percent']:.0f} % of the processor at the start.")


def shares(build: dict[str, Any]) -> str:
    return ", ".join(f"{name} {n:,} of {build['planted'][name]:,}" for name, n in build["found"].items())


def judged(met: bool, quick: bool) -> str:
    return "not judged" if quick else "yes" if met else "no"


def size(n: float) -> str:
    return f"{n / 1e9:.2f} GB"


if __name__ == "__main__":
    sys.exit(run_script(main))
