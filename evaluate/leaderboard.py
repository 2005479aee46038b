"""Writes what the newest run of every config measured into ludwig_configs/README.md.

.venv/bin/python evaluate/leaderboard.py
"""

import argparse
from pathlib import Path

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.paths import CONFIGS, RESULTS, display


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    parser.add_argument("--configs", type=Path, default=CONFIGS, help="the folder of configs with the README to write")
    arguments = parser.parse_args(argv)
    quiet_libraries()
    stderr.print("[dim]loading the metrics (about 3 s)[/]")
    from affinage.comparison.leaderboard import leaderboard, measured_configs, train_command, write_leaderboard

    measured = measured_configs(arguments.configs, arguments.results)
    readme = write_leaderboard(leaderboard(measured), arguments.configs / "README.md")
    for entry in measured:
        name = f"{entry.config.parent.name}/{entry.config.stem}"
        stdout.print(f"{name}: {entry.run.folder.name if entry.run else entry.reason}", markup=False)
    stdout.print(f"\nTable: {display(readme)}")
    waiting = [entry.config for entry in measured if entry.run is None]
    next_command(train_command(waiting[0]) if waiting else "make list")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
