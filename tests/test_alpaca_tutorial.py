"""The Ludwig tutorial on Alpaca: its page says what the commands print, and `ludwig://alpaca` can be trained on."""

import inspect
import json
import logging
import re

import pytest

from affinage.errors import AffinageError
from affinage.paths import CONFIGS
from affinage.recipe_pages import PAGES

PAGE = (PAGES / "alpaca.md").read_text(encoding="utf-8")
FRENCH = (PAGES / "alpaca.fr.md").read_text(encoding="utf-8")
TUTORIAL = "ludwig_configs/alpaca/tutorial.yaml"
TRANSLATED = "niveau_de_journalisation"


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL)


def problems(text, folder, monkeypatch):
    """What `make check` prints for a config of this text, saved under the name that the page gives it."""
    from affinage import training

    path = folder / TUTORIAL
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    with pytest.raises(AffinageError) as raised:
        training.plan(path)
    return "\n".join(f"error: {problem}" for problem in raised.value.problems)


def test_both_pages_show_the_same_config_and_the_same_messages():
    assert blocks(PAGE, "yaml") == blocks(FRENCH, "yaml") and len(blocks(PAGE, "yaml")) == 1
    assert blocks(PAGE, "text") == blocks(FRENCH, "text") and len(blocks(PAGE, "text")) == 3


def test_the_lost_indentation_is_told_as_the_page_says(tmp_path, monkeypatch):
    [broken], [lost, _, _] = blocks(PAGE, "yaml"), blocks(PAGE, "text")
    assert problems(broken, tmp_path, monkeypatch) == lost


def test_the_translated_argument_is_refused_as_the_page_says(tmp_path, monkeypatch):
    from ludwig.api import LudwigModel

    _, python, unknown = blocks(PAGE, "text")
    with pytest.raises(TypeError) as raised:
        LudwigModel(config={}, **{TRANSLATED: logging.INFO})
    assert f"TypeError: {raised.value}" == python
    assert "logging_level" in inspect.signature(LudwigModel).parameters
    shipped = (CONFIGS / "alpaca" / "mistral-7b-qlora.yaml").read_text(encoding="utf-8")
    assert problems(f"{shipped}{TRANSLATED}: INFO", tmp_path, monkeypatch) == unknown


@pytest.mark.slow
def test_ludwigs_own_alpaca_is_trained_on_from_its_cache(tmp_path, monkeypatch, tiny_model, sentences):
    from affinage import training

    raw = tmp_path / "alpaca_1.0" / "raw"
    raw.mkdir(parents=True)
    rows = sentences(100).to_dict("records")
    rows[3]["output"] = ""
    (raw / "alpaca_data.json").write_text(json.dumps(rows), encoding="utf-8")
    monkeypatch.setenv("LUDWIG_CACHE", str(tmp_path))
    overrides = f"base_model={tiny_model('gpt2', 'no_pad')} trainer.train_steps=1 generation.max_new_tokens=4"
    ready = training.plan(CONFIGS / "alpaca" / "gpt2-lora.yaml", "ludwig://alpaca", overrides)
    assert sum(map(len, ready.splits.values())) == 99 and sum(ready.dropped.values()) == 1
    assert {name: len(part) for name, part in ready.splits.items()}.keys() == {"train", "validation", "test"}
    outcome = training.train(ready, tmp_path / "results")
    assert outcome.run.manifest["data"]["dataset"] == "ludwig://alpaca"
    assert outcome.run.manifest["training"]["steps"] == 1
    assert outcome.scores["all"]["tuned"]["n"] == len(ready.splits["test"])
