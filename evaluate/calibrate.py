"""Says whether a judge agrees with people: compares its scores with the sheets that they filled in.

.venv/bin/python evaluate/calibrate.py --run last --human sheet.csv
.venv/bin/python evaluate/calibrate.py --run last --human alice.csv --human bob.csv --judge llama3.1:8b

A file of thumbs that the application (make app) wrote, reviews.jsonl, counts as a sheet.
Writes calibration.json and calibration.png into the folder of each judge. evaluate/annotate.py makes the sheets.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from affinage.console import next_command, quiet_libraries, run_script, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, display

if TYPE_CHECKING:
    from affinage.calibration.annotators import Annotator


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a run's id or folder, or last, the newest one")
    parser.add_argument(
        "--human", type=Path, required=True, nargs="+", action="extend", help="filled sheets, or thumbs"
    )
    parser.add_argument("--judge", default="", help="one judge, or its folder's name (default: all that gave scores)")
    parser.add_argument("--suite", default="", help="a name in evaluate/suites/ (default: the task's)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    quiet_libraries()
    from affinage.calibration.annotators import read_annotators
    from affinage.calibration.calibrate import PICTURE, calibrate
    from affinage.calibration.evaluation import chosen_judges, open_evaluation
    from affinage.runs import newest_or_named

    evaluation = open_evaluation(newest_or_named(arguments.run, arguments.results), arguments.suite)
    judges, notes = chosen_judges(evaluation, arguments.judge)
    annotators = read_annotators(arguments.human, evaluation)
    show_sheets(annotators)
    problems = list[Problem | str]()
    for judge in judges:
        stdout.rule(escape(judge.folder.name), align="left", characters="-")
        try:
            done = calibrate(evaluation, judge, annotators)
        except AffinageError as error:  # it may be about this judge alone
            problems += error.problems
            continue
        show(done.content)
        stdout.print(f"\nFigures and picture: {escape(display(done.folder))}/ (calibration.json, {PICTURE})")
    if len(problems) == len(judges):
        raise AffinageError(*problems)
    for note in (*notes, *map(str, problems)):
        stdout.print(f"[yellow]not used:[/] {escape(note)}")
    next_command(f"make compare RUNS={evaluation.run.folder.name}")


def show_sheets(annotators: "list[Annotator]") -> None:
    for one in annotators:
        empty = f", {one.empty} left empty" if one.empty else ""
        outdated = f", {one.outdated} left out: the answers are others now" if one.outdated else ""
        elsewhere = f", {one.elsewhere} left out: thumbs about other answers" if one.elsewhere else ""
        stdout.print(f"{escape(one.name)}: {len(one.scores)} answers scored{empty}{outdated}{elsewhere}")


def show(content: dict[str, Any]) -> None:
    from affinage.calibration.tables import counts_table, figures_table, pairs_table

    if content["demo"]:
        stdout.print("[bold white on red] DEMO [/] simple rules judged, no language model")
    parts = [figures_table(content), counts_table(content)]
    for part in parts + ([pairs_table(content)] if len(content["sheets"]) > 1 else []):
        stdout.print(part)
        stdout.print()
    if content["left_out"]:
        reasons = ", ".join(f"{why} {n}" for why, n in sorted(content["left_out"].items()))
        stdout.print(f"[yellow]scored by people alone:[/] {escape(reasons)}")
    for remark in filter(None, (*content["remarks"], content["ceiling"])):
        stdout.print(escape(remark))
    stdout.print(f"[bold]{escape(content['sentence'])}[/]")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
