"""Measures a whole training with its evaluations, of Affinage against stock Ludwig, as ratios of wall time.

.venv/bin/python benchmarks/whole_training.py [--quick] [--output FILE]
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from affinage import benchmark_step
from affinage.benchmark_step import ludwig_config, make_model, make_rows, prepare_process
from affinage.benchmarking import spread, surroundings
from affinage.console import run_script, stderr, stdout
from affinage.paths import ROOT, display

OUTPUT = ROOT / "benchmarks" / "whole_training.json"
STOCK, AFFINAGE, BFLOAT16 = "stock", "affinage", "affinage in bfloat16"
CONTESTANTS = (STOCK, AFFINAGE, BFLOAT16)
FASTER_AT_LEAST = 2.0
LOSS_TOLERANCE = {AFFINAGE: 1e-5, BFLOAT16: 1e-2}  # relative, of the loss it reports
LEARNT_AT_LEAST = 0.8  # of what the stock trainer took off the same loss
ANSWER_WORDS = 50


@dataclass(frozen=True)
class Training:
    """How long to train and how often to evaluate, in batches of the model's settings, and how often to measure."""

    model: benchmark_step.Settings = field(default_factory=benchmark_step.Settings)
    train_batches: int = 6
    validation_batches: int = 3
    epochs: int = 2
    evaluations_per_epoch: int = 2
    pairs: int = 3


TINY = Training(benchmark_step.TINY, validation_batches=1, pairs=1)


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints the verdict; 1 when a loss is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    parser.add_argument("--quick", action="store_true", help="a tiny model, once: shows that the script runs")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(sys.stderr):
        result = {"quick": arguments.quick, **measure(TINY if arguments.quick else Training(), Path(work))}
    show(result)
    output = arguments.output or (None if arguments.quick else OUTPUT)
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stdout.print(display(output))
    return 0 if result["losses"]["as_expected"] else 1


def measure(training: Training, work: Path) -> dict[str, Any]:
    """The whole comparison as JSON-able values; every training has a process of its own, in turn."""
    prepare_process()
    import torch

    busy = psutil.cpu_percent(interval=1.0)
    make_model(training.model, work)
    pairs = []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for n in range(training.pairs):
            run = partial(train_whole, training, work)
            pairs.append({name: pool.submit(run, name, work / f"{name}-{n}").result() for name in CONTESTANTS})
            stderr.print(", ".join(f"{name} {found['seconds']:.1f} s" for name, found in pairs[-1].items()))
    seconds = [{name: found["seconds"] for name, found in pair.items()} for pair in pairs]
    ratio = {name: spread([pair[STOCK] / pair[name] for pair in seconds]) for name in CONTESTANTS[1:]}
    return {
        "settings": asdict(training),
        "time": {"n": len(pairs), "ratio": ratio, "rounds": seconds}
        | {name: spread([pair[name] for pair in seconds]) for name in CONTESTANTS}
        | {"bar": FASTER_AT_LEAST, "met": {name: r["median"] >= FASTER_AT_LEAST for name, r in ratio.items()}},
        "losses": compare_losses(training, work, pairs[0]),
        "threads": torch.get_num_threads(),
        "processor_use_before_percent": busy,
        "environment": surroundings(),
    }


def splits(training: Training) -> tuple[Any, Any]:
    """Training and validation rows. Answers use few of the words, so that there is something to learn."""
    data = make_rows(training.model, training.train_batches + training.validation_batches)
    data["output"] = [
        " ".join(f"w{4 + int(word[1:]) % ANSWER_WORDS}" for word in text.split()) for text in data["output"]
    ]
    n = training.train_batches * training.model.batch_size
    return data[:n], data[n:].reset_index(drop=True)


def train_whole(training: Training, work: Path, contestant: str, folder: Path) -> dict[str, Any]:
    """Seconds from the config to the end of `LudwigModel.train`, its validation losses and where its adapter is.

    A tiny model is trained before, untimed, because some libraries are loaded only when training needs them.
    """
    prepare_process()
    if contestant != STOCK:
        from affinage.ludwig_ext import register

        register()
    with contextlib.redirect_stdout(sys.stderr):
        make_model(TINY.model, folder / "warmup")
        timed(TINY, folder / "warmup", folder / "warmup", contestant)
        return timed(training, work, folder, contestant)


def timed(training: Training, work: Path, folder: Path, contestant: str) -> dict[str, Any]:
    """One training as the registered classes do it."""
    from ludwig.api import LudwigModel

    train, validation = splits(training)
    started = time.perf_counter()
    ludwig = LudwigModel(config(training, work, contestant == BFLOAT16), backend="local")
    results = ludwig.train(
        training_set=train,
        validation_set=validation,
        output_directory=str(folder),
        skip_save_processed_input=True,
    )
    seconds = time.perf_counter() - started
    losses = results.train_stats.validation["output"]["loss"]
    weights = Path(results.output_directory) / "model" / "model_weights"
    return {"seconds": seconds, "validation_losses": [float(loss) for loss in losses], "weights": str(weights)}


def config(training: Training, work: Path, mixed: bool) -> dict[str, Any]:
    """The same for all. Without dropout and shuffling all take the same steps on the same rows.

    Stock Ludwig trains in float32 on a processor whatever `use_mixed_precision` says.
    """
    return ludwig_config(
        work,
        adapter={"dropout": 0.0},
        epochs=training.epochs,
        batch_size=training.model.batch_size,
        checkpoints_per_epoch=training.evaluations_per_epoch,
        learning_rate=0.01,
        should_shuffle=False,
        use_mixed_precision=mixed,
    )


def compare_losses(training: Training, work: Path, pair: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean loss (nats) per answer token of the validation rows: as reported, and by plain transformers and PEFT.

    Affinage must report the loss that its weights have; it keeps those of its best evaluation. Stock Ludwig attends to
    padding, so what it reports is not that loss, and its steps differ; therefore its trained adapter is compared.
    """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, (_, rows) = AutoTokenizer.from_pretrained(work / "model"), splits(training)

    def plain(weights: str = "") -> float:
        model: Any = AutoModelForCausalLM.from_pretrained(work / "model")
        model = PeftModel.from_pretrained(model, weights) if weights else model
        return benchmark_step.plain_loss(model.eval(), tokenizer, rows)

    reported = {name: found["validation_losses"] for name, found in pair.items()}
    untrained, by_plain = plain(), {name: plain(found["weights"]) for name, found in pair.items()}
    expected = [len(losses) == training.epochs * training.evaluations_per_epoch for losses in reported.values()]
    for name, tolerance in LOSS_TOLERANCE.items():
        expected.append(abs(min(reported[name]) / by_plain[name] - 1) < tolerance)
        expected.append(untrained - by_plain[name] > LEARNT_AT_LEAST * (untrained - by_plain[STOCK]) > 0)
    return {"reported": reported, "untrained": untrained, "plain": by_plain, "as_expected": all(expected)}


def show(result: dict[str, Any]) -> None:
    """Prints the measurements, the losses and, unless quick, the verdicts."""
    found = result["time"]
    table = Table(
        "", "n", "seconds", "stock / it", "from", "to", "bar", "met", title="Medians; ratios are within rounds"
    )
    for name in CONTESTANTS:
        cells = [name, str(found["n"]), f"{found[name]['median']:.1f}"]
        if name != STOCK:
            met = "not judged" if result["quick"] else "yes" if found["met"][name] else "[red]no[/]"
            cells += [f"{found['ratio'][name][edge]:.2f}" for edge in ("median", "min", "max")]
            cells += [str(found["bar"]), met]
        table.add_row(*cells)
    stdout.print(table)
    losses = result["losses"]
    stdout.print(f"Validation loss before training: {losses['untrained']:.6f}")
    for name in CONTESTANTS:
        last = losses["reported"][name][-1]
        stdout.print(f"{name}: {last:.6f} reported last, {losses['plain'][name]:.6f} by plain transformers and PEFT")
    stdout.print(f"The losses are {'' if losses['as_expected'] else '[red]NOT[/] '}what they should be.")
    stdout.print(f"Other programs used {result['processor_use_before_percent']:.0f} % of the processor at the start.")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
