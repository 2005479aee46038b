"""Measures a training step against TRL's SFTTrainer and a plain transformers and PEFT loop, as ratios.

.venv/bin/python benchmarks/peers.py [--quick] [--output FILE]
"""

import argparse
import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from affinage import benchmark_step
from affinage.benchmark_step import TINY, Settings, around_steps, make_model, make_rows, make_trainer, prepare_process
from affinage.benchmarking import spread, surroundings
from affinage.console import run_script, stdout
from affinage.paths import ROOT, display

OUTPUT = ROOT / "benchmarks" / "peers.json"
OTHERS = ("plain", "trl")
TIME_AT_LEAST, MEMORY_AT_MOST = 1.0, 1.0
LOSS_TOLERANCE = 1e-4  # relative; at the first step LoRA adds nothing yet, whatever its dropout


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints the verdict; 1 when the contestants do not have one loss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    parser.add_argument("--quick", action="store_true", help="a tiny model, twice: shows that the script runs")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(sys.stderr):
        result = {
            "quick": arguments.quick,
            **measure(replace(TINY, memory_runs=1) if arguments.quick else Settings(), Path(work)),
        }
    show(result)
    output = arguments.output or (None if arguments.quick else OUTPUT)
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stdout.print(display(output))
    return 0 if result["same_loss"] else 1


def measure(settings: Settings, work: Path) -> dict[str, Any]:
    """Seconds per step in rounds, every contestant on the same batch; memory in a fresh process for each."""
    prepare_process()
    busy = psutil.cpu_percent(interval=1.0)
    make_model(settings, work)
    rounds, losses = time_steps(settings, work)
    names = ("affinage", *OTHERS)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        memory = [
            dict(zip(names, pool.map(partial(measure_memory, settings, work), names), strict=True))
            for _ in range(settings.memory_runs)
        ]
    speed = {name: spread([r[name] / r["affinage"] for r in rounds]) for name in OTHERS}
    size = {name: spread([m["affinage"] / m[name] for m in memory]) for name in OTHERS}
    return {
        "settings": asdict(settings),
        "time": {"n": len(rounds), "rounds": rounds, "ratio_other_to_affinage": speed, "bar": TIME_AT_LEAST},
        "memory": {"n": len(memory), "runs": memory, "ratio_affinage_to_other": size, "bar": MEMORY_AT_MOST},
        "losses": losses,
        "same_loss": all(abs(loss / losses["affinage"] - 1) < LOSS_TOLERANCE for loss in losses.values()),
        "processor_use_before_percent": busy,
        "environment": surroundings(),
    }


def token_rows(settings: Settings, work: Path, batches: int) -> list[tuple[list[int], int]]:
    """Ids of every row, prompt and answer and EOS, and where the answer starts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(work / "model")
    data = make_rows(settings, batches)
    rows = []
    for prompt, answer in zip(data["prompt"], data["output"], strict=True):
        asked = tokenizer(prompt).input_ids
        rows.append((asked + tokenizer(answer).input_ids + [tokenizer.eos_token_id], len(asked)))
    return rows


def lora_model(work: Path) -> Any:
    """The base model with Ludwig's default LoRA, dropout included."""
    import transformers
    from peft import LoraConfig, get_peft_model

    base = transformers.AutoModelForCausalLM.from_pretrained(work / "model")
    transformers.set_seed(1)
    modules = ["q_proj", "v_proj"]
    lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, target_modules=modules, task_type="CAUSAL_LM")
    return get_peft_model(base, lora)


def plain_steps(
    settings: Settings,
    work: Path,
    rows: list[tuple[list[int], int]],
    loaded: Callable[[Any], None] = lambda model: None,
) -> Iterator[float]:
    """A loop as transformers' documentation writes it: pad the batch, model(labels=...), backward, clip, Adam."""
    import torch

    model = lora_model(work).train()
    loaded(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.001)
    for start in range(0, len(rows), settings.batch_size):
        batch = rows[start : start + settings.batch_size]
        width = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([ids + [2] * (width - len(ids)) for ids, _ in batch])
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in batch])
        labels = torch.tensor([[-100] * at + ids[at:] + [-100] * (width - len(ids)) for ids, at in batch])
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.5)
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


def trl_trainer(settings: Settings, work: Path, rows: list[tuple[list[int], int]], after_step: Any) -> Any:
    """TRL's SFTTrainer on the same ids, in the same order, with the same LoRA, precision and clipping."""
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    columns = {
        "input_ids": [ids for ids, _ in rows],
        "completion_mask": [[0] * at + [1] * (len(ids) - at) for ids, at in rows],
    }
    usual = benchmark_step.trl_settings(work / "trl", settings.batch_size)
    config = SFTConfig(**usual, bf16=False, use_cpu=True, gradient_checkpointing=False)
    return SFTTrainer(
        model=lora_model(work),
        args=config,
        train_dataset=Dataset.from_dict(columns),
        processing_class=AutoTokenizer.from_pretrained(work / "model"),
        callbacks=[type("AfterStep", (TrainerCallback,), {"on_step_end": lambda *_, **__: after_step()})()],
    )


class TrlSteps:
    """TRL's own training loop, one step at a time: it runs in a thread that waits between its steps."""

    def __init__(self, settings: Settings, work: Path, rows: list[tuple[list[int], int]]) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self.trainer = trl_trainer(settings, work, rows, self._between)
        threading.Thread(target=self._train, daemon=True).start()

    def _train(self) -> None:
        self._go.acquire()
        self.trainer.train()
        self._done.release()

    def _between(self) -> None:
        self._done.release()
        self._go.acquire()

    def step(self) -> None:
        self._go.release()
        self._done.acquire()

    @property
    def first_loss(self) -> float:
        return next(log["loss"] for log in self.trainer.state.log_history if "loss" in log)


def time_steps(settings: Settings, work: Path) -> tuple[list[dict[str, float]], dict[str, float]]:
    """Seconds per step of every contestant on the same batches, in turn, and the loss of the first batch."""
    batches = settings.warmup + settings.pairs
    rows = token_rows(settings, work, batches)
    trl, plain = TrlSteps(settings, work, rows), plain_steps(settings, work, rows)
    marks, plain_losses = list[float](), list[float]()

    def others_first() -> None:
        marks.append(time.perf_counter())
        plain_losses.append(next(plain))
        marks.append(time.perf_counter())
        trl.step()
        marks.append(time.perf_counter())

    callbacks = around_steps(others_first, lambda: marks.append(time.perf_counter()))
    affinage, data = make_trainer(settings, work, make_rows(settings, batches), "affinage", callbacks)
    affinage.train(data, save_path=str(work / "run"))
    rounds = [
        {"plain": b - a, "trl": c - b, "affinage": d - c}
        for a, b, c, d in zip(*(marks[i::4] for i in range(4)), strict=True)
    ]
    trl.step()  # lets the loop end and log
    losses = {"affinage": affinage.progress.records[0]["loss"], "plain": plain_losses[0], "trl": trl.first_loss}
    return rounds[settings.warmup :], losses


def measure_memory(settings: Settings, work: Path, contestant: str) -> int:
    """Bytes by which resident memory rose above the loaded model in the contestant's own loop."""
    if contestant == "affinage":
        return benchmark_step.measure_memory(settings, work, contestant)
    prepare_process()
    rows, resident = token_rows(settings, work, settings.memory_steps), list[int]()

    with contextlib.redirect_stdout(sys.stderr):
        if contestant == "trl":
            trainer = trl_trainer(settings, work, rows, lambda: None)
            benchmark_step.watch_memory(trainer.model, resident)
            trainer.train()
        else:
            for _ in plain_steps(settings, work, rows, partial(benchmark_step.watch_memory, resident=resident)):
                pass
    return max(resident) - resident[0]


def show(result: dict[str, Any]) -> None:
    table = Table("", "against", "n", "ratio", "from", "to", "bar", "met", title="Medians; ratios are within rounds")
    for part, ratio, of in (
        ("time", "ratio_other_to_affinage", "time of a step, other / affinage"),
        ("memory", "ratio_affinage_to_other", "memory above the model, affinage / other"),
    ):
        found = result[part]
        for name in OTHERS:
            r = found[ratio][name]
            met = r["median"] >= found["bar"] if part == "time" else r["median"] <= found["bar"]
            verdict = "not judged" if result["quick"] else "yes" if met else "[red]no[/]"
            cells = [f"{r[edge]:.2f}" for edge in ("median", "min", "max")]
            table.add_row(of, name, str(found["n"]), *cells, str(found["bar"]), verdict)
    stdout.print(table)
    stdout.print("Loss of the first batch: " + ", ".join(f"{k} {v:.6f}" for k, v in result["losses"].items()))
    stdout.print(f"Other programs used {result['processor_use_before_percent']:.0f} % of the processor at the start.")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
