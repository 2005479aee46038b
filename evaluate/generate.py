"""Answers every row of a split with the base model and the tuned one: one line per row in predictions.jsonl.

.venv/bin/python evaluate/generate.py --run last
.venv/bin/python evaluate/generate.py --adapter user/name --config ludwig_configs/alpaca/mistral-7b-qlora.yaml

A run of this that was stopped goes on where it was when it is started again, also with another number of processes.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from tqdm import tqdm

from affinage import launch
from affinage.configs import read_config, task_and_name
from affinage.console import next_command, progress_bar_options, quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, ROOT, display, full_dataset
from affinage.ray_runs import Placement, placement
from affinage.runs import USER_CONFIG, newest_or_named, write_json


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", help="a run's id or folder, or last, the newest one")
    what.add_argument("--adapter", help="a folder in PEFT format, or an id on the Hugging Face Hub; needs --config")
    parser.add_argument("--config", type=Path, help="with --adapter: the YAML that names base model, prompt and data")
    parser.add_argument("--dataset", default="", help="other rows than those of the run: a file or folder")
    parser.add_argument("--suite", default="", help="a name in evaluate/suites/ (default: the task's)")
    parser.add_argument("--split", default="", help="train, validation or test (default: the suite's, else test)")
    parser.add_argument("--fewshot", type=int, help="ask the base model with this many solved training rows as well")
    parser.add_argument("--batch-size", type=int, help="rows answered at a time (default: the suite's, else 32)")
    parser.add_argument("--book", type=Path, help="also write the answers as a JSON list with model_response")
    parser.add_argument("--gpus", type=int, help="processes on this machine; without it, those the config asks for")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    arguments = parser.parse_args(argv)
    if arguments.adapter and not arguments.config:
        raise AffinageError(Problem("--adapter", "needs the YAML that names its base model.", remedy="Add CONFIG=."))
    return arguments


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    results, config = arguments.results.resolve(), arguments.config and arguments.config.resolve()
    dataset = full_dataset(arguments.dataset)
    book = arguments.book and arguments.book.resolve()
    run = newest_or_named(arguments.run, results) if arguments.run else None
    if (arguments.gpus or 1) > 1 and not launch.in_group():
        script = [sys.executable, str(Path(__file__)), *(sys.argv[1:] if argv is None else argv)]
        return launch.launch([*script, "--run", str(run.folder)] if run else script, arguments.gpus)
    launch.see_one_gpu()
    os.chdir(ROOT)
    quiet_libraries()
    place = placed(run.folder / USER_CONFIG if run else config, arguments.gpus)
    stderr.print(f"[dim]{display(run.folder) if run else arguments.adapter}: loading (about 10 s)[/]")
    from affinage import evaluating

    target = evaluating.Target(str(run.folder) if run else "", arguments.adapter or "", config, dataset, results)
    suite, request = request_of(arguments, run.manifest["task"] if run else task_and_name(config)[0])
    folder, started = target.folder / "evaluation" / suite, time.monotonic()
    options = progress_bar_options() | {"disable": int(os.environ.get("RANK", "0")) > 0}
    with tqdm(desc=f"answering the {request.split} rows", unit="row", **options) as bar:
        path = answer(place, target, request, folder, lambda done, total: show(bar, done, total))
    if path is None:
        return 0
    show_outcome(path, time.monotonic() - started)
    if book:
        from affinage.predictions import book_format

        write_json(book, book_format(path))
        stdout.print(f"Book format: {display(book)}")
    name = f"RUN={run.folder.name}" if run else f"--predictions {display(path)}"
    next_command(f"make score {name}" if run else f".venv/bin/python evaluate/score.py {name}")
    return 0


def placed(config: Path, gpus: int | None) -> Placement | None:
    """The cluster that the config asks for, unless processes of this machine are asked for or at work already."""
    here = gpus or launch.in_group() or not config.is_file()
    return None if here else placement(read_config(config))


def answer(place: Placement | None, target, request, folder: Path, progress) -> Path | None:
    """The path of the predictions; None in a process that only shares the rows."""
    from affinage import evaluating

    if place:
        return evaluating.answer_on_ray(place, target, request, folder, progress)
    together = evaluating.answer_in_group if launch.in_group() else evaluating.answer_alone
    return together(target, request, folder, progress)


def request_of(arguments: argparse.Namespace, task: str):
    from affinage.predictions import Request
    from affinage.scoring import load_suite

    suite = load_suite(task, arguments.suite)
    fewshot = suite.fewshot if arguments.fewshot is None else arguments.fewshot
    settings, batch_size = dict(suite.generation), arguments.batch_size or suite.batch_size
    return suite.name, Request(arguments.split or suite.split, settings, batch_size, fewshot)


def show(bar: tqdm, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def show_outcome(path: Path, seconds: float) -> None:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    systems = [name for name in ("base", "fewshot", "tuned") if name in records[0]]
    stdout.print(f"{len(records)} rows answered by {', '.join(systems)} in {seconds:.0f} s.")
    for system in systems:
        flags = {
            flag: sum(flag in record[f"{system}_flags"] for record in records) for flag in ("empty", "limit", "repeats")
        }
        stdout.print(f"  {system:<8}" + ", ".join(f"{name} {n}" for name, n in flags.items()))
    stdout.print(f"Predictions: {display(path)}")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
