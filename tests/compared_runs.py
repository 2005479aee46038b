"""Run folders as training and evaluation leave them, with made-up answers, for the tests of the comparison."""

import json
import random

import yaml

from affinage.runs import write_json, write_jsonl
from affinage.scoring import Origin, load_suite, read_predictions, score

SUBJECTS = "Le chat|La voisine|Un élève|Notre sœur|L'été|Le bœuf|Ma tante|Ce garçon".split("|")
VERBS = "mange|regarde|achève|reçoit|dessine|préfère|jette|cueille".split("|")
OBJECTS = "la pomme|un cœur|le château|son goûter|cette forêt|l'œuvre|des noëls|le maïs".split("|")
INSTRUCTION = "Mets la phrase à la forme négative."
CONFIG = {
    "model_type": "llm",
    "base_model": "models/petit-llama",
    "input_features": [{"name": "prompt", "type": "text", "proc_column": "prompt_x1"}],
    "prompt": {"template": "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"},
    "adapter": {"type": "lora", "r": 4, "alpha": 8},
    "quantization": None,
    "generation": {"max_new_tokens": 64, "do_sample": False},
    "trainer": {"learning_rate": 0.002, "epochs": 2, "batch_size": 16},
}
ENVIRONMENT = {
    "affinage": "0.1.0",
    "git": {"commit": "c" * 40, "dirty": False},
    "python": "3.12.1",
    "platform": "Linux",
    "packages": {"torch": "2.11.0", "ludwig": "0.17.10"},
    "cpu": "A processor",
    "cpu_cores": 2,
    "devices": [{"type": "cpu"}],
    "lock_sha256": "d" * 64,
}


def questions(n, seed=0):
    """`n` rows with a question, its reference and one of two labels."""
    draw, rows = random.Random(seed), []
    for i in range(n):
        subject, verb, what = draw.choice(SUBJECTS), draw.choice(VERBS), draw.choice(OBJECTS)
        rows.append(
            {
                "id": f"r-{i}",
                "label": "negation" if i % 2 else "passive",
                "instruction": INSTRUCTION,
                "input": f"{subject} {verb} {what}.",
                "prompt": f"### Instruction:\n{INSTRUCTION}\n\n### Input:\n{subject} {verb} {what}.\n\n### Response:\n",
                "reference": f"{subject} ne {verb} pas {what}.",
            }
        )
    return rows


def predictions(rows, skill=0.8, seed=0):
    """What make evaluate writes: the base repeats the input, the tuned model is right as often as `skill`."""
    draw, records = random.Random(seed), []
    for row in rows:
        right = draw.random() < skill
        base = f"{row['input']} {row['input'].upper()} Et puis ?"
        tuned = row["reference"] if right else row["reference"].replace(" pas ", " ").replace(".", " !")
        record = {**row, "reference_tokens": 12, "reference_bytes": len(row["reference"].encode())}
        for system, text, nll in (("base", base, 30.0), ("tuned", tuned, 2.0 if right else 9.0)):
            record |= {system: text, f"{system}_tokens": len(text) // 4, f"{system}_stop": "end"}
            record |= {f"{system}_flags": [], f"{system}_nll": nll + draw.random()}
        records.append(record)
    return records


def history(steps=40, floor=0.05):
    """One record per step and one per tenth step's evaluation."""
    records = []
    for step in range(1, steps + 1):
        loss = floor + 2 / step
        records.append({"step": step, "loss": loss, "lr": 0.001, "tokens": 900})
        if step % 10 == 0:
            records.append({"step": step, "epoch": 0, "train_loss": loss, "validation_loss": loss * 1.1})
    return records


def changed(config, **overrides):
    """A copy of the config with dotted keys set, such as trainer__epochs=3 for trainer.epochs."""
    copy = json.loads(json.dumps(config))
    for key, value in overrides.items():
        *parents, last = key.split("__")
        section = copy
        for parent in parents:
            section = section[parent]
        section[last] = value
    return copy


def manifest(name, run_id, **entries):
    """run.json of a finished run."""
    return {
        "version": 1,
        "task": "voix-passive",
        "config": name,
        "run_id": run_id,
        "started": f"2026-11-20T10:00:{run_id[-2:]}+00:00",
        "command": ["train.py"],
        "status": "finished",
        "make": f"make train CONFIG=ludwig_configs/voix-passive/{name}.yaml",
        "data": {"dataset": "", "files": [{"name": "rows.jsonl", "sha256": "a" * 64}], "rows": {"test": 40}},
        "base_model": {"id": "models/petit-llama", "files": {"model.safetensors": "b" * 64}},
        "seed": 42,
        "environment": ENVIRONMENT,
        "training": {
            "steps": 40,
            "planned_steps": 40,
            "effective_batch_size": 16,
            "tokens": 36_000,
            "trainable_parameters": 61_440,
            "parameters": 1_968_192,
            "best_step": 40,
            "seconds": 90.0,
            "peak_memory": {"resident": 1_300_000_000},
            "evaluations": [{"step": 40, "train_loss": 0.1, "validation_loss": 0.11}],
        },
        **entries,
    }


def make_run(results, name="petit-llama-lora", run_id="20261120-100001", records=None, config=CONFIG, **entries):
    """A run folder with an evaluation of `records` under the suite of its task; no evaluation without records."""
    folder = results / "voix-passive" / name / run_id
    folder.mkdir(parents=True)
    write_json(folder / "run.json", manifest(name, run_id, **entries))
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "user_config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    write_jsonl(folder / "history.jsonl", history())
    if records:
        evaluated(folder, records)
    return folder


def evaluated(folder, records, suite="voix-passive", **settings):
    """Adds evaluation/<suite>/ with predictions, what was asked, and the scores that make evaluate gives them."""
    where = folder / "evaluation" / suite
    where.mkdir(parents=True)
    write_jsonl(where / "predictions.jsonl", records)
    asked = {"version": 1, "split": "test", "rows_in_split": len(records), "generation": {"max_new_tokens": 64}}
    asked |= settings
    write_json(where / "generation.json", asked)
    origin = Origin(asked["split"], asked["rows_in_split"], "a" * 64)
    write_json(where / "metrics.json", score(read_predictions(where / "predictions.jsonl"), load_suite(suite), origin))
    return where
