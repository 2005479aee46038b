"""Measures what training steps allocate, case by case, for comparison with what the estimate says.

.venv/bin/python benchmarks/memory.py [--quick] [--only WORD] [--output FILE]
"""

import argparse
import json
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.table import Table

from affinage.benchmarking import surroundings
from affinage.console import quiet_libraries, run_script, stderr, stdout
from affinage.paths import ROOT, display
from affinage.runs import write_json

OUTPUT = ROOT / "benchmarks" / "memory.json"
STEPS = 3
ERROR_AT_MOST = 0.15
SPECIALS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}

LORA = {"type": "lora", "r": 8, "dropout": 0.0}
EVERY = {"type": "lora", "r": 16, "dropout": 0.05, "target_modules": ["all-linear"]}
CHECKPOINTING = {"enable_gradient_checkpointing": True}
MIXED = {"use_mixed_precision": True}
ADAMW = {"optimizer": {"type": "adamw"}}


def llama(hidden: int, layers: int, vocabulary: int, **more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": hidden, "intermediate_size": hidden * 11 // 4 // 32 * 32, "num_hidden_layers": layers}
    heads = {"num_attention_heads": hidden // 64, "num_key_value_heads": max(1, hidden // 128)}
    return {"model_type": "llama", "vocab_size": vocabulary, **sizes, **heads, **SPECIALS, **more}


def gpt2(hidden: int, layers: int, vocabulary: int) -> dict[str, Any]:
    sizes = {"n_embd": hidden, "n_layer": layers, "n_head": hidden // 64, "n_positions": 1024}
    return {"model_type": "gpt2", "vocab_size": vocabulary, **sizes, **SPECIALS}


def bits(n: int, compute: str = "float32", nested: bool = True) -> dict[str, Any]:
    return {"bits": n, "bnb_4bit_compute_dtype": compute, "bnb_4bit_use_double_quant": nested}


def case(model: dict[str, Any], batch: int, prompt: int, answer: int, **settings: Any) -> dict[str, Any]:
    """One measurement; lengths in tokens, the answer's without EOS; `settings` are adapter, quantization, trainer."""
    return {"model": model, "batch": batch, "prompt": prompt, "answer": answer, **settings}


TINY, SMALL, MIDDLE, LARGE = (
    llama(128, 4, 320),
    llama(256, 6, 8_000),
    llama(512, 8, 32_000),
    llama(768, 12, 32_000),
)
GPT2_SMALL, GPT2 = gpt2(256, 6, 8_000), gpt2(768, 12, 32_000)

CASES = {
    "tiny llama, LoRA, batch 1": case(TINY, 1, 40, 20, adapter=LORA),
    "tiny llama, LoRA, batch 64": case(TINY, 64, 40, 20, adapter=LORA),
    "tiny llama, full, batch 32": case(TINY, 32, 40, 20, trainer=ADAMW),
    "tiny llama, LoRA, batch 2, length 1,024": case(TINY, 2, 900, 123, adapter=LORA),
    "small llama, LoRA, batch 8": case(SMALL, 8, 110, 60, adapter=LORA),
    "small llama, LoRA everywhere, batch 8": case(SMALL, 8, 110, 60, adapter=EVERY),
    "small llama, full, Adagrad, batch 4": case(SMALL, 4, 110, 60, trainer={"optimizer": {"type": "adagrad"}}),
    "small llama, full, momentum, batch 4": case(
        SMALL, 4, 110, 60, trainer={"optimizer": {"type": "sgd", "momentum": 0.9}}
    ),
    "small llama, full, RMSprop, batch 1": case(SMALL, 1, 50, 10, trainer={"optimizer": {"type": "rmsprop"}}),
    "small llama, 4 bits, LoRA, batch 8": case(SMALL, 8, 110, 60, adapter=LORA, quantization=bits(4)),
    "small llama, LoRA, checkpointing, batch 16": case(SMALL, 16, 110, 60, adapter=LORA, trainer=CHECKPOINTING),
    "small llama, LoRA, packing, batch 8": case(SMALL, 8, 110, 60, adapter=LORA, trainer={"packing": True}),
    "small llama, LoRA, evaluation with batches of 64": case(
        SMALL, 1, 60, 60, adapter=LORA, trainer={"eval_batch_size": 64}, evaluated=64
    ),
    "middle llama, LoRA, batch 1": case(MIDDLE, 1, 110, 60, adapter=LORA),
    "middle llama, LoRA, batch 8": case(MIDDLE, 8, 110, 60, adapter=LORA),
    "middle llama, LoRA, batch 2, length 512": case(MIDDLE, 2, 412, 99, adapter=LORA),
    "middle llama, LoRA, logits in chunks, batch 16": case(MIDDLE, 16, 20, 120, adapter=LORA),
    "middle llama, LoRA everywhere, batch 4": case(MIDDLE, 4, 110, 60, adapter=EVERY),
    "middle llama, LoRA, mixed precision, batch 8": case(MIDDLE, 8, 110, 60, adapter=LORA, trainer=MIXED),
    "middle llama, LoRA, checkpointing, batch 8": case(MIDDLE, 8, 110, 60, adapter=LORA, trainer=CHECKPOINTING),
    "middle llama, 4 bits, batch 8": case(MIDDLE, 8, 110, 60, adapter=LORA, quantization=bits(4)),
    "middle llama, 4 bits, bfloat16, batch 4": case(
        MIDDLE, 4, 110, 60, adapter=LORA, quantization=bits(4, "bfloat16", nested=False)
    ),
    "middle llama, 4 bits, bfloat16, everywhere, checkpointing, batch 8": case(
        MIDDLE, 8, 110, 60, adapter=EVERY, quantization=bits(4, "bfloat16"), trainer=CHECKPOINTING
    ),
    "middle llama, 8 bits, batch 4": case(MIDDLE, 4, 110, 60, adapter=LORA, quantization=bits(8)),
    "middle llama, full, batch 4": case(MIDDLE, 4, 110, 60, trainer=ADAMW),
    "middle llama, full, batch 1": case(MIDDLE, 1, 40, 20, trainer=ADAMW),
    "middle llama, full, SGD, batch 2": case(MIDDLE, 2, 110, 60, trainer={"optimizer": {"type": "sgd"}}),
    "middle llama, full, 2 batches of 2 a step": case(
        MIDDLE, 2, 110, 60, trainer={**ADAMW, "gradient_accumulation_steps": 2}
    ),
    "middle llama, full, checkpointing, batch 4": case(MIDDLE, 4, 110, 60, trainer={**ADAMW, **CHECKPOINTING}),
    "large llama, LoRA, batch 2": case(LARGE, 2, 110, 60, adapter=LORA),
    "large llama, 4 bits, LoRA everywhere, batch 2": case(LARGE, 2, 110, 60, adapter=EVERY, quantization=bits(4)),
    "small GPT-2, LoRA, batch 8": case(GPT2_SMALL, 8, 110, 60, adapter=LORA),
    "small GPT-2, full, batch 8": case(GPT2_SMALL, 8, 110, 60, trainer=ADAMW),
    "small GPT-2, LoRA, checkpointing, batch 16": case(GPT2_SMALL, 16, 110, 60, adapter=LORA, trainer=CHECKPOINTING),
    "small GPT-2, 4 bits, bfloat16, batch 8": case(
        GPT2_SMALL, 8, 110, 60, adapter=LORA, quantization=bits(4, "bfloat16")
    ),
    "small GPT-2, LoRA, mixed precision, batch 8": case(GPT2_SMALL, 8, 110, 60, adapter=LORA, trainer=MIXED),
    "GPT-2, LoRA, batch 2": case(GPT2, 2, 110, 60, adapter=LORA),
    "GPT-2, full, SGD, batch 1": case(GPT2, 1, 110, 60, trainer={"optimizer": {"type": "sgd"}}),
}
QUICK = {"tiny llama, LoRA, batch 1": CASES["tiny llama, LoRA, batch 1"]}


def main(argv: list[str] | None = None) -> int:
    """Measures, writes the JSON and prints each case beside the estimate; 1 when one is too far off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"JSON file (default: {display(OUTPUT)}; none with --quick)")
    parser.add_argument("--only", default="", help="only the cases with this word in their name; the others stay")
    parser.add_argument("--quick", action="store_true", help="the smallest case alone: shows that the script runs")
    arguments = parser.parse_args(argv)
    chosen = QUICK if arguments.quick else {name: c for name, c in CASES.items() if arguments.only in name}
    output = arguments.output or (None if arguments.quick else OUTPUT)
    before = json.loads(output.read_text(encoding="utf-8"))["cases"] if arguments.only and output else {}
    found: dict[str, dict[str, Any]] = {}
    for name, one in chosen.items():
        # a fresh process each time, so that no memory is left over from the case before
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found[name] = {"model": one["model"], **pool.submit(measure_case, one).result()}
        stderr.print(f"{name}: {found[name]['peak'] / 2**20:,.0f} MiB")
        if output:
            cases = {name: {**before, **found}[name] for name in CASES if name in before or name in found}
            write_json(output, {"cases": cases, "steps": STEPS, "environment": surroundings()})
    return show(found, output)


def measure_case(one: dict[str, Any]) -> dict[str, Any]:
    """What the case is and the bytes of its steps and of their estimate; runs in a process of its own."""
    quiet_libraries()
    os.environ |= {"HF_HUB_OFFLINE": "1"}
    from affinage.footprint.measure import measure
    from affinage.footprint.needs import Footprint
    from affinage.footprint.step import Batch
    from affinage.ludwig_ext import register
    from affinage.training import resolve

    register()
    with tempfile.TemporaryDirectory() as folder:
        make_model(one["model"], Path(folder))
        config = ludwig_config(one, folder)
        rows = make_rows(one, (STEPS + 1) * one["batch"] * config["trainer"].get("gradient_accumulation_steps", 1))
        validation = make_rows(one, one["evaluated"]) if "evaluated" in one else None
        found = measure(config, rows, STEPS, validation)
        batch = Batch(one["batch"], one["prompt"] + one["answer"] + 1, one["answer"] + 1)
        estimate = Footprint(resolve(config, "this case"), "cpu").items(batch)
    measured = {"peak": found.peak, "held": found.held, "resident": found.resident, "estimate": sum(estimate.values())}
    return {"config": {**config, "base_model": ""}, "batch": asdict(batch), **measured}


def ludwig_config(one: dict[str, Any], base_model: str) -> dict[str, Any]:
    """The case as a Ludwig config on the model in a folder, of which its config.json is enough to estimate."""
    trainer: dict[str, Any] = {
        "type": "finetune",
        "batch_size": one["batch"],
        "should_shuffle": False,
        "learning_rate": 1e-4,
    }
    trainer |= {"skip_all_evaluation": "evaluated" not in one, "steps_per_checkpoint": 1, "eval_batch_size": 1}
    sections: dict[str, Any] = {name: one[name] for name in ("adapter", "quantization") if name in one}
    return {
        "model_type": "llm",
        "base_model": base_model,
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": "{prompt}"},
        "generation": {"max_new_tokens": 8},
        **sections,
        "trainer": {**trainer, **one.get("trainer", {})},
    }


def make_model(shape: dict[str, Any], folder: Path) -> None:
    """A model with random weights, and a tokenizer whose words are w4, w5, ... between spaces."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = ["<s>", "</s>", "<pad>", "<unk>", *(f"w{i}" for i in range(4, shape["vocab_size"]))]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
    config = transformers.AutoConfig.for_model(**shape)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def make_rows(one: dict[str, Any], n: int) -> Any:
    """Rows of one length, but for one in each batch that is a word shorter, so that there is something to pad."""
    import pandas as pd

    lengths = [one["prompt"] - (i % one["batch"] == 1) for i in range(n)]
    prompts = [" ".join(f"w{4 + (i + j) % 300}" for j in range(length)) for i, length in enumerate(lengths)]
    answers = [" ".join(f"w{4 + (i * j) % 300}" for j in range(one["answer"])) for i in range(n)]
    return pd.DataFrame({"prompt": prompts, "output": answers})


def show(found: dict[str, dict[str, Any]], output: Path | None) -> int:
    """Prints the cases; 1 when an estimate is further off than it may be."""
    table = Table("case", "allocated", "estimate", "error", "process", title="MiB")
    errors = []
    for name, one in found.items():
        errors.append(one["estimate"] / one["peak"] - 1)
        resident = f"{one['resident'] / 2**20:,.1f}" if one["resident"] is not None else ""
        sizes = [f"{one[key] / 2**20:,.1f}" for key in ("peak", "estimate")]
        table.add_row(name, *sizes, f"{errors[-1]:+.1%}", resident)
    stdout.print(table)
    worst = max(map(abs, errors))
    stdout.print(f"The estimate is off by {worst:.1%} at most (n = {len(errors)}; allowed: {ERROR_AT_MOST:.0%}).")
    if output:
        stdout.print(display(output))
    return int(worst > ERROR_AT_MOST)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
