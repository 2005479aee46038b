"""Trains one config, answers the test rows before and after, and fills a folder in results/.

.venv/bin/python tools/train.py --config ludwig_configs/voix-passive/petit-llama-qlora.yaml
"""

import argparse
import json
import os
import sys
from pathlib import Path

from affinage import launch, ray_runs
from affinage.configs import read_config
from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.model_types import baseline_name
from affinage.paths import CONFIGS, RESULTS, ROOT, display, full_dataset
from affinage.reports import best_validation_loss, dropped_sentences, preference_sentence, scores_table
from affinage.runs import USER_CONFIG, find_run


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, help="a YAML file in ludwig_configs/<task>/")
    what.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with a run that ended early: its id, its folder, last, or a copy",
    )
    parser.add_argument("--dataset", default="", help="a file or folder of rows (default: datasets/<task>/)")
    parser.add_argument("--set", default="", help='overrides, such as "trainer.epochs=1 adapter.r=32"')
    parser.add_argument("--gpus", type=int, default=1, help="processes on this machine, each with a GPU of its own")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders go (default: results/)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    arguments = parse(argv)
    if "://" in (arguments.resume or ""):
        from affinage import run_copies

        folder = str(run_copies.fetch(arguments.resume, arguments.results.resolve()).folder)
        argv = [folder if argument == arguments.resume else argument for argument in argv]
        arguments = parse(argv)
    if arguments.gpus > 1 and not launch.in_group():
        script = [sys.executable, str(Path(__file__)), *argv]
        return launch.launch(script, arguments.gpus)
    launch.see_one_gpu()
    config = arguments.config and arguments.config.resolve()
    dataset = full_dataset(arguments.dataset)
    results = arguments.results.resolve()
    os.chdir(ROOT)  # shipped configs name models/petit-llama relative to the project
    quiet_libraries()
    run = find_run(arguments.resume, results) if arguments.resume else None
    given = read_config(run.folder / USER_CONFIG if run else config)
    if place := ray_runs.placement(given, arguments.set):
        if launch.in_group():
            raise AffinageError(Problem("GPUS", "the config leaves the workers to Ray.", remedy="Leave GPUS= out."))
        return train_on_ray(place, run, config, dataset, arguments.set, results)
    stderr.print(f"[dim]{display(run.folder if run else config)}: loading Ludwig (about 10 s)[/]")
    from affinage import joint_runs, preview, run_copies, training
    from affinage.ludwig_ext import workers

    def ready() -> training.Plan:
        plan = training.plan_again(run) if run else training.plan(config, dataset, arguments.set)
        if team.size() > 1:
            workers.refuse(plan.resolved)
        show_rows(training.kind_of(plan.resolved).base_model(plan.resolved), plan.sizes, plan.dropped)
        run_copies.check(plan.config)
        if not run:
            preview.refuse(plan)
        return plan

    team = workers.join()
    plan = joint_runs.plan_together(ready)
    run = joint_runs.start_together(plan, results, run)
    try:
        outcome = training.complete(run, plan)
    except KeyboardInterrupt as stop:
        return show_interrupted(run, str(stop))
    if team.is_coordinator():
        show_outcome(outcome, plan.resolved.trainer.learning_rate, config or config_of(run))
    return 0


def train_on_ray(place, run, config, dataset: str, overrides: str, results: Path) -> int:
    """Trains on a Ray cluster; this process reads no row, and shows what the run folder says in the end."""
    try:
        with ray_runs.cluster(place):
            if run is None:
                run, rows, dropped = ray_runs.begin(config, dataset, overrides, results)
                show_rows(run.manifest["base_model"]["id"], rows, dropped)
            run = ray_runs.train(place, run)
    except KeyboardInterrupt:
        return show_interrupted(run, "") if run else 130
    from affinage.training import Outcome

    records = [json.loads(line) for line in open_records(run)]
    outcome = Outcome(run, run.manifest.get("metrics", {}).get("scores", {}), records)
    rate = read_config(run.folder / "config.yaml")["trainer"]["learning_rate"]
    show_outcome(outcome, rate, config or config_of(run))
    return 0


def config_of(run) -> Path:
    return CONFIGS / run.manifest["task"] / f"{run.manifest['config']}.yaml"


def open_records(run) -> list[str]:
    path = run.folder / "predictions.jsonl"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def show_interrupted(run, stop: str) -> int:
    stdout.print(f"Interrupted: {stop or 'at once'}. The last checkpoint is in {display(run.folder)}.")
    next_command(f"make train RESUME={run.folder.name}")
    return 130


def show_rows(base_model: str, rows: dict[str, int], dropped: dict[str, int]) -> None:
    found = ", ".join(f"{name} {n:,}" for name, n in rows.items())
    stderr.print(f"base model {base_model}; rows: {found}", style="dim")
    for sentence in dropped_sentences(dropped):
        stderr.print(f"[yellow]{sentence}[/]")


def show_outcome(outcome, rate, config: Path) -> None:
    run, training = outcome.run, outcome.run.manifest["training"]
    if training["cut_rows"]:
        stdout.print(
            f"[yellow]The length limit cut {training['cut_rows']} of {training['trained_rows']} training rows "
            f"({training['cut_answer_tokens']} answer tokens); {len(training['skipped_rows'])} were left out whole.[/]"
        )
    if outcome.scores:
        stdout.print(
            scores_table(outcome.scores, run.manifest["metrics"]["rows_in_split"], baseline_name(run.manifest))
        )
        if sentence := preference_sentence(run.manifest["metrics"]):
            stdout.print(sentence)
        show_samples(outcome.records)
    best = best_validation_loss(training)
    loss = "" if best is None else f", validation loss {best:.4f}"
    stdout.print(
        f"\nTrained {training['trainable_parameters']:,} of {training['parameters']:,} parameters for "
        f"{training['steps']} steps in {training['seconds']:.0f} s; best at step {training['best_step']}{loss}."
    )
    stdout.print(f"Run folder:  {display(run.folder)}")
    weights = run.weights_folder if run.weights_folder.exists() else run.weights_folder.with_suffix(".safetensors")
    stdout.print(f"Weights:     {display(weights)}")
    stdout.print(f"Loss curve:  {display(run.folder / 'plots' / 'loss.png')}")
    other = f"trainer.learning_rate={rate / 2:g}" if isinstance(rate, float) else "trainer.learning_rate=0.0001"
    next_command(f'make train CONFIG={display(config)} SET="{other}"')


def show_samples(records: list[dict], n: int = 3) -> None:
    from rich.text import Text

    for i in range(min(n, len(records))):
        record = records[i * len(records) // n]
        stdout.print(f"\n[bold]Sample {i + 1}[/]")
        for name in ("instruction", "input", "reference", "base", "tuned"):
            if name in record:
                text = " ".join(str(record[name]).split())
                stdout.print(Text(f"  {name + ':':<13}{text if len(text) <= 200 else text[:199] + '…'}"))


if __name__ == "__main__":
    raise SystemExit(run_script(main))
