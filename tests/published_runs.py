"""Runs with a real adapter on a tiny model, made without training, and their upload to a Hub on loopback."""

import json
import runpy
from pathlib import Path

import yaml

from affinage.data import sha256
from affinage.provenance import describe_base_model
from affinage.runs import find_run, write_json

made = runpy.run_path(str(Path(__file__).with_name("compared_runs.py")))
server = runpy.run_path(str(Path(__file__).with_name("hub_server.py")))
HubServer, TOKEN = server["HubServer"], server["TOKEN"]
COUNTED = {"trained_rows": 12, "skipped_rows": [], "cut_rows": 0, "cut_answer_tokens": 0, "answer_tokens_per_epoch": 60}
SIDE = {"exact_match": 0.5, "chrf": 60.0, "n": 12, "cut": 0}
SCORES = {"split": "test", "rows_in_split": 12, "scores": {"all": {"base": SIDE, "tuned": SIDE}}}
RUN, BASE, REPO = "20261120-100001", "user/tiny", "jeanne/tiny-copie"
ADDRESS = "jeanne.dupont@" + "example.org"


def make_run(folder, config, records=None, **lora):
    """A finished run in <folder>/results whose base model is the folder that the config names."""
    rows = [{"instruction": "copie", "input": f"le chat {i}", "output": f"LE CHAT {i}"} for i in range(12)]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    place = made["make_run"](
        folder / "results",
        run_id=RUN,
        config=config,
        records=records or made["questions"](0),
        base_model=describe_base_model(config["base_model"]),
        data={"dataset": str(data), "files": [{"name": data.name, "sha256": sha256(data)}], "rows": {"train": 12}},
        training=made["manifest"]("", RUN)["training"] | COUNTED,
        metrics=SCORES,
        command=["train.py", "--config", str(folder / "copie" / "tiny.yaml")],
    )
    (place / "model").mkdir()
    hyperparameters = config | {"author": ADDRESS, "backend": {"cache_dir": str(folder / "cache")}}
    write_json(place / "model" / "model_hyperparameters.json", hyperparameters)
    write_json(place / "training_statistics.json", {"training": {"loss": [2.0, 1.0]}, "from": str(place)})
    write_json(place / "metrics.json", SCORES)
    (place / "config.yaml").write_text(yaml.safe_dump(config | {"ludwig_version": "0.17.10"}), encoding="utf-8")
    save_adapter(place / "model" / "model_weights", config["base_model"], **lora)
    return find_run(str(place))


def save_adapter(folder, base, **lora):
    """A LoRA adapter with random weights, and the tokenizer beside it, as training leaves them."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(3)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"} | lora
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def add_base(hub, base):
    """The tiny base model under an id on the Hub."""
    return hub.add(BASE, {path.name: path.read_bytes() for path in Path(base).iterdir() if path.is_file()})


def options(run, *more):
    """What a person types after tools/upload.py for this run."""
    return ["--run", str(run.folder), "--repo", REPO, "--base", BASE, "--licence", "apache-2.0", *more]


def upload(*arguments):
    """tools/upload.py, in this process; raises what it would print as an error."""
    return runpy.run_path(str(Path(__file__).parents[1] / "tools" / "upload.py"))["main"](list(arguments))
