"""Model cards against hostile texts and private ones, with a Markdown parser; and what every card must hold."""

import getpass
import runpy
import shutil
import socket
from pathlib import Path

import yaml
from huggingface_hub import ModelCard

from affinage.publishing.card import pictures
from affinage.publishing.publication import Publication
from affinage.runs import find_run, write_jsonl

made = runpy.run_path(str(Path(__file__).with_name("carded_runs.py")))
finished, copied, card_of, metrics_of, section, tokens_of, questions, predictions, changed, evaluated, CONFIG = (
    made[name]
    for name in (
        "finished",
        "copied",
        "card_of",
        "metrics_of",
        "section",
        "tokens_of",
        "questions",
        "predictions",
        "changed",
        "evaluated",
        "CONFIG",
    )
)
HOSTILE = """</td>|<script>alert(1)</script>
```
# Titre
---
license: mit
| a | b |
[x](javascript:1) ![y](z) "\\" `c` {{ 7*7 }}"""
EMAIL, TOKEN = "jeanne" + "@" + "exemple.fr", "hf_" + "aB3" * 12


def test_hostile_texts_change_nothing_but_themselves(copied):
    beware = len(metrics_of(copied)["warnings"])
    shape = [(token.type, token.tag) for token in tokens_of(card_of(copied)) if token.type != "inline"]
    rows = [row | dict.fromkeys(("tuned", "reference", "prompt"), HOSTILE) for row in predictions(questions(45))]
    for row in rows:
        row["reference_bytes"] = len(HOSTILE.encode())
        row["label"] = HOSTILE if row["label"] == "passive" else row["label"]
    shutil.rmtree(copied / "evaluation")
    evaluated(copied, rows)
    metrics_of(copied, split=HOSTILE, warnings=[HOSTILE] * beware)
    (copied / "user_config.yaml").write_text(yaml.safe_dump(changed(CONFIG, prompt__template=HOSTILE + "{input}")))
    find_run(str(copied)).record(task=HOSTILE, make=f"make train SET={HOSTILE!r}")
    text = card_of(copied, licence="other", licence_name=HOSTILE, licence_link="javascript:alert(1)")
    found = tokens_of(text)
    inside = [child for token in found for child in token.children or []]
    assert not {token.type for token in (*found, *inside)} & {"html_block", "html_inline"}
    assert [(token.type, token.tag) for token in found if token.type != "inline"] == shape
    links = [child.attrGet("href") or child.attrGet("src") for child in inside if child.type in ("link_open", "image")]
    assert all(link == "loss.png" or link.startswith("https://") for link in links)
    assert ModelCard(text).data.license == "other" and "49" not in section(text, "Licence")
    assert HOSTILE in next(token.content for token in found if token.info == "text" and "<script>" in token.content)


def test_nothing_of_the_machine_is_on_the_card(copied):
    home = f"/home/{getpass.getuser()}/rows.csv"
    config = changed(CONFIG, base_model=str(copied / "llama"), trainer__note=f"{home} {EMAIL}", trainer__key=TOKEN)
    for name in ("config.yaml", "user_config.yaml"):
        (copied / name).write_text(yaml.safe_dump(config))
    rows = predictions(questions(45))
    for i, text in enumerate((EMAIL, TOKEN, home, "06 12 34 56 78")):
        rows[i]["prompt"] = rows[i]["tuned"] = text
    write_jsonl(copied / "evaluation" / "voix-passive" / "predictions.jsonl", rows)
    metrics_of(copied, warnings=[f"{home} is gone, ask {EMAIL}"])
    run = find_run(str(copied))
    training = run.manifest["training"] | {"notes": [f"read {copied}/x.csv with {TOKEN}"]}
    run.record(make=f"make train CONFIG={copied}/c.yaml DATASET={home}", training=training, error=f"in {home}")
    text = card_of(copied)
    for private in (str(copied), str(copied.parent), "/home/", EMAIL, TOKEN, "06 12 34", f"@{socket.gethostname()}"):
        assert private not in text
    assert "make train CONFIG=c.yaml DATASET=rows.csv" in text


def test_the_config_and_the_prompt_are_whole(copied):
    template = "Consigne :\n{instruction}\n\n\n\n{input}\n  → \n\n"
    config = changed(CONFIG, prompt__template=template)
    (copied / "user_config.yaml").write_text(yaml.safe_dump(config))
    (copied / "config.yaml").write_text(yaml.safe_dump(config))
    text = card_of(copied)
    blocks = {token.info: token.content for token in tokens_of(text) if token.type == "fence" and token.info == "yaml"}
    assert yaml.safe_load(blocks["yaml"]) == config | {"base_model": "affinage-tests/petit-llama"}
    shown = [token.content for token in tokens_of("---\n---\n" + section(text, "Prompt")) if token.type == "fence"]
    assert "It ends with 2 line breaks" in text and template in shown


def test_a_prompt_of_one_column_or_of_a_task_is_described(copied):
    (copied / "config.yaml").write_text(yaml.safe_dump(changed(CONFIG, prompt=None)))
    assert "The prompt is the text of the column `prompt` alone." in card_of(copied)
    (copied / "config.yaml").write_text(yaml.safe_dump(changed(CONFIG, prompt={"task": "Traduis."})))
    shutil.rmtree(copied / "evaluation")
    text = card_of(copied)
    assert "```text\nTraduis.\n```" in text and "a prompt with made-up columns" in text


def test_the_required_limits_and_the_picture_are_there(copied):
    limits = section(card_of(copied), "Limits")
    for words in (
        "Small tests",
        "One seed",
        "Languages",
        "no advice in medicine, law",
        "not those of a person",
        "biases",
    ):
        assert words in limits
    assert "](loss.png)" in card_of(copied) and pictures(Publication(find_run(str(copied)), "a/b", "c/d")).keys() == {
        "loss.png"
    }
    (copied / "plots" / "loss.png").unlink()
    assert "loss.png" not in card_of(copied) and pictures(Publication(find_run(str(copied)), "a/b", "c/d")) == {}
