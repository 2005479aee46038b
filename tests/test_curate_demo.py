"""The demo of curation: rules in the place of a model, rows apart from real ones, and DEMO on everything."""

import json
import os
import subprocess
import sys

import pytest

from affinage.archives_demo.careful_reader import DEMO_READER, CarefulReader
from affinage.archives_demo.mailbox import make_threads
from affinage.demo_server import DemoServer, digest_of, is_demo
from affinage.paths import DATASETS, ROOT

TRUTH = {(one.question, one.answer): one.label for thread in make_threads(1) for one in thread.exchanges}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the script says when it runs for the second time, where its results are, and the task's files before."""
    before = files_of_the_task()
    results = tmp_path_factory.mktemp("results")
    command = [sys.executable, str(ROOT / "tools" / "curate_demo.py"), "--results", str(results)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
    return done, results / "curated-demo", before


def files_of_the_task():
    return {path: path.stat().st_mtime_ns for path in (DATASETS / "archives-demo").rglob("*")}


def test_everything_it_writes_says_that_no_model_was_asked(demo):
    done, place, _ = demo
    manifest = json.loads((place / "archives-demo" / "manifest.json").read_text(encoding="utf-8"))
    assert " DEMO " in done.stderr and "DEMO: rules stood in for a language model" in done.stdout
    assert manifest["warnings"][-1].startswith("DEMO") and manifest["model"]["name"] == DEMO_READER
    for path in (place / "archives-demo").glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert {row["label_model"] for row in rows} == {DEMO_READER}


def test_the_rows_are_exchanges_of_the_mailbox_and_nothing_real_is_touched(demo):
    done, place, before = demo
    train = [json.loads(line) for line in (place / "archives-demo" / "train.jsonl").read_text("utf-8").splitlines()]
    real = [row for row in train if not row["synthetic"]]
    assert len(real) > 40 and all(TRUTH[row["instruction"], row["output"]] == row["label"] for row in real)
    assert "answers not used" not in done.stdout
    assert files_of_the_task() == before
    assert done.stdout.rstrip().splitlines()[-1].startswith("Next: make check-data TASK=archives-demo DATASET=")


@pytest.mark.parametrize(
    ("asked", "schema"),
    [
        ("Quel est le thème ? « Une question de personne »", {"properties": {"label": {}}}),
        ("Résume ce texte.", {"properties": {"summary": {}}}),
        ("Bonjour", None),
    ],
)
def test_what_there_is_no_rule_for_gets_an_answer_that_no_schema_allows(asked, schema):
    assert CarefulReader()([{"role": "user", "content": asked}], schema) == {}


def test_the_label_is_that_of_the_question_itself_and_not_of_one_that_is_a_part_of_it():
    reader = CarefulReader()
    questions = {one.question: one.label for one in reader.exchanges}
    for question, label in questions.items():
        asked = f"Un lecteur a écrit :\n« {question} »\nQuel est le thème de la question ?"
        assert reader([{"role": "user", "content": asked}], {"properties": {"label": {}}}) == {"label": label}


def test_a_model_that_a_demo_serves_is_known_by_its_digest():
    from affinage.ollama_chat import Chat, Options

    demo = DemoServer("demo-x:latest", lambda messages, schema: {"said": messages[-1]["content"]})
    with demo as server, Chat(server.url, "demo-x", Options()) as chat:
        model = chat.preflight()
        assert chat.ask([{"role": "user", "content": "é"}], {"type": "object"}).value == {"said": "é"}
    assert model.digest == digest_of("demo-x:latest") and is_demo("demo-x:latest", model.digest)
    assert not is_demo("llama3.1:8b", model.digest)
