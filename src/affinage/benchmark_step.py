"""What the benchmarks of a training step share: a random Llama and rows for it, trainers, and a watch on memory."""

import contextlib
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from affinage.console import quiet_libraries

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


def prepare_process() -> None:
    """Keeps libraries quiet, off the network and on the processor."""
    quiet_libraries()
    os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def make_tokenizer(vocab_size: int, folder: Path) -> None:
    """A tokenizer whose words are w4, w5, ... between spaces, after <s>, </s>, <pad> and <unk>."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = ["<s>", "</s>", "<pad>", "<unk>", *(f"w{i}" for i in range(4, vocab_size))]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)


def make_model(settings: Settings, work: Path) -> None:
    """A Llama with random weights, and its tokenizer."""
    import transformers

    make_tokenizer(settings.vocab_size, work / "model")
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


def ludwig_config(work: Path, adapter: dict[str, Any] | None = None, **trainer: Any) -> dict[str, Any]:
    """A config for the model of `make_model` and the rows of `make_rows`: one epoch of LoRA as Ludwig has it.

    `adapter` are settings of LoRA that differ from Ludwig's, and the others those of its trainer.
    """
    return {
        "model_type": "llm",
        "base_model": str(work / "model"),
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": "{prompt}"},
        "adapter": {"type": "lora", **(adapter or {})},
        "trainer": {"type": "finetune", "epochs": 1, **trainer},
    }


def trl_settings(folder: Path, batch_size: int) -> dict[str, Any]:
    """What makes TRL's SFTTrainer do the work of Affinage's: rows in order, answers alone learnt, nothing saved."""
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": batch_size,
        "num_train_epochs": 1,
        "learning_rate": 0.001,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.5,
        "completion_only_loss": True,
        "train_sampling_strategy": "sequential",
        "shuffle_dataset": False,
        "max_length": None,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def make_trainer(settings: Settings, work: Path, data: Any, contestant: str, callbacks: list[Any]) -> tuple[Any, Any]:
    """The trainer and the preprocessed rows. Registering Affinage is for good, so stock Ludwig must come first."""
    from ludwig.api import LudwigModel

    if contestant == "affinage":
        from affinage.ludwig_ext import register

        register()
    config = ludwig_config(work, batch_size=settings.batch_size, should_shuffle=False)
    ludwig = LudwigModel(config, backend="local")
    splits = ludwig.preprocess(training_set=data, skip_save_processed_input=True)
    ludwig.training_set_metadata = splits.training_set_metadata
    ludwig.config_obj.trainer.update_batch_size_grad_accum(1)
    model = LudwigModel.create_model(ludwig.config_obj, random_seed=1)
    silent = dict.fromkeys(("skip_save_model", "skip_save_progress", "skip_save_log"), True)
    options = {"config": ludwig.config_obj.trainer, "callbacks": callbacks, "random_seed": 1}
    return ludwig.backend.create_trainer(model=model, **options, **silent), splits.training_set


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


def around_steps(before: Callable[[], None], after: Callable[[], None]) -> list[Any]:
    """Callbacks for a trainer that call `before` and `after` around every training step."""
    from ludwig.callbacks import Callback

    methods = {"on_batch_start": lambda *_, **__: before(), "on_batch_end": lambda *_, **__: after()}
    return [type("Around", (Callback,), methods)()]


def measure_memory(settings: Settings, work: Path, contestant: str) -> int:
    """Runs the contestant's own training loop; bytes by which resident memory rose above the loaded model."""
    prepare_process()
    resident, step_ends = list[int](), list[int]()

    def before() -> None:
        if not resident:
            watch_memory(trainer.model, resident)

    with contextlib.redirect_stdout(sys.stderr):
        callbacks = around_steps(before, lambda: step_ends.append(len(resident)))
        trainer, rows = make_trainer(settings, work, make_rows(settings, settings.memory_steps), contestant, callbacks)
        trainer.train(rows, save_path=str(work / f"memory-{contestant}"))
    return max(resident[: step_ends[-1]]) - resident[0]


def watch_memory(model: Any, resident: list[int]) -> None:
    """Appends the process's resident bytes: now, with every weight read once, and then every millisecond."""
    # weights read through a memory map are resident only once touched
    sum(parameter.sum().item() for parameter in model.parameters())
    resident.append(psutil.Process().memory_info().rss)

    def watch() -> None:
        while True:
            resident.append(psutil.Process().memory_info().rss)
            time.sleep(0.001)

    threading.Thread(target=watch, daemon=True).start()
