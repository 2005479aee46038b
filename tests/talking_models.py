"""What answers in tests: a tiny model with an adapter that nobody trained, and a tiny run with its predictions."""

import json
from types import SimpleNamespace

import torch
import yaml
from ludwig.schema.model_types.base import ModelConfig
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from affinage import training
from affinage.answering import Answerer
from affinage.generation import generation_config

CONTEXT = 256
QUESTION = {"instruction": "copie", "input": "le chat mange"}


def answerer(folder, config, max_new_tokens=24):
    """Base and tuned model differ by random weights; `config` is a Ludwig config as a dict."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(folder)
    modules = ["c_attn"] if "gpt2" in folder else ["q_proj", "v_proj"]
    model = get_peft_model(model, LoraConfig(target_modules=modules, init_lora_weights=False))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.mul_(20)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = generation_config({"max_new_tokens": max_new_tokens, "do_sample": False}, tokenizer)
    llm = SimpleNamespace(model=model, tokenizer=tokenizer, context_len=CONTEXT, generation=settings)
    return Answerer(llm, ModelConfig.from_dict(config))


def train_run(folder, base_model, rows, template, **sections):
    """A run of a task "copie" in `folder`/results, trained on half of the rows; the others are its test split."""
    rows = rows.assign(split=[0] * (len(rows) // 2) + [2] * (len(rows) - len(rows) // 2))
    rows.to_json(folder / "rows.jsonl", orient="records", lines=True)
    config = {
        "model_type": "llm",
        "base_model": base_model,
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": template},
        "adapter": {"type": "lora", "dropout": 0.0},
        "preprocessing": {"split": {"type": "fixed", "column": "split"}},
        "generation": {"max_new_tokens": 24},
        "trainer": {"type": "finetune", "epochs": 3, "batch_size": 4, "learning_rate": 0.02},
        **sections,
    }
    path = folder / "copie" / "tiny.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    return training.train(training.plan(path, str(folder / "rows.jsonl")), folder / "results").run


def predictions(run):
    return [json.loads(line) for line in (run.folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
