"""K-fold: every row answered by a model that was not trained on it, with the spread of each metric over the folds.

.venv/bin/python evaluate/kfold.py --config ludwig_configs/quizz/petit-llama-lora.yaml --k 10
.venv/bin/python evaluate/kfold.py --resume last

Rows of one group stay in one fold. Trains K models, one after the other, or side by side on the
Ray cluster that the config asks for; a finished fold is not trained again.
"""

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.paths import RESULTS, ROOT, display, full_dataset
from affinage.series import Series, find_series

if TYPE_CHECKING:
    from rich.table import Table


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, help="a YAML file in ludwig_configs/<task>/")
    what.add_argument(
        "--resume", metavar="ID", help="go on with a k-fold that ended early: its id, its folder, or last"
    )
    parser.add_argument("--k", type=int, default=10, help="folds (default: 10); as many as rows is leave-one-out")
    parser.add_argument("--dataset", default="", help="a file or folder of rows (default: datasets/<task>/)")
    parser.add_argument("--set", default="", help='overrides, such as "trainer.epochs=1 adapter.r=32"')
    parser.add_argument("--suite", default="", help="a name in evaluate/suites/ (default: the task's)")
    parser.add_argument("--seed", type=int, default=42, help="of the assignment to folds (default: 42)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders go (default: results/)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    config, results = arguments.config and arguments.config.resolve(), arguments.results.resolve()
    dataset = full_dataset(arguments.dataset)
    os.chdir(ROOT)  # shipped configs name models/petit-llama relative to the project
    quiet_libraries()
    series = find_series("kfold", arguments.resume, results) if arguments.resume else None
    stderr.print(f"[dim]{display(series.folder if series else config)}: loading Ludwig (about 10 s)[/]")
    from affinage import kfold

    if series is None:
        series = kfold.start(config, dataset, arguments.set, arguments.k, arguments.seed, results, arguments.suite)
    try:
        metrics = kfold.go_on(series)
    except KeyboardInterrupt:
        stdout.print(f"Interrupted. What is done is in {display(series.folder)}.")
        next_command(f"make kfold RESUME={series.folder.name}")
        return 130
    show(series, metrics)
    return 0


def show(series: Series, metrics: dict[str, Any]) -> None:
    from rich.markup import escape

    from affinage.scoring.tables import differences_table, systems_table

    tables = [folds_table(metrics), spread_table(metrics), systems_table(metrics)]
    for table in [*tables, differences_table(metrics)] if metrics["differences"] else tables:
        stdout.print(table, "")
    for warning in metrics["warnings"]:
        stdout.print(f"[yellow]warning:[/] {escape(warning)}")
    stdout.print(f"\nFolder:      {display(series.folder)}")
    stdout.print(f"Predictions: {display(series.folder / 'predictions.jsonl')}")
    stdout.print(f"Metrics:     {display(series.folder / 'metrics.json')}")
    given = {"DATASET": series.state["data"]["dataset"], "SET": series.state["set"]}
    options = "".join(f" {key}={shlex.quote(value)}" for key, value in given.items() if value)
    next_command(f"make train CONFIG={display(series.config)}{options}")


def folds_table(metrics: dict[str, Any]) -> "Table":
    """One line per fold: its rows, its run, and the two main metrics of each system."""
    from affinage.scoring.tables import MAIN, name_of, shown

    systems = list(metrics["systems"])
    main = [name for name in MAIN if all(name in entries for entries in metrics["systems"].values())][:2]
    columns = [(name, system) for name in main for system in systems]
    table = new_table("Fold by fold", "fold", "n", "run", *(f"{name_of(name)}\n{system}" for name, system in columns))
    for fold in metrics["folds"]:
        cells = [shown(name, fold["systems"][system][name]) for name, system in columns]
        table.add_row(str(fold["fold"]), str(fold["n"]), fold["run"], *cells)
    return table


def spread_table(metrics: dict[str, Any]) -> "Table":
    """One line per metric: the mean and the standard deviation of each system over the folds."""
    from affinage.scoring.tables import name_of, shown

    systems = metrics["systems"]
    table = new_table(f"Over the {metrics['k']} folds: mean ± standard deviation", "metric", *systems)
    for metric in dict.fromkeys(name for entries in systems.values() for name in entries):
        found = [entries.get(metric) for entries in systems.values()]
        cells = [f"{shown(metric, entry['mean'])} ± {shown(metric, entry['sd'])}" if entry else "-" for entry in found]
        table.add_row(name_of(metric), *cells)
    return table


def new_table(title: str, first: str, *others: str) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="", header_style="bold", box=None)
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


if __name__ == "__main__":
    raise SystemExit(run_script(main))
