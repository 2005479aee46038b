"""What the command line names is what answers in the pages."""

import runpy
from pathlib import Path

import pytest

from affinage.app.opened import Choice, open_choice
from affinage.chat import Drawing
from affinage.errors import AffinageError
from affinage.runs import write_json

make = runpy.run_path(str(Path(__file__).with_name("talking_models.py")))
OllamaServer = runpy.run_path(str(Path(__file__).with_name("ollama_server.py")))["OllamaServer"]
TEMPLATE = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
ASKED = [{"role": "system", "content": "copie"}, {"role": "user", "content": "le chat mange"}]


def answers(opened):
    speeches = {side: speaker.ask(ASKED, Drawing(max_new_tokens=9)) for side, speaker in opened.speakers.items()}
    return {side: "".join(speech) for side, speech in speeches.items()}


@pytest.mark.slow
def test_an_adapter_with_its_config_answers_as_the_run_that_it_is_from(tmp_path, tiny_model, sentences):
    run = make["train_run"](tmp_path, tiny_model("llama", "bos"), sentences(24), TEMPLATE)
    results = str(tmp_path / "results")
    of_run = open_choice(Choice(run=run.folder.name, results=results))
    said, record = answers(of_run), make["predictions"](run)[0]
    assert of_run.is_tiny and of_run.reviews == run.folder / "reviews.jsonl" and not of_run.sent_to
    assert (of_run.examples[0].instruction, of_run.examples[0].question) == (record["instruction"], record["input"])
    adapter = Choice(
        adapter=str(run.weights_folder),
        config=str(tmp_path / "copie" / "tiny.yaml"),
        dataset=str(tmp_path / "rows.jsonl"),
        results=results,
    )
    opened = open_choice(adapter)
    assert answers(opened) == said and said["base"] != said["tuned"]
    assert opened.reviews == tmp_path / "results" / "adapters" / "model_weights" / "reviews.jsonl"
    assert open_choice(adapter) is opened  # loaded once


def test_a_model_in_ollama_keeps_its_thumbs_below_results_and_stays_on_the_machine(tmp_path, monkeypatch):
    with OllamaServer() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        opened = open_choice(Choice(model="llama3.1:8b", results=str(tmp_path)))
    assert list(opened.speakers) == ["model"] and opened.name == "llama3.1:8b (Ollama)"
    assert opened.reviews == tmp_path / "models" / "llama3.1-8b" / "reviews.jsonl"
    assert not opened.is_tiny and not opened.sent_to


def test_a_run_that_left_no_model_is_refused_before_anything_is_loaded(tmp_path):
    folder = tmp_path / "task" / "config" / "20260101-000000"
    folder.mkdir(parents=True)
    about = {"task": "task", "config": "config", "started": "2026-01-01T00:00:00+00:00", "status": "failed"}
    write_json(folder / "run.json", about)
    with pytest.raises(AffinageError, match="left no model behind"):
        Choice(run="last", results=str(tmp_path)).check()
