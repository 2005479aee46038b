"""Measures a training step, its time and its memory, of Affinage's trainer against stock Ludwig's, as ratios.

.venv/bin/python benchmarks/train_step.py [--quick] [--output FILE]
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from affinage import environment
from affinage.console import quiet_libraries, run_script, stdout
from affinage.paths import ROOT, display

OUTPUT = ROOT / "benchmarks" / "train_step.json"
CONTESTANTS = ("stock", "affinage")
FASTER_AT_LEAST, MEMORY_AT_MOST = 1.6, 0.6
LOSS_TOLERANCE = 1e-5  # relative
SHAPE = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


@dataclass(frozen=True)
class Settings:
    """Sizes of the model and the data, and how often to measure; lengths are in tokens, answers' without EOS."""

    vocab_size: int = 32_000
    hidden_size: int = 512
    intermediate_size: int = 1216
    num_hidden_layers: int = 8
    num_attention_heads: int = 8
    batch_size: int = 8
    prompt_tokens: tuple[int, int] = (88, 132)
    answer_tokens: tuple[int, int] = (47, 71)
    warmup: int = 2
    pairs: int = 12
    memory_runs: int = 3
    memory_steps: int = 3


TINY = Settings(200, 64, 128, 2, 4, warmup=1, pairs=2, memory_runs=2, memory_steps=2)


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints the verdict; 1 when a loss is not what it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    parser.add_argument("--quick", action="store_true", help="a tiny model, twice: shows that the script runs")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work, contextlib.redirect_stdout(sys.stderr):
        result = {"quick": arguments.quick, **measure(TINY if arguments.quick else Settings(), Path(work))}
    output = arguments.output or (None if arguments.quick else OUTPUT)
    show(result)
    if output:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        stdout.print(display(output))
    return 0 if result["losses"]["as_expected"] else 1


def prepare_process() -> None:
    """Keeps libraries quiet, off the network and on the processor."""
    quiet_libraries()
    os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def measure(settings: Settings, work: Path) -> dict[str, Any]:
    """The whole comparison as JSON-able values, in seconds and bytes."""
    prepare_process()
    import torch

    busy = psutil.cpu_percent(interval=1.0)
    make_model(settings, work)
    seconds, losses, sizes = time_and_losses(settings, work)
    # a fresh process each time, so that no memory is left over from the measurement before
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        in_turn = partial(pool.map, partial(measure_memory, settings, work), CONTESTANTS)
        memory = [dict(zip(CONTESTANTS, in_turn(), strict=True)) for _ in range(settings.memory_runs)]
    speed, size = compared(seconds, "stock", "affinage"), compared(memory, "affinage", "stock")
    return {
        "settings": asdict(settings) | sizes,
        "time": speed | {"bar": FASTER_AT_LEAST, "met": speed["ratio"]["median"] >= FASTER_AT_LEAST},
        "memory": size | {"bar": MEMORY_AT_MOST, "met": size["ratio"]["median"] <= MEMORY_AT_MOST},
        "losses": losses,
        "threads": torch.get_num_threads(),
        "processor_use_before_percent": busy,
        "environment": {"git": environment.git_state(), "packages": environment.versions(), **environment.hardware()},
    }


def compared(pairs: list[Any], above: str, below: str) -> dict[str, Any]:
    """Spread of each contestant and of the ratios above / below within the pairs."""

    def spread(values: list[float]) -> dict[str, float]:
        return {"min": min(values), "median": statistics.median(values), "max": max(values)}

    found = {name: spread([pair[name] for pair in pairs]) for name in CONTESTANTS}
    found["ratio"] = spread([pair[above] / pair[below] for pair in pairs])
    return {"n": len(pairs), "ratio_of": f"{above} / {below}", **found, "pairs": pairs}


def make_model(settings: Settings, work: Path) -> None:
    """A Llama with random weights, and a tokenizer whose words are w4, w5, ... between spaces."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = ["<s>", "</s>", "<pad>", "<unk>", *(f"w{i}" for i in range(4, settings.vocab_size))]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(work / "model")
    transformers.set_seed(1)
    shape: dict[str, Any] = {name: getattr(settings, name) for name in SHAPE}
    config = transformers.LlamaConfig(**shape, bos_token_id=0, eos_token_id=1, pad_token_id=2)
    transformers.LlamaForCausalLM(config).save_pretrained(work / "model")


def make_rows(settings: Settings, batches: int) -> Any:
    """Random words as a DataFrame with the columns prompt and output; the same ones at every call."""
    import pandas as pd

    draw = random.Random(1)

    def text(lengths: tuple[int, int]) -> str:
        return " ".join(f"w{draw.randrange(4, settings.vocab_size)}" for _ in range(draw.randint(*lengths)))

    columns = {"prompt": settings.prompt_tokens, "output": settings.answer_tokens}
    return pd.DataFrame({name: [text(n) for _ in range(batches * settings.batch_size)] for name, n in columns.items()})


def make_trainer(settings: Settings, work: Path, data: Any, contestant: str, callbacks: list[Any]) -> tuple[Any, Any]:
    """The trainer and the preprocessed rows. Registering Affinage is for good, so stock Ludwig must come first."""
    from ludwig.api import LudwigModel

    if contestant == "affinage":
        from affinage.ludwig_ext import register

        register()
    config = {
        "model_type": "llm",
        "base_model": str(work / "model"),
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": "{prompt}"},
        "adapter": {"type": "lora"},
        "trainer": {"type": "finetune", "epochs": 1, "batch_size": settings.batch_size, "should_shuffle": False},
    }
    ludwig = LudwigModel(config, backend="local")
    splits = ludwig.preprocess(training_set=data, skip_save_processed_input=True)
    ludwig.training_set_metadata = splits.training_set_metadata
    ludwig.config_obj.trainer.update_batch_size_grad_accum(1)
    model = LudwigModel.create_model(ludwig.config_obj, random_seed=1)
    silent = dict.fromkeys(("skip_save_model", "skip_save_progress", "skip_save_log"), True)
    options = {"config": ludwig.config_obj.trainer, "callbacks": callbacks, "random_seed": 1}
    return ludwig.backend.create_trainer(model=model, **options, **silent), splits.training_set


def around_steps(before: Callable[[], None], after: Callable[[], None]) -> list[Any]:
    """Callbacks for a trainer that call `before` and `after` around every training step."""
    from ludwig.callbacks import Callback

    methods = {"on_batch_start": lambda *_, **__: before(), "on_batch_end": lambda *_, **__: after()}
    return [type("Around", (Callback,), methods)()]


def time_and_losses(settings: Settings, work: Path) -> tuple[list[dict[str, float]], dict[str, Any], dict[str, Any]]:
    """Seconds per step in pairs, the losses of one batch, and the sizes of rows and model."""
    data = make_rows(settings, settings.warmup + settings.pairs)
    stock, stock_rows = make_trainer(settings, work, data, "stock", [])
    stock_step = stock_steps(stock, stock_rows, settings.batch_size)
    marks: list[float] = []

    def stock_first() -> None:
        marks.append(time.perf_counter())
        next(stock_step)
        marks.append(time.perf_counter())

    callbacks = around_steps(stock_first, lambda: marks.append(time.perf_counter()))
    affinage, rows = make_trainer(settings, work, data, "affinage", callbacks)
    affinage.train(rows, save_path=str(work / "run"))
    pairs = [{"stock": b - a, "affinage": c - b} for a, b, c in zip(*(marks[i::3] for i in range(3)), strict=True)]
    tokens = [len(row.ids) for row in affinage.rows.rows]
    sizes = {name: affinage.summary()[name] for name in ("parameters", "trainable_parameters")}
    sizes["tokens_per_row"] = {"min": min(tokens), "mean": statistics.mean(tokens), "max": max(tokens)}
    return pairs[settings.warmup :], compare_losses(affinage, stock, stock_rows, data, work), sizes


def stock_steps(trainer: Any, rows: Any, batch_size: int) -> Iterator[None]:
    """Does what Ludwig's training loop does, but for logs and progress bar, and stops after every step."""
    trainer.dist_model.train()
    trainer.model.reset_metrics()
    with rows.initialize_batcher(batch_size, should_shuffle=False) as batcher:
        while not batcher.last_batch():
            loss, _, _ = trainer.train_step(*trainer._batch_to_tensors(batcher.next_batch()))
            trainer.scheduler.step()
            loss.item()
            yield


def compare_losses(affinage: Any, stock: Any, stock_rows: Any, data: Any, work: Path) -> dict[str, Any]:
    """Mean loss (nats) per answer token of one row and of the first batch, all with the weights Affinage trained."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from affinage.ludwig_ext import batches, checkpoints

    affinage.model.model.save_pretrained(work / "adapter")
    checkpoints.load_trainable_state(stock.model, checkpoints.trainable_state(affinage.model))
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(work / "model"), work / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(work / "model")

    def losses(n: int) -> dict[str, float]:
        batch = batches.collate(affinage.rows.rows[:n], affinage.model.special.pad)
        with stock_rows.initialize_batcher(n, should_shuffle=False) as batcher:
            matrices = stock._batch_to_tensors(batcher.next_batch())
        found = {"affinage": affinage.nll(batch).item() / batch.answer_tokens}
        found["stock"] = stock._forward_pass(*matrices, should_step=False)[1].item()
        return found | {"plain": plain_loss(plain, tokenizer, data.head(n))}

    for model in (affinage.dist_model, stock.dist_model, plain):
        model.eval()
    with torch.no_grad():
        row, batch = losses(1), losses(affinage.batch_size)
    equal = [abs(found[side] / found["plain"] - 1) < LOSS_TOLERANCE for found in (row, batch) for side in CONTESTANTS]
    # stock Ludwig attends padding, which one row has none of
    return {"row": row, "batch": batch, "as_expected": equal == [True, True, False, True]}


def plain_loss(model: Any, tokenizer: Any, data: Any) -> float:
    """Mean loss per answer token, EOS included, from the texts on and each row alone: nothing to pad or mask."""
    import torch

    total, n = 0.0, 0
    for prompt, answer in zip(data["prompt"], data["output"], strict=True):
        asked, given = tokenizer(prompt).input_ids, [*tokenizer(answer).input_ids, tokenizer.eos_token_id]
        labels = torch.tensor([[-100] * len(asked) + given])
        total += model(input_ids=torch.tensor([asked + given]), labels=labels).loss.item() * len(given)
        n += len(given)
    return total / n


def measure_memory(settings: Settings, work: Path, contestant: str) -> int:
    """Runs the contestant's own training loop; bytes by which resident memory rose above the loaded model."""
    prepare_process()
    resident, step_ends = list[int](), list[int]()

    def watch() -> None:
        while True:
            resident.append(psutil.Process().memory_info().rss)
            time.sleep(0.001)

    def before() -> None:
        if not resident:
            # weights read through a memory map are resident only once touched
            sum(parameter.sum().item() for parameter in trainer.model.parameters())
            resident.append(psutil.Process().memory_info().rss)
            threading.Thread(target=watch, daemon=True).start()

    with contextlib.redirect_stdout(sys.stderr):
        callbacks = around_steps(before, lambda: step_ends.append(len(resident)))
        trainer, rows = make_trainer(settings, work, make_rows(settings, settings.memory_steps), contestant, callbacks)
        trainer.train(rows, save_path=str(work / f"memory-{contestant}"))
    return max(resident[: step_ends[-1]]) - resident[0]


def show(result: dict[str, Any]) -> None:
    """Prints the measurements, the losses and, unless quick, the verdict."""
    table = Table("", "n", *CONTESTANTS, "ratio", "from", "to", "bar", "met", title="Medians; ratios are within pairs")
    for part, label, unit in (("time", "seconds", 1), ("memory", "MiB above model", 2**20)):
        found = result[part]
        cells = [f"{found[name]['median'] / unit:.3f}" for name in CONTESTANTS]
        cells += [f"{found['ratio'][edge]:.2f}" for edge in ("median", "min", "max")]
        met = "not judged" if result["quick"] else "yes" if found["met"] else "[red]no[/]"
        table.add_row(f"{label}, {found['ratio_of']}", str(found["n"]), *cells, str(found["bar"]), met)
    stdout.print(table)
    for part in ("row", "batch"):
        losses = result["losses"][part].items()
        stdout.print(f"Loss of one {part}: " + ", ".join(f"{name} {loss:.6f}" for name, loss in losses))
    stdout.print(f"The losses are {'' if result['losses']['as_expected'] else '[red]NOT[/] '}what they should be.")
    stdout.print(f"Other programs used {result['processor_use_before_percent']:.0f} % of the processor at the start.")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
