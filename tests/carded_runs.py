"""Runs to be published and the parts of their cards, for the tests of model cards."""

import json
import re
import runpy
import shutil
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from affinage.data import sha256
from affinage.publishing.card import card_text
from affinage.publishing.publication import Publication
from affinage.runs import find_run

made = runpy.run_path(str(Path(__file__).with_name("compared_runs.py")))
make_run, questions, predictions, changed, evaluated = (
    made[name] for name in ("make_run", "questions", "predictions", "changed", "evaluated")
)
CONFIG = made["CONFIG"] | {"output_features": [{"name": "output", "type": "text"}]}
LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["v_proj", "q_proj"], "bias": "none"}
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A LoRA run with an evaluation of 45 rows and its rows beside it; tests work on copies."""
    place = tmp_path_factory.mktemp("card")
    rows = place / "données"
    rows.mkdir()
    (rows / "train.jsonl").write_text('{"instruction": "a", "output": "b"}\n', encoding="utf-8")
    data = {
        "dataset": str(rows),
        "files": [{"name": "train.jsonl", "sha256": sha256(rows / "train.jsonl")}],
        "rows": {"train": 4000, "test": 45},
    }
    folder = make_run(place, records=predictions(questions(45)), config=CONFIG, data=data)
    weights(folder, LORA)
    (folder / "plots").mkdir()
    (folder / "plots" / "loss.png").write_bytes(b"\x89PNG")
    return folder


def weights(folder, adapter):
    path = folder / "model" / "model_weights" / "adapter_config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(adapter), encoding="utf-8")


@pytest.fixture
def copied(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / finished.name))


def card_of(folder, kind="adapter", **given):
    options = {"licence": "apache-2.0"} | given
    return card_text(
        Publication(find_run(str(folder)), "ann/tiny-copie", "affinage-tests/petit-llama", kind=kind, **options)
    )


def metrics_of(folder, **changes):
    path = folder / "evaluation" / "voix-passive" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    if changes:
        path.write_text(json.dumps(metrics | changes), encoding="utf-8")
    return metrics | changes


def table(text, heading):
    """The cells of the table whose first column has that heading: {first cell: the others}."""
    lines = text.split(f"\n| {heading} |", 1)[1].split("\n\n")[0].splitlines()[2:]
    cells = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    return {first: others for first, *others in cells}


def section(text, heading):
    return re.split(rf"^## {heading}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]


def tokens_of(text):
    return MARKDOWN.parse(text.split("---\n", 2)[2])
