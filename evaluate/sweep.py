"""Trains one config with several settings and ranks them by their validation loss.

.venv/bin/python evaluate/sweep.py --config ludwig_configs/voix-passive/petit-llama-lora.yaml --sweep sweep.yaml
.venv/bin/python evaluate/sweep.py --resume last

The file crosses values, lists trials, draws them, or lets Optuna search by Ludwig's own form:

  grid: {trainer.learning_rate: [0.001, 0.002], adapter.r: [4, 8]}
  paired: [{trainer.learning_rate: 0.001, adapter.r: 8}, {trainer.learning_rate: 0.002, adapter.r: 4}]
  random:
    n: 8
    seed: 0
    space: {trainer.learning_rate: {low: 0.0001, high: 0.01, log: true}, adapter.r: {choices: [4, 8]}}
  hyperopt:
    parameters:
      trainer.learning_rate: {space: loguniform, lower: 0.0001, upper: 0.01}
      adapter.r: {space: choice, categories: [4, 8]}
    search_alg: {type: optuna, seed: 0}
    executor: {num_samples: 20}

Without a file, the config's own `hyperopt` section says what is tried; evaluate/README.md lists what it may hold.
A finished trial is not trained again; one that failed is tried again when the sweep is taken up again. Trials are
trained one after the other, or side by side on the Ray cluster that the config asks for.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from affinage.configs import read_config
from affinage.console import next_command, progress_bar_options, quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, ROOT, display, full_dataset
from affinage.series import Series, find_series

ON_PAGE = 12  # runs side by side, the best ones: beyond, their colours repeat


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, help="a YAML file in ludwig_configs/<task>/")
    what.add_argument("--resume", metavar="ID", help="go on with a sweep that ended early: its id, folder, or last")
    parser.add_argument("--sweep", default="", help="a YAML file with what is tried (default: the config's hyperopt)")
    parser.add_argument("--dataset", default="", help="a file or folder of rows (default: datasets/<task>/)")
    parser.add_argument("--set", default="", help='overrides for every trial, such as "trainer.epochs=1"')
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders go (default: results/)")
    arguments = parser.parse_args(argv)
    if arguments.config and not arguments.sweep and "hyperopt" not in read_config(arguments.config):
        found, allowed = "is missing, and the config has no 'hyperopt' section.", "a YAML file with what is tried"
        raise AffinageError(Problem("--sweep", found, allowed, "Add SWEEP=."))
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    config, results = arguments.config and arguments.config.resolve(), arguments.results.resolve()
    file, dataset = Path(arguments.sweep or config or "").resolve(), full_dataset(arguments.dataset)
    os.chdir(ROOT)  # shipped configs name models/petit-llama relative to the project
    quiet_libraries()
    series = find_series("sweep", arguments.resume, results) if arguments.resume else None
    stderr.print(f"[dim]{display(series.folder if series else config)}: loading Ludwig (about 10 s)[/]")
    from affinage import sweeps

    series = series or sweeps.start(config, dataset, arguments.set, file, results)
    try:
        trials = sweeps.go_on(series)
    except KeyboardInterrupt:
        stdout.print(f"Interrupted. What is done is in {display(series.folder)}.")
        next_command(f"make sweep RESUME={series.folder.name}")
        return 130
    return show(series, trials)


def show(series: Series, trials: list[dict[str, Any]]) -> int:
    """Prints the trials in the order given and writes their page; the exit code is 1 when none of them finished."""
    from rich.markup import escape
    from rich.table import Table

    failed = [trial for trial in trials if trial["status"] == "failed"]
    title = f"{len(trials)} trials, the lowest validation loss first" + (f"; {len(failed)} failed" if failed else "")
    table = Table(title=title, title_justify="left", box=None)
    for heading in ("trial", "validation loss", "best step", "steps", "minutes"):
        table.add_column(heading, justify="right")
    for heading in ("run", "settings"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "run")
    for trial in trials:
        table.add_row(*map(escape, cells(trial)))
    stdout.print(table)
    for trial in failed:
        stdout.print(f"[red]failed:[/] trial {trial['number']}: {escape(trial['error'])}")
    finished = [trial["run"] for trial in trials if trial["status"] == "finished"]
    stdout.print(f"\nFolder: {display(series.folder)}")
    if finished:
        page = compared(series, finished[:ON_PAGE])
        stdout.print(f"Page of {'all' if len(finished) <= ON_PAGE else f'the best {ON_PAGE}'} runs: {display(page)}")
    next_command(f"make evaluate RUN={finished[0]}" if finished else f"make sweep RESUME={series.folder.name}")
    return 0 if finished else 1


def compared(series: Series, runs: list[str]) -> Path:
    """The page that make compare would write of the runs, under the name of the sweep."""
    from tqdm import tqdm

    from affinage.comparison.gather import find_runs, gather
    from affinage.comparison.page import compare, page_path, write_page
    from affinage.comparison.systems import systems_of

    entries = gather(find_runs([str(series.folder.with_name(run)) for run in runs], series.results)[0])
    options = progress_bar_options()
    with tqdm(total=len(systems_of(entries)), desc="measuring", unit="system", **options) as bar:
        comparison = compare(entries, progress=bar.update)
    with tqdm(desc="comparing answers", unit="row", **options) as bar:
        return write_page(comparison, page_path(entries, series.folder.name, series.results), bar.update)


def cells(trial: dict[str, Any]) -> list[str]:
    """One line of the table; a dash stands where a trial did not get that far."""
    if trial["status"] != "finished":
        return [str(trial["number"]), trial["status"], "-", "-", "-", trial.get("run") or "-", trial["set"]]
    figures = [f"{trial['validation_loss']:.4f}", f"{trial['best_step']:,}", f"{trial['steps']:,}"]
    return [str(trial["number"]), *figures, f"{trial['seconds'] / 60:.1f}", trial["run"], trial["set"]]


if __name__ == "__main__":
    raise SystemExit(run_script(main))
