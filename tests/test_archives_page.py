"""The Python of the archives page, taken out of it and run on what a tiny model learned with the shipped config."""

import re

import pandas as pd
import pytest
import yaml

from affinage.paths import CONFIGS
from affinage.recipe_pages import PAGES

CONFIG = CONFIGS / "archives-demo" / "llama-3.1-8b-qlora.yaml"
SETTINGS = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))


def snippet(page):
    [code] = re.findall(r"^```python\n(.*?)^```$", (PAGES / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return code


def test_both_pages_show_the_same_snippet_with_the_settings_of_the_config():
    code, four_bits = snippet("archives.md"), SETTINGS["quantization"]
    assert snippet("archives.fr.md") == code
    assert f'"{SETTINGS["base_model"]}"' in code
    assert f'bnb_4bit_quant_type="{four_bits["bnb_4bit_quant_type"]}"' in code
    assert f"bnb_4bit_compute_dtype=torch.{four_bits['bnb_4bit_compute_dtype']}" in code
    assert f"max_new_tokens={SETTINGS['generation']['max_new_tokens']}" in code


@pytest.mark.slow
def test_the_snippet_answers_what_the_run_answered(affinage, tiny_model, sentences, tmp_path, capsys):
    from affinage import training

    code, base = snippet("archives.md"), tiny_model("llama", "bos")
    rows = sentences(40)
    rows["split"] = [0] * 30 + [1] * 4 + [2] * 6
    question = re.search(r"### Question :\n(.*)\n", code)[1]
    asked = pd.DataFrame([{"instruction": question, "input": "", "output": "Oui.", "split": 2}])
    pd.concat([rows, asked]).to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    overrides = f"base_model={base} quantization.bnb_4bit_compute_dtype=float32 trainer.learning_rate=0.02"
    overrides += " trainer.train_steps=6 trainer.gradient_accumulation_steps=2 generation.max_new_tokens=12"
    outcome = training.train(training.plan(CONFIG, str(tmp_path / "rows.jsonl"), overrides), tmp_path / "results")
    [record] = [record for record in outcome.records if record["reference"] == "Oui."]
    local = code.replace(SETTINGS["base_model"], base)
    local = re.sub(r'"user/[\w.-]+"', repr(str(outcome.run.weights_folder)), local)
    local = local.replace("torch.bfloat16", "torch.float32").replace("max_new_tokens=384", "max_new_tokens=12")
    after = {}
    exec(compile(local, "snippet", "exec"), after)
    assert after["prompt"] == record["prompt"]
    assert after["answer"] == record["tuned"] != record["base"]
    assert after["answer"].strip() in capsys.readouterr().out
