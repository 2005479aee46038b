"""Writes a blind sheet on which people score answers of a run, to see whether a judge agrees with them.

.venv/bin/python evaluate/annotate.py --run last --n 40
.venv/bin/python evaluate/annotate.py --run last --output alice.csv --page

Nothing on the sheet says which system answered; annotation/key.json beside the predictions does. With --page the same
sheet is also a page for the browser. evaluate/calibrate.py reads the filled sheet.
"""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from affinage.console import next_command, quiet_libraries, run_script, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, display

if TYPE_CHECKING:
    from affinage.calibration.sampling import Sample


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a run's id or folder, or last, the newest one")
    parser.add_argument("--suite", default="", help="a name in evaluate/suites/ (default: the task's)")
    parser.add_argument("--n", type=_positive, default=40, help="how many answers (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other answers (default: 0)")
    parser.add_argument("--output", type=Path, help="the sheet (default: annotation/sheet.csv beside the predictions)")
    parser.add_argument("--page", action="store_true", help="write the sheet as an HTML page, too")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a whole number of at least 1")
    return number


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    quiet_libraries()
    from affinage.calibration.evaluation import add_to_key, judges_of, open_evaluation
    from affinage.calibration.page import write_page
    from affinage.calibration.sampling import sample, spread_by
    from affinage.calibration.sheet import cells_of, refuse_to_overwrite, write_sheet
    from affinage.judging.rubrics import load_rubric
    from affinage.judging.settings import settings_of
    from affinage.runs import newest_or_named

    evaluation = open_evaluation(newest_or_named(arguments.run, arguments.results), arguments.suite)
    sheet: Path = arguments.output or evaluation.annotation_folder / "sheet.csv"
    refuse_to_overwrite(sheet)
    rubric = load_rubric(settings_of(evaluation.suite).rubric, "score")
    judges, notes = judges_of(evaluation)
    chosen = sample(evaluation, judges, arguments.n, arguments.seed)
    if not chosen.items:
        raise AffinageError(Problem(display(evaluation.predictions.path), "no answer to score.", remedy=_why(chosen)))
    lines = cells_of(evaluation, chosen.items, add_to_key(evaluation, chosen.items))
    write_sheet(sheet, lines)
    show(chosen, arguments.n, [judge.folder.name for judge in spread_by(judges)], notes)
    stdout.print(f"\nSheet:  {shown(sheet)}")
    if arguments.page:
        page = sheet.with_suffix(".html")
        write_page(page, sheet.stem, lines, rubric)
        stdout.print(f"Page:   {shown(page)}")
    stdout.print(f"Rubric: evaluate/rubrics/{rubric.name}.md (what a score means)")
    next_command(f"make calibrate RUN={evaluation.run.folder.name} HUMAN={shlex.quote(display(sheet))}")


def show(chosen: "Sample", asked: int, judges: list[str], notes: list[str]) -> None:
    spread = f"the scores of {', '.join(judges)}" if judges else "systems and labels: no judge has scored them yet"
    stdout.print(f"[bold]{len(chosen.items)}[/] answers, spread over {escape(spread)}")
    if len(chosen.items) < asked:
        stdout.print(f"[yellow]fewer than the {asked} asked for:[/] there are no more")
    if chosen.left_out:
        stdout.print(f"left out: {_why(chosen)}")
    for note in notes:
        stdout.print(f"[yellow]not used:[/] {escape(note)}")


def _why(chosen: "Sample") -> str:
    return ", ".join(f"{count} {why}" for why, count in chosen.left_out.items())


def shown(path: Path) -> str:
    return escape(display(path))


if __name__ == "__main__":
    raise SystemExit(run_script(main))
