"""The contestants of the benchmark on a GPU: a 4-bit model with random weights made there, and steps on it."""

import gc
import json
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from affinage.benchmark_step import Settings as RowSettings
from affinage.benchmark_step import around_steps, make_rows, make_tokenizer, trl_settings
from affinage.console import quiet_libraries
from affinage.paths import ROOT

COMPUTE = "bfloat16"
WARMUP = 1


@dataclass(frozen=True)
class Case:
    """One measurement: rows in a batch, tokens of each with EOS, of which `answer_tokens` are learnt, and how often."""

    batch_size: int
    checkpointing: bool
    tokens: int = 512
    answer_tokens: int = 128
    steps: int = 5


def measure_cases(contestant: str, shape: dict[str, Any], cases: Sequence[Case], deadline: float, output: Path) -> None:
    """Writes one JSON line for each case as soon as it is known, so that a crash loses no more than its own.

    `shape` is what transformers' AutoConfig.for_model takes; `deadline` a value of time.time() after which no case
    starts. Runs in a process of its own.
    """
    quiet_libraries()
    import torch

    for case in cases:
        row: dict[str, Any] = {"contestant": contestant, **asdict(case)}
        if time.time() > deadline:
            row["refused"] = "no time left"
        else:
            try:
                row |= _measure(contestant, shape, case, output.parent)
            except torch.OutOfMemoryError:
                row["refused"] = "out of memory"
            except Exception as error:  # whatever fails on a machine we have not seen is a line of the result
                row |= {"refused": repr(error)[:500], "traceback": _traceback()}
        with output.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _traceback() -> str:
    """The last lines of it, without where on this machine the files lie."""
    return traceback.format_exc()[-3000:].replace(str(ROOT), "")


def _measure(contestant: str, shape: dict[str, Any], case: Case, work: Path) -> dict[str, Any]:
    """Seconds of each step after the warmup, the loss of the first, and the most bytes torch held meanwhile."""
    import torch

    marks: list[float] = []

    def mark() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            if not marks:  # what loading left over is not the step's
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
        marks.append(time.perf_counter())

    folder = work / "base"
    if not folder.exists():
        make_tokenizer(shape["vocab_size"], folder)
        _config(shape).save_pretrained(folder)
    started = time.perf_counter()
    loss = {"affinage": _affinage, "trl": _trl}[contestant](folder, case, mark)
    found: dict[str, Any] = {"loss": loss, "seconds": [b - a for a, b in zip(marks[::2], marks[1::2], strict=True)]}
    found["seconds"] = found["seconds"][WARMUP:]
    found["tokens_per_step"] = case.batch_size * case.tokens
    found["whole_seconds"] = time.perf_counter() - started
    if torch.cuda.is_available():
        found |= {"peak": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    return found


def _config(shape: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(**shape, bos_token_id=0, eos_token_id=1, pad_token_id=2)


def make_quantized(folder: Path) -> Any:
    """The model of a config.json in 4 bits with random weights, each made on the GPU (if there is one) and quantized
    there before the next; the same ones at every call.
    """
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit
    from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from transformers.quantizers.base import get_keys_to_not_convert

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config, compute = AutoConfig.from_pretrained(folder), getattr(torch, COMPUTE)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=compute)
    kind = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=compute, **kind)
    model = replace_with_bnb_linear(model, get_keys_to_not_convert(model), quantization)
    generator = torch.Generator(device).manual_seed(1)
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            made = torch.ones(weight.shape, dtype=compute, device=device)
            if weight.ndim > 1:
                made.normal_(0, 0.02, generator=generator)
            if isinstance(module, Linear4bit) and name == "weight":
                parameter: Any = Params4bit(
                    made, requires_grad=False, quant_type="nf4", compress_statistics=True, module=module
                )
                module.weight = parameter.to(device)  # which quantizes
            else:
                setattr(module, name, torch.nn.Parameter(made, requires_grad=False))
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config).to(device)
    model.is_loaded_in_4bit = True
    return model


def _rows(case: Case, vocab_size: int) -> Any:
    prompt, answer = case.tokens - case.answer_tokens, case.answer_tokens - 1
    settings = RowSettings(vocab_size, batch_size=case.batch_size)
    settings = RowSettings(**{**asdict(settings), "prompt_tokens": (prompt, prompt), "answer_tokens": (answer, answer)})
    return make_rows(settings, case.steps + WARMUP)


def _affinage(folder: Path, case: Case, mark: Callable[[], None]) -> float:
    """Affinage's own trainer on a config of it; only the loading of the base model is replaced."""
    from ludwig.api import LudwigModel

    from affinage.ludwig_ext import register

    register()
    trainer = {"type": "finetune", "epochs": 1, "batch_size": case.batch_size, "should_shuffle": False}
    trainer |= {"skip_all_evaluation": True, "enable_gradient_checkpointing": case.checkpointing}
    config = {
        "model_type": "llm",
        "base_model": str(folder),
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": "{prompt}"},
        "adapter": {"type": "lora", "dropout": 0.0},
        "quantization": {"bits": 4, "bnb_4bit_compute_dtype": COMPUTE},
        "trainer": trainer,
    }
    ludwig = LudwigModel(config, backend="local")
    rows = _rows(case, _vocabulary(folder))
    splits = ludwig.preprocess(training_set=rows, skip_save_processed_input=True)
    ludwig.training_set_metadata = splits.training_set_metadata
    ludwig.config_obj.trainer.update_batch_size_grad_accum(1)
    with patch("ludwig.models.llm.load_pretrained_from_config", lambda *_, **__: make_quantized(folder)):
        model = LudwigModel.create_model(ludwig.config_obj, random_seed=1)
    silent = dict.fromkeys(("skip_save_model", "skip_save_progress", "skip_save_log"), True)
    options = {"config": ludwig.config_obj.trainer, "callbacks": around_steps(mark, mark), "random_seed": 1}
    made = ludwig.backend.create_trainer(model=model, **options, **silent)
    made.train(splits.training_set, save_path=str(folder.parent / "model"))
    return made.progress.records[0]["loss"]


def _trl(folder: Path, case: Case, mark: Callable[[], None]) -> float:
    """TRL's SFTTrainer on the same rows, weights and LoRA, with Liger's kernels on a GPU."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, TrainerCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    tokenizer, cuda = AutoTokenizer.from_pretrained(folder), torch.cuda.is_available()
    columns: dict[str, list[list[int]]] = {"input_ids": [], "completion_mask": []}
    rows = _rows(case, _vocabulary(folder))
    for prompt, answer in zip(rows["prompt"], rows["output"], strict=True):
        asked, given = tokenizer(prompt).input_ids, [*tokenizer(answer).input_ids, tokenizer.eos_token_id]
        columns["input_ids"].append(asked + given)
        columns["completion_mask"].append([0] * len(asked) + [1] * len(given))
    set_seed(1)
    lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    config = SFTConfig(
        **trl_settings(folder.parent / "trl", case.batch_size),
        bf16=cuda,
        use_cpu=not cuda,
        use_liger_kernel=cuda,
        gradient_checkpointing=case.checkpointing,
    )
    steps = {"on_step_begin": lambda *_, **__: mark(), "on_step_end": lambda *_, **__: mark()}
    trainer = SFTTrainer(
        model=get_peft_model(make_quantized(folder), lora),
        args=config,
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer,
        callbacks=[type("AroundSteps", (TrainerCallback,), steps)()],
    )
    trainer.train()
    return next(log["loss"] for log in trainer.state.log_history if "loss" in log)


def _vocabulary(folder: Path) -> int:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
