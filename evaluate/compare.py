"""Compares runs: a table of their scores here, and everything else in one HTML page.

.venv/bin/python evaluate/compare.py voix-passive
.venv/bin/python evaluate/compare.py 20261120-133526 20261120-141010 --name learning-rates
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from affinage.console import next_command, progress_bar_options, quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, display

if TYPE_CHECKING:
    from affinage.comparison.gather import Entry
    from affinage.comparison.page import Comparison


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", help="ids, folders, last, or a task for all its finished runs")
    parser.add_argument("--suite", default="", help="the suite whose answers are compared (default: the task's)")
    parser.add_argument("--name", default="", help="name of the page (default: made of the runs' ids)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    arguments = parser.parse_args(argv)
    if Path(arguments.name).name != arguments.name:
        raise AffinageError(Problem("NAME", f"'{arguments.name}' is a path.", "a name without folders"))
    return arguments


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    quiet_libraries()
    stderr.print("[dim]loading the metrics (about 3 s)[/]")
    from tqdm import tqdm

    from affinage.comparison.gather import find_runs, gather
    from affinage.comparison.page import compare, page_path, write_page
    from affinage.comparison.systems import systems_of

    runs, notes = find_runs(arguments.runs, arguments.results)
    entries = gather(runs, arguments.suite)
    options = progress_bar_options()
    with tqdm(total=len(systems_of(entries)), desc="measuring", unit="system", **options) as bar:
        comparison = compare(entries, notes, bar.update)
    path = page_path(entries, arguments.name, arguments.results)
    with tqdm(desc="comparing answers", unit="row", **options) as bar:
        write_page(comparison, path, bar.update)
    show(comparison)
    stdout.print(f"\nPage: {display(path)}")
    next_command(following(entries))


def show(comparison: "Comparison") -> None:
    from rich.markup import escape

    from affinage.comparison.comparability import obstacles
    from affinage.comparison.judges import judges_table
    from affinage.comparison.page import grouped
    from affinage.comparison.scoreboard import scores_table
    from affinage.comparison.verdicts import main_metric, verdict

    entries, systems, tests, board, notes, judges, judge_notes = comparison
    stdout.print(scores_table(board))
    if judges:
        stdout.print()
        stdout.print(judges_table(judges, [system.key for system in systems]))
    sentence = verdict(systems, tests, main_metric(board))
    if sentence:
        stdout.print(f"\n{escape(sentence)}")
    if any(cell.best for line in board.lines for cell in line.cells.values()):
        stdout.print("★ best, and significantly better than the second best on the rows that both answered")
    for difference in obstacles(entries):
        values = "; ".join(f"{', '.join(who)}: {' '.join(what.split())}" for what, who in grouped(difference.values))
        stdout.print(f"[bold red]not comparable:[/] {difference.what}: {difference.meaning} [dim]{escape(values)}[/]")
    of_runs = [*((entry.letter, note) for entry in entries for note in entry.notes), *judge_notes]
    for note, who in [*((note, []) for note in notes), *grouped(of_runs)]:
        stdout.print(f"[yellow]note:[/] {escape(', '.join(who) + ': ' if who else '')}{escape(note)}")


def following(entries: "Sequence[Entry]") -> str:
    """What a person would type next: evaluate the first run that is not, else write the table of configs."""
    waiting = [
        entry
        for entry in entries
        if entry.run.status == "finished" and (entry.answers is None or entry.answers.by_train)
    ]
    return f"make evaluate RUN={waiting[0].run.folder.name}" if waiting else "make leaderboard"


if __name__ == "__main__":
    raise SystemExit(run_script(main))
