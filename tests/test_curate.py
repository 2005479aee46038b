"""The whole pipeline on the shipped mailbox, with a model that answers by rule over real HTTP."""

import csv
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from affinage.archives_demo.careful_reader import CarefulReader
from affinage.archives_demo.mailbox import make_threads
from affinage.console import run_script
from affinage.data import dataset_files, load_splits
from affinage.paths import DATASETS, ROOT

HERE = Path(__file__).parent
OllamaServer = runpy.run_path(str(HERE / "ollama_server.py"))["OllamaServer"]
SCRIPT = ROOT / "tools" / "curate.py"
main = runpy.run_path(str(SCRIPT))["main"]
TRUTH = {
    (one.question, one.answer): (one.label, str(thread.year)) for thread in make_threads(1) for one in thread.exchanges
}


@pytest.fixture(scope="module")
def server():
    with OllamaServer(CarefulReader()) as server:
        yield server


@pytest.fixture(autouse=True)
def quiet_server(server):
    server.chats.clear()
    server.faults.clear()
    server.delay_s = 0.0


class Place:
    """A copy of the shipped task in a folder of the test, and the command line for it."""

    def __init__(self, folder, server):
        self.task = folder / "datasets" / "archives-demo"
        self.task.mkdir(parents=True)
        for name in ("mails.txt", "curate.yaml"):
            shutil.copy(DATASETS / "archives-demo" / name, self.task / name)
        self.curated, self.kept = self.task / "curated", folder / "results" / "data" / "archives-demo" / "curation"
        self.words = ["--task", "archives-demo", "--host", server.url]
        self.words += ["--datasets", str(folder / "datasets"), "--results", str(folder / "results")]

    def run(self, *words):
        return run_script(lambda: main([*self.words, *words]))

    def start(self, *words):
        command = [sys.executable, str(SCRIPT), *self.words, *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    def rows(self, split):
        return [json.loads(line) for line in (self.curated / f"{split}.jsonl").read_text().splitlines()]

    def manifest(self):
        return json.loads((self.curated / "manifest.json").read_text())

    def bytes(self):
        return {path.name: path.read_bytes() for path in self.curated.glob("*.jsonl")}


@pytest.fixture
def place(tmp_path, server):
    return Place(tmp_path, server)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, server):
    """The dataset as an undisturbed run makes it."""
    place = Place(tmp_path_factory.mktemp("whole"), server)
    assert place.run() == 0
    return place


def asked(server):
    return [json.dumps([body["messages"], body["options"]]) for body in server.chats]


def test_every_real_row_is_an_exchange_of_the_mailbox_with_its_topic_and_year(whole):
    rows = [row for split in ("train", "validation", "test") for row in whole.rows(split)]
    real = [row for row in rows if not row["synthetic"]]
    assert len(real) > 70
    assert {(row["label"], row["year"]) == TRUTH[row["instruction"], row["output"]] for row in real} == {True}
    assert "hors sujet" not in {row["label"] for row in rows}
    assert len({row["id"] for row in rows}) == len(rows)


def test_rows_say_where_they_come_from_and_what_made_them(whole, server):
    digest = server.models["llama3.1:8b"]
    for split in ("train", "validation", "test"):
        for row in whole.rows(split):
            names = [*("segment", "label"), *(["augment"] if row["synthetic"] else [])]
            assert all(row[f"{name}_model"] == "llama3.1:8b" and row[f"{name}_digest"] == digest for name in names)
            assert all(len(row[f"{name}_prompt_sha256"]) == 64 for name in names)
            assert row["source"].startswith("mails.txt#") and row["label_agreement"] == "3/3" and row["split"] == split
            line = (whole.task / "mails.txt").read_text().split("\n")[int(row["source"].partition("#")[2]) - 1]
            assert line.startswith("From ")


def test_synthetic_rows_are_in_train_alone_with_their_parents(whole):
    train = {row["id"]: row for row in whole.rows("train")}
    synthetic = [row for row in train.values() if row["synthetic"]]
    assert len(synthetic) > 10
    for row in synthetic:
        parent = train[row["parent_id"]]
        assert (row["group"], row["output"], row["label"]) == (parent["group"], parent["output"], parent["label"])
        assert row["instruction"] != parent["instruction"]
        assert row["label"] in ("cadastre", "notaires", "reproduction")
    assert not any(row["synthetic"] for split in ("validation", "test") for row in whole.rows(split))


def test_no_conversation_is_in_two_splits_and_labels_are_capped(whole):
    groups = [{row["group"] for row in whole.rows(split)} for split in ("train", "validation", "test")]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    real = Counter(row["label"] for row in whole.rows("train") if not row["synthetic"])
    assert max(real.values()) == 12


def test_training_can_read_what_was_made(whole):
    splits = load_splits(dataset_files("archives-demo", str(whole.curated)), None, 42)
    assert {name: len(rows) for name, rows in splits.items()} == whole.manifest()["sizes"]["rows"]
    assert list(splits["train"].columns)[:7] == ["instruction", "input", "output", "id", "group", "label", "source"]


def test_the_counts_of_the_manifest_add_up_from_the_mailbox_to_the_files(whole):
    manifest = whole.manifest()
    steps = {step["step"]: step for step in manifest["steps"]}
    chain = [step for name, step in steps.items() if name not in ("balance", "augment")]
    assert [step["in"] for step in chain[1:]] == [step["out"] for step in chain[:-1]]
    assert steps["segment"]["in"] == 60 and steps["segment"]["out"] == len(TRUTH)
    held_out = sum(manifest["sizes"]["rows"][split] for split in ("validation", "test"))
    assert steps["leaks"]["out"] == steps["balance"]["in"] + held_out
    assert steps["augment"]["out"] == manifest["sizes"]["rows"]["train"]
    assert steps["label"]["reasons"]["label: hors sujet"]["rows"] == 5


def test_the_manifest_says_which_model_did_what_and_names_no_folder(whole, server):
    manifest, text = whole.manifest(), (whole.curated / "manifest.json").read_text()
    assert {step["step"] for step in manifest["steps"] if step.get("kind") == "language model"} == {
        "segment",
        "label",
        "augment",
    }
    assert manifest["model"]["digest"] == server.models["llama3.1:8b"] and manifest["precision"] == {}
    assert str(whole.task.parent) not in text and "127.0.0.1" not in text
    assert list(manifest) == sorted(manifest)


def test_several_questions_at_a_time_make_the_same_files(place, whole):
    assert place.run("--concurrency", "4") == 0
    assert place.bytes() == whole.bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "ctrl-c"])
def test_an_interrupted_run_goes_on_where_it_stopped(place, whole, server, number):
    server.delay_s = 0.01
    run = place.start()
    while len(server.chats) < 100:
        assert run.poll() is None, run.communicate()
        time.sleep(0.01)
    run.send_signal(number)
    output = run.communicate()
    assert run.returncode == (-9 if number == signal.SIGKILL else 130), output
    assert not place.curated.exists() and "Traceback" not in output[1]
    server.delay_s = 0.0
    assert place.run() == 0
    repeated = sum((Counter(asked(server)) - Counter(set(asked(server)))).values())
    assert repeated <= (1 if number == signal.SIGKILL else 0)  # the question that was being answered
    assert place.bytes() == whole.bytes()
    assert [path.name for path in place.task.iterdir() if path.name.startswith(".")] == []


def test_a_server_that_goes_away_ends_in_an_error_and_comes_back_to_the_rest(place, whole, server, capfd):
    server.script(*["ok"] * 50, "404")
    assert place.run() == 2
    error = capfd.readouterr().err
    assert "stopped after 50 of 60 questions: model_missing" in error and "what was answered is kept" in error
    assert not place.curated.exists()
    assert place.run() == 0
    assert place.bytes() == whole.bytes()


def test_answers_that_cannot_be_used_are_listed_and_counted_and_the_rest_is_made(place, server, capsys):
    server.script("ok", *["broken json"] * 3, "overflow", "refusal")
    assert place.run() == 0
    entries = [json.loads(line) for line in (place.kept / "unparsed.jsonl").read_text().splitlines()]
    assert [entry["status"] for entry in entries] == ["broken_json", "overflow", "refused"]
    assert [entry["id"] for entry in entries] == ["mails-0002", "mails-0003", "mails-0004"]
    assert entries[2]["raw"].startswith("Je suis désolé") and entries[0]["source"].startswith("mails.txt#")
    reasons = place.manifest()["steps"][0]["reasons"]
    assert reasons["answers not used: overflow"]["rows"] == 1
    assert place.manifest()["unparsed"] == {"broken_json": 1, "overflow": 1, "refused": 1}
    assert "3 answers not used" in (shown := capsys.readouterr().out) and "raise options.num_ctx" in shown
    asked_before = len(server.chats)
    assert place.run("--retry-failed", "--replace") == 0
    assert len(server.chats) > asked_before and place.manifest()["unparsed"] == {}


def test_data_that_is_there_is_never_replaced_unasked_and_nothing_is_asked_before(whole, server, capfd):
    before = whole.bytes()
    server.chats.clear()
    assert whole.run() == 2
    assert "--replace" in capfd.readouterr().err and server.chats == [] and whole.bytes() == before


def test_a_sample_makes_a_sheet_and_its_marks_give_a_precision_with_an_interval(place, server, capsys):
    assert place.run("--sample", "20") == 0
    assert not place.curated.exists() and "Next: OLLAMA_HOST=" in capsys.readouterr().out
    sheet = place.kept / "review.csv"
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    by_step = Counter(line["step"] for line in lines)
    assert by_step["label"] == 20 and by_step["augment"] <= 20
    assert len({line["source"] for line in lines if line["step"] == "segment"}) <= 20
    labels = [line for line in lines if line["step"] == "label"]
    for number, line in enumerate(labels):
        line["correct"] = "non" if number < 2 else "oui"
    with sheet.open("w", encoding="cp1252", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(lines)
    server.chats.clear()
    assert place.run("--sample", "20") == 0
    expected = "0.900 (n=20, 95 % interval 0.699 to 0.972)"
    assert expected in capsys.readouterr().out and server.chats == []
    assert place.run() == 0
    assert expected in capsys.readouterr().out
    assert place.manifest()["precision"]["label"] == {
        "n": 20,
        "correct": 18,
        "precision": 0.9,
        "low": 0.699,
        "high": 0.9721,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--model", "mistral"], "ollama pull mistral"), (["--task", "nothing"], "nothing/curate.yaml: cannot be read")],
)
def test_what_a_person_can_mend_gives_exit_code_2_before_anything_is_asked(place, server, words, message, capfd):
    assert place.run(*words) == 2
    assert message in capfd.readouterr().err.replace("\n", "") and server.chats == []


def test_the_test_server_runs_as_a_script_and_answers_as_a_careful_reader(place):
    command = [sys.executable, str(HERE / "ollama_server.py"), "--port", "0", "--rules", "archives-demo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as script:
        url = script.stdout.readline().strip().removeprefix("OLLAMA_HOST=")
        assert place.run("--host", url, "--sample", "3") == 0
        script.terminate()
    assert (place.kept / "review.csv").exists()
