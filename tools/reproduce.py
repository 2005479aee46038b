"""Repeats a run from its own folder and compares the losses, step by step.

.venv/bin/python tools/reproduce.py --run 20261120-133526

Exit code 0 when every loss agrees within 1e-6, 1 when one does not.
"""

import argparse
import os
from pathlib import Path

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.paths import RESULTS, ROOT, display
from affinage.runs import newest_or_named


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="last", help="its id or its folder (default: the newest)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    results = arguments.results.resolve()
    os.chdir(ROOT)
    quiet_libraries()
    first = newest_or_named(arguments.run, results)
    stderr.print(f"[dim]{display(first.folder)}: loading Ludwig (about 10 s)[/]")
    from affinage import provenance, training
    from affinage.reproduce import compare

    plan = training.plan_again(first)
    second = training.start(plan, results, reproduces=first.folder.name)
    for difference in provenance.differences(first.manifest, second.manifest):
        stdout.print(f"[yellow]not as it was: {difference}[/]")
    training.complete(second, plan)
    comparison = compare(first.folder, second.folder)
    verdict = "[green]repeated[/]" if comparison.same else "[red]not repeated[/]"
    stdout.print(f"\n{first.folder.name} and {second.folder.name}: {comparison}. {verdict}")
    next_command(f"make show RUN={second.folder.name}")
    return 0 if comparison.same else 1


if __name__ == "__main__":
    raise SystemExit(run_script(main))
