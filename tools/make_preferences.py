"""Makes a dataset of preferences from a judge's pairwise verdicts, to train on with DPO, ORPO or KTO.

.venv/bin/python tools/make_preferences.py --run last --task voix-passive-preferences
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

from affinage.console import next_command, quiet_libraries, run_script, stdout
from affinage.paths import DATASETS, RESULTS, display
from affinage.runs import newest_or_named


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="last", help="its id or its folder (default: the newest)")
    parser.add_argument("--task", required=True, help="the name of the dataset: it is made in datasets/<task>/")
    parser.add_argument(
        "--form", choices=("pairs", "kto"), default="pairs", help="both answers in a row, or one in each"
    )
    parser.add_argument("--mode", choices=("pairwise",), default="pairwise", help="what the judge was asked for")
    parser.add_argument("--judge", default="", help="whose verdicts, where several have judged")
    parser.add_argument("--suite", default="", help="a name in evaluate/suites/ (default: the task's of the run)")
    parser.add_argument("--split", default="", help="parts of train, validation and test (default: 0.8/0.1/0.1)")
    parser.add_argument("--seed", type=int, default=42, help="a whole number that decides which row goes where")
    parser.add_argument("--replace", action="store_true", help="make the dataset again when it is there already")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    parser.add_argument("--datasets", type=Path, default=DATASETS, help="where datasets are (default: datasets/)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    quiet_libraries()
    run = newest_or_named(arguments.run, arguments.results)
    from affinage.curation.options import read_ratios
    from affinage.preferences import Wanted, make
    from affinage.scoring import load_suite

    made = make(
        run,
        Wanted(
            arguments.task,
            load_suite(run.manifest["task"], arguments.suite).name,
            arguments.form,
            arguments.judge,
            read_ratios(arguments.split) if arguments.split else None,
            arguments.seed,
            arguments.replace,
        ),
        arguments.datasets,
    )
    show(made.folder, made.manifest)
    task = shlex.quote(arguments.task)
    next_command(f"make check-data TASK={task}")
    return 0


def show(folder: Path, manifest: dict[str, Any]) -> None:
    if manifest["demo"]:
        stdout.print(
            "[bold white on red] DEMO [/] simple rules judged, no language model: these preferences mean nothing"
        )
    won = ", ".join(f"{system} won {n}" for system, n in manifest["won"].items())
    stdout.print(f"{manifest['judged_rows']} rows judged by {manifest['judge']}: {won or 'no winner'}")
    for reason, n in manifest["left_out"].items():
        stdout.print(f"  [yellow]left out: {n}[/] ({reason})")
    rows = ", ".join(f"{name} {n}" for name, n in manifest["rows"].items())
    stdout.print(f"{display(folder)}: {rows} rows ({manifest['form']})")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
