"""Answers every row of a split with the base model and the tuned one: one line per row in predictions.jsonl.

.venv/bin/python evaluate/generate.py --run last
.venv/bin/python evaluate/generate.py --adapter user/name --config ludwig_configs/alpaca/mistral-7b-qlora.yaml

A run of this that was stopped goes on where it was when it is started again.
"""

import argparse
import json
import os
import time
from pathlib import Path

from tqdm import tqdm

from affinage.console import next_command, progress_bar_options, quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, ROOT, display, full_dataset
from affinage.runs import newest_or_named, write_json


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
    os.chdir(ROOT)
    quiet_libraries()
    run = newest_or_named(arguments.run, results) if arguments.run else None
    stderr.print(f"[dim]{display(run.folder) if run else arguments.adapter}: loading (about 10 s)[/]")
    from affinage import predictions, subjects

    if run:
        subject = subjects.open_to_evaluate(run, dataset)
    else:
        subject = subjects.open_adapter(arguments.adapter, config, dataset, results)
    suite, request = request_of(arguments, subject.task)
    folder, started = subject.folder / "evaluation" / suite, time.monotonic()
    with tqdm(desc=f"answering the {request.split} rows", unit="row", **progress_bar_options()) as bar:
        path = predictions.predict(subject, request, folder, lambda done, total: show(bar, done, total))
    show_outcome(path, time.monotonic() - started)
    if book:
        write_json(book, predictions.book_format(path))
        stdout.print(f"Book format: {display(book)}")
    name = f"RUN={subject.name}" if run else f"--predictions {display(path)}"
    next_command(f"make score {name}" if run else f".venv/bin/python evaluate/score.py {name}")
    return 0


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
