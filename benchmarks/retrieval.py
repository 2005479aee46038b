"""Measures how often BM25 finds the passage that answers, and refuses what nothing answers, on handbooks made here.

.venv/bin/python benchmarks/retrieval.py [--quick] [--output FILE]
"""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.table import Table

from affinage.benchmarking import surroundings
from affinage.console import run_script, stdout
from affinage.documents.retrieval import WORD_THRESHOLD, WordIndex
from affinage.documents_demo.measuring import measure
from affinage.paths import ROOT, display

OUTPUT = ROOT / "benchmarks" / "retrieval.json"
SEEDS = range(10, 20)  # threshold and length of passages were chosen with seeds 1 and 2
LANGUAGES = ("en", "fr")
BAR = 0.9  # recall@5 of all questions that have an answer, in either language


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints the tables and the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    parser.add_argument("--quick", action="store_true", help="one handbook a language: shows that the script runs")
    arguments = parser.parse_args(argv)
    seeds = list(SEEDS)[:1] if arguments.quick else list(SEEDS)
    measured = {language: measure(WordIndex, language, seeds) for language in LANGUAGES}
    met = all(found["recall@5"]["answerable"]["share"] >= BAR for found in measured.values())
    result = {"quick": arguments.quick, "seeds": seeds, "threshold": WORD_THRESHOLD, "bar": BAR, "met": met}
    result |= {"languages": measured, "environment": surroundings()}
    show(result)
    output = arguments.output or (None if arguments.quick else OUTPUT)
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stdout.print(display(output))
    return 0


def show(result: dict[str, Any]) -> None:
    """Prints a table for each language and the verdict."""
    for language, found in result["languages"].items():
        title = f"BM25, {language}: {len(result['seeds'])} handbooks, {found['passages']} passages (95 % Wilson)"
        table = Table("figure", "questions", "share", "n", title=title)
        for figure in ("recall@1", "recall@5", "found at the threshold", "refused"):
            for kind, share in found[figure].items():
                range_ = f"{share['share']:.3f} ({share['low']:.3f} to {share['high']:.3f})"
                table.add_row(figure, kind, range_, str(share["n"]))
        stdout.print(table)
    verdict = "met" if result["met"] else "[red]not met[/]"
    stdout.print(f"Bar: recall@5 of at least {result['bar']} for all questions with an answer: {verdict}.")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
