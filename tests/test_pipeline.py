"""Recipes that start from rows: splits that are given, personal data, balance, and what is left of it all."""

import json
import re
import runpy
from pathlib import Path

import pytest
import yaml

from affinage.curation.steps.pipeline import Places, curate, run_sample
from affinage.curation.steps.recipe_file import read_recipe
from affinage.errors import AffinageError
from affinage.ollama_chat import Chat

OllamaServer = runpy.run_path(str(Path(__file__).with_name("ollama_server.py")))["OllamaServer"]
LABEL = {"step": "label", "labels": ["pair", "impair"], "prompt": "{instruction}"}
# Six in ten thousand SHA-256 hashes hold what passes for a card number; this is that of "2578".
DIGEST = "b1ac3a14adbfd6d9c4c4641a18c04de2b5370726980041058edfa926a49a9fb5"


def parity(messages, schema):
    number = int(messages[-1]["content"].split()[1])
    if "label" in schema["properties"]:
        return {"label": "impair" if number % 2 else "pair"}
    return {"instruction": f"Pour mon cousin, je voudrais savoir ceci à propos du numéro {number} : est-il pair ?"}


@pytest.fixture
def server():
    with OllamaServer(parity) as server:
        server.models["llama3.1:8b"] = DIGEST
        yield server


@pytest.fixture
def run(tmp_path, server):
    """Writes rows and a recipe, runs it and gives the result; `sample` tries that many instead."""

    def made(rows, steps, sample=0, replace=False, **others):
        folder = tmp_path / "numbers"
        folder.mkdir(exist_ok=True)
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        recipe = {"source": "rows.jsonl", "model": "llama3.1:8b", "steps": steps, **others}
        (folder / "curate.yaml").write_text(yaml.safe_dump(recipe))
        file = read_recipe(folder / "curate.yaml")
        places = Places(folder / "curated", tmp_path / "unparsed.jsonl", tmp_path / "review.csv")
        with Chat(server.url, "llama3.1:8b", file.recipe.options) as chat:
            chat.preflight()
            return run_sample(file, chat, places, sample) if sample else curate(file, chat, places, replace)

    return made


def rows_of(tmp_path, split):
    path = tmp_path / "numbers" / "curated" / f"{split}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def numbers(n, **columns):
    """Rows that are not alike, so that none is a leak."""
    rows = [{"instruction": f"Numéro {i} : pair ? " + chr(97 + i % 26) * (i + 5), "output": f"{i}"} for i in range(n)]
    return [row | {name: value(i) for name, value in columns.items()} for i, row in enumerate(rows)]


def test_rows_of_any_format_get_labels_and_keep_their_columns(run, tmp_path):
    made = run(numbers(40, lang=lambda i: "fr"), [LABEL, {"step": "filter", "keep": 'label == "pair"'}])
    rows = [row for split in ("train", "validation", "test") for row in rows_of(tmp_path, split)]
    assert len(rows) == 20 and {(row["label"], row["lang"], row["synthetic"]) for row in rows} == {
        ("pair", "fr", False)
    }
    assert {row["parent_id"] for row in rows} == {""} and all(row["source"].startswith("rows.jsonl#") for row in rows)
    assert made.manifest["source"]["format"] == "alpaca" and made.unparsed == {}


def test_personal_data_is_masked_and_hashes_are_left_alone(run, tmp_path):
    # fault: a hash that holds a card number is masked like one
    rows = numbers(30)
    rows[3]["output"] = "Écrivez à jeanne@example.org ou appelez le 01 99 00 12 34."
    run(rows, [LABEL], personal_data="mask", split={"ratios": "1/0/0"})
    train = rows_of(tmp_path, "train")
    assert train[3]["output"].startswith("Écrivez à <EMAIL_1>") and "01 99" not in train[3]["output"]
    assert {row["label_digest"] for row in train} == {DIGEST}
    manifest = (tmp_path / "numbers" / "curated" / "manifest.json").read_text()
    assert "jeanne@" not in manifest and "found: email" in manifest


def test_splits_that_the_source_names_are_kept_and_train_alone_is_changed(run, tmp_path):
    splits = ("train", "train", "train", "validation", "test")
    steps = [
        LABEL,
        {"step": "rebalance", "rule": "cap=4"},
        {"step": "augment", "prompt": "{instruction}", "where": 'label == "pair"'},
    ]
    made = run(numbers(50, split=lambda i: splits[i % 5]), steps)
    assert [len(rows_of(tmp_path, split)) for split in ("validation", "test")] == [10, 10]
    train = rows_of(tmp_path, "train")
    assert sum(row["synthetic"] for row in train) == 4 and len(train) == 4 + 4 + 4
    assert made.manifest["notes"][-1] == "50 rows keep the split that the source names"


def test_rows_of_a_group_may_part_when_the_split_is_by_row(run, tmp_path):
    rows = numbers(60, group=lambda i: "all")
    with pytest.raises(AffinageError, match="1 groups for 3 splits"):
        run(rows, [LABEL])
    run(rows, [LABEL], split={"by": "row"})
    assert sum(len(rows_of(tmp_path, split)) for split in ("train", "validation", "test")) == 60


def test_ids_that_stand_there_twice_become_different_ones(run, tmp_path):
    run(numbers(30, id=lambda i: "same"), [LABEL], split={"ratios": "1/0/0"})
    assert len({row["id"] for row in rows_of(tmp_path, "train")}) == 30


def test_nothing_is_written_when_no_row_is_left(run, tmp_path, server):
    server.responder = lambda messages, schema: "Je suis désolé."
    with pytest.raises(AffinageError, match=r"unparsed\.jsonl: no row is left"):
        run(numbers(3), [LABEL])
    assert len((tmp_path / "unparsed.jsonl").read_text().splitlines()) == 3
    assert [path.name for path in (tmp_path / "numbers").iterdir() if "curated" in path.name] == []


def test_a_column_that_is_not_there_is_an_error_before_anything_is_asked(run, server):
    with pytest.raises(AffinageError, match=r"curate\.yaml:\d+ steps\.1\.prompt: \{langue\}.*did you mean 'lang'"):
        run(numbers(3, lang=lambda i: "fr"), [LABEL | {"prompt": "{langue}"}])
    assert server.chats == []


def test_a_sample_is_drawn_by_the_seed_and_asks_about_that_many_rows(run, server, tmp_path):
    sampled = run(numbers(50), [LABEL], sample=7)
    assert sampled.lines == 7 and len(server.chats) == 7
    drawn = {body["messages"][-1]["content"] for body in server.chats}
    server.chats.clear()
    run(numbers(50), [LABEL], sample=7)
    assert {body["messages"][-1]["content"] for body in server.chats} == drawn
    assert not (tmp_path / "numbers" / "curated").exists()


@pytest.mark.parametrize("changed", ["model", "prompt", "nothing"])
def test_marks_count_only_for_the_prompt_and_the_weights_they_are_of(run, server, tmp_path, changed):
    run(numbers(30), [LABEL], sample=7)
    sheet = (tmp_path / "review.csv").read_text(encoding="utf-8-sig")
    (tmp_path / "review.csv").write_text(re.sub(r",,,(\w+-\w+-\w+)$", r",yes,,\1", sheet, flags=re.MULTILINE))
    if changed == "model":
        server.models["llama3.1:8b"] = "ff" * 32
    made = run(numbers(30), [LABEL | ({"system": "Compte."} if changed == "prompt" else {})])
    if changed == "nothing":
        assert (made.precision["label"].n, made.precision["label"].correct, made.stale_marks) == (7, 7, 0)
    else:
        assert (made.precision, made.stale_marks) == ({}, 7)
