"""Lists the runs in results/, newest first, with what each one learned.

.venv/bin/python tools/list_runs.py
"""

import argparse
from pathlib import Path

from affinage.console import next_command, run_script, stdout
from affinage.paths import RESULTS, display
from affinage.reports import runs_table
from affinage.runs import all_runs


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    results = parser.parse_args(argv).results
    runs = all_runs(results)
    if not runs:
        stdout.print(f"No run in {display(results)} yet.")
        next_command("make train")
        return 0
    stdout.print(runs_table(runs))
    next_command(f"make show RUN={runs[0].folder.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
