"""Writes the figures of the benchmarks into benchmarks/README.md, from their JSON files.

.venv/bin/python tools/benchmark_table.py (make benchmark ends with it)
"""

import argparse
from pathlib import Path

from affinage.benchmark_table import table, written
from affinage.console import next_command, run_script, stdout
from affinage.paths import ROOT, display


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks", help="JSON files and README (benchmarks/)")
    arguments = parser.parse_args(argv)
    readme = arguments.folder / "README.md"
    text = written(readme.read_text(encoding="utf-8"), table(arguments.folder))
    partial = readme.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(readme)
    stdout.print(f"Table: {display(readme)}")
    next_command("git diff benchmarks")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
