"""Runs trained on tiny models, and adapters made by hand, for the tests of the export."""

import copy
import json
from pathlib import Path

import pytest
import torch
import yaml

TEMPLATE = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
TRAINER = {"type": "finetune", "epochs": 6, "batch_size": 4, "eval_batch_size": 8, "learning_rate": 0.01}
NF4 = {"bits": 4, "bnb_4bit_compute_dtype": "float32"}


def trained_run(folder, base_model, rows, **sections):
    """A run of the task "copie" with 24 training rows and 20 test rows, in folder/results."""
    from affinage import training

    rows = rows.assign(split=[0] * 24 + [1] * 4 + [2] * (len(rows) - 28))
    data = folder / "copie.jsonl"
    rows.to_json(data, orient="records", lines=True, force_ascii=False)
    config = {
        "model_type": "llm",
        "base_model": str(base_model),
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": TEMPLATE},
        "preprocessing": {"split": {"type": "fixed", "column": "split"}},
        "adapter": {"type": "lora", "r": 4, "dropout": 0.0, "target_modules": ["all-linear"]},
        "generation": {"max_new_tokens": 24},
        "trainer": TRAINER,
        **sections,
    }
    path = folder / "ludwig_configs" / "copie" / "tiny.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
    return training.train(training.plan(path, str(data)), folder / "results").run


def adapter_folder(model, folder, config, before=lambda model: None, seed=3):
    """Puts an adapter with random weights on a model and saves it; gives the PEFT model itself."""
    from peft import get_peft_model

    before(model)
    torch.manual_seed(seed)
    tuned = get_peft_model(model, copy.deepcopy(config))
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    tuned.save_pretrained(folder)
    return tuned.eval()


def load(folder):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def greedy(model, prompts, tokenizer, new_tokens=24):
    """Greedy answers as text, by transformers, one prompt (ids) at a time: nothing is padded."""
    answers = []
    for ids in prompts:
        done = model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=new_tokens,
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
        answers.append(tokenizer.decode(done[0, len(ids) :], skip_special_tokens=True))
    return answers


def prompts_of(run):
    """The prompts of the test rows, as the run's own answering stored them."""
    lines = (run.folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["prompt"] for line in lines]


def llama_or_skip():
    """llama.cpp, or a skipped test where `make llama-cpp` has not been run."""
    from affinage.errors import AffinageError
    from affinage.export import llama_cpp

    try:
        return llama_cpp.find()
    except AffinageError as error:
        pytest.skip(str(error))


def script(name):
    """The main function of a script in tools/."""
    import runpy

    return runpy.run_path(str(Path(__file__).parents[1] / "tools" / f"{name}.py"))["main"]
