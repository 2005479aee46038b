"""What must not leave the machine is taken out of records, found in files, and not seen where it is not."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter
from safetensors.numpy import save_file

from affinage.paths import ROOT
from affinage.publishing.safety import leaks, sanitised

HOME, TEMPORARY = str(Path.home()), tempfile.gettempdir()
ADDRESS, KEY = "jeanne.dupont@" + "example.org", "hf_" + "a1B2" * 9
ELSEWHERE = "/" + "home/paul/llama"


@pytest.mark.parametrize(
    ("written", "left"),
    [
        (f"{ROOT}/models/petit-llama", "petit-llama"),
        (f"train.py --config {HOME}/copie/tiny.yaml --set x=1", "train.py --config tiny.yaml --set x=1"),
        (f"{TEMPORARY}/rows.jsonl", "rows.jsonl"),
        (ELSEWHERE, "llama"),
        ("~/models/llama", "llama"),
        ("C:\\Users\\paul\\llama", "llama"),
        (f"written by {ADDRESS}", "written by j***@***.org"),
        (KEY, "hf***"),
        ("https://paul:secret@example.org/x", "ht***"),
    ],
)
def test_what_names_a_machine_or_a_person_is_taken_out_of_records(written, left):
    assert sanitised({"a": [written]}, {}) == {"a": [left]}


@pytest.mark.parametrize(
    "text",
    [
        "models/petit-llama",
        "https://huggingface.co/datasets/data/home/x",
        "results/voix-passive/tmp/x",
        "et/ou, vrai/faux",
        "torch@2.11.0",
        "### Instruction:\n{instruction}",
        "/v1/chat",
        "a ratio of 3:/4",
        "q_proj, v_proj",
    ],
)
def test_what_only_looks_like_it_stays(text, tmp_path):
    assert sanitised(text, {}) == text
    (tmp_path / "README.md").write_text(text)
    assert leaks(tmp_path) == []


def test_the_base_model_gets_its_id_wherever_it_is_named():
    found = sanitised({"base": "models/x", "n": 1, "more": [{"tokenizer": "models/x"}, None]}, {"models/x": "user/x"})
    assert found == {"base": "user/x", "n": 1, "more": [{"tokenizer": "user/x"}, None]}


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("README.md", f"see {ROOT}/models", "README.md:2: holds a path of this machine"),
        ("README.md", ELSEWHERE, "README.md:2: holds an absolute path"),
        ("ludwig/config.yaml", ADDRESS, "ludwig/config.yaml:2: holds an e-mail address"),
        ("eval/metrics.json", KEY, "eval/metrics.json:2: holds a secret key"),
        ("train.jsonl", KEY, "train.jsonl:2: holds a secret key"),
        ("tokenizer.json", f"{ROOT}/tokenizer", "tokenizer.json:2: holds a path of this machine"),
    ],
)
def test_each_leak_is_found_with_its_file_and_line_and_not_shown(tmp_path, name, text, what):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(f"first line\n{text}\n")
    found = [str(problem) for problem in leaks(tmp_path)]
    assert any(line.startswith(what) for line in found)
    assert not any(text in line for line in found)


def test_words_of_a_tokenizer_and_rows_may_hold_paths_and_addresses(tmp_path):
    for name in ("tokenizer.json", "train.jsonl", "merges.txt"):
        (tmp_path / name).write_text(f'"{ELSEWHERE}", "{ADDRESS}"\n')
    assert leaks(tmp_path) == []


@pytest.mark.parametrize("variable", ["HF_TOKEN", "WANDB_API_KEY"])
def test_a_token_of_the_environment_is_found_whatever_it_looks_like(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, "no-usual-form")
    (tmp_path / "train.jsonl").write_text("no-usual-form\n")
    assert [problem.found for problem in leaks(tmp_path)] == [f"holds the token of {variable}."]


def test_weights_are_judged_by_what_describes_them_and_not_by_their_numbers(tmp_path):
    number = np.frombuffer(f"{ROOT}/models/llama {ADDRESS}".encode().ljust(80), dtype=np.uint8)
    save_file({"a": number}, tmp_path / "model.safetensors", {"format": "pt"})
    assert leaks(tmp_path) == []
    save_file({"a": number}, tmp_path / "model.safetensors", {"from": f"{ROOT}/models/llama"})
    assert [problem.where for problem in leaks(tmp_path)] == ["model.safetensors"] * len(leaks(tmp_path)) != []


def test_a_gguf_file_that_names_a_folder_is_found(tmp_path):
    for name, place in (("clean", "user/tiny"), ("dirty", f"{ROOT}/models/llama")):
        writer = GGUFWriter(tmp_path / f"{name}.gguf", "llama")
        writer.add_string("general.source.url", place)
        writer.add_token_list(["a", ELSEWHERE])
        for step in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
            getattr(writer, step)()
    assert {problem.where for problem in leaks(tmp_path)} == {"dirty.gguf"}


def test_json_stays_json_and_numbers_stay_numbers():
    content = {"loss": [2.0, 1.5], "n": 3, "none": None, "yes": True, "text": "été"}
    assert sanitised(json.loads(json.dumps(content)), {}) == content
