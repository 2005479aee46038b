"""Scores predictions: every metric of the suite with its interval, and what the tuned model gained.

.venv/bin/python evaluate/score.py --run last
.venv/bin/python evaluate/score.py --predictions answers/predictions.jsonl --suite voix-passive

Writes metrics.json beside the predictions.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affinage.console import next_command, progress_bar_options, quiet_libraries, run_script, stderr, stdout
from affinage.paths import RESULTS, display

if TYPE_CHECKING:
    from affinage.runs import Run
    from affinage.scoring import Suite


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", help="a run's id or folder, or last, the newest one")
    what.add_argument("--predictions", type=Path, help="a file of predictions, one JSON object per line")
    parser.add_argument("--suite", default="", help="a name in evaluate/suites/ (default: the task's)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    quiet_libraries()
    stderr.print("[dim]loading the metrics (about 3 s)[/]")
    from tqdm import tqdm

    from affinage.judging.in_metrics import METRICS, record
    from affinage.scoring import origin_of, read_predictions, score, write_metrics

    path, suite, run = find(arguments)
    predictions = read_predictions(path)
    origin = origin_of(predictions)
    bar_options = {"desc": "scoring", "unit": "system", **progress_bar_options()}
    with tqdm(total=len(predictions.systems), **bar_options) as bar:
        metrics = score(predictions, suite, origin, bar.update)
    target = metrics_file(path)
    if target.name == METRICS:
        metrics = record(path, metrics)
    else:
        write_metrics(target, metrics)
    show(metrics)
    stdout.print(f"\nMetrics: {display(target)}")
    next_command(f"make compare RUNS={run.folder.name}" if run else "make list")


def find(arguments: argparse.Namespace) -> "tuple[Path, Suite, Run | None]":
    """The predictions, the suite to score them with, and the run that they belong to."""
    from affinage.runs import newest_or_named
    from affinage.scoring import enclosing_run, load_suite, predictions_of

    if arguments.run:
        run = newest_or_named(arguments.run, arguments.results)
        suite = load_suite(run.manifest["task"], arguments.suite)
        return predictions_of(run, suite.name), suite, run
    path: Path = arguments.predictions
    run_above, folder = enclosing_run(path), path.resolve().parent
    task = run_above.manifest["task"] if run_above else folder.name
    made_for = folder.name if folder.parent.name == "evaluation" else ""
    return path, load_suite(task, arguments.suite or made_for), run_above


def metrics_file(predictions: Path) -> Path:
    """metrics.json beside the predictions; another name where `make train` keeps a metrics.json of its own."""
    from affinage.scoring import PREDICTIONS

    own = predictions.name == PREDICTIONS and not predictions.with_name("run.json").exists()
    return predictions.with_name("metrics.json" if own else f"{predictions.stem}.metrics.json")


def show(metrics: dict[str, Any]) -> None:
    from rich.markup import escape

    from affinage.scoring.tables import confusion_table, differences_table, labels_table, systems_table

    stdout.print(systems_table(metrics))
    if metrics["differences"]:
        stdout.print()
        stdout.print(differences_table(metrics))
    if "by_label" in metrics:
        stdout.print()
        stdout.print(labels_table(metrics))
    if "confusion" in metrics:
        stdout.print()
        stdout.print(confusion_table(metrics))
    for name in metrics.get("judge", {}).get("outdated", []):
        stdout.print(f"[yellow]warning:[/] judge/{escape(name)} is about other answers: ask it again with make judge")
    for warning in metrics["warnings"]:
        stdout.print(f"[yellow]warning:[/] {escape(warning)}")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
