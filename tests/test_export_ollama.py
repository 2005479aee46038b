"""A run as an Ollama model, over real HTTP: what is sent, what is compared, and everything that can go wrong."""

import hashlib
import json
import os
import runpy
from pathlib import Path

import pytest

from affinage.errors import AffinageError
from affinage.export.ollama_model import agreement, compare, create, prepare
from affinage.ollama_models import find_server

pytestmark = pytest.mark.slow  # a run is trained first

HERE = Path(__file__).parent
make = runpy.run_path(str(HERE / "talking_models.py"))
go = runpy.run_path(str(HERE / "go_template.py"))
CreatingServer = runpy.run_path(str(HERE / "ollama_create_server.py"))["CreatingServer"]
script = runpy.run_path(str(HERE.parent / "tools" / "export_ollama.py"))
TEMPLATE = "### Consigne\u00a0:\n{instruction}\n{{x}}\n{input}\n### Réponse :\n"
WEIGHTS = b"GGUF" + bytes(range(256)) * 4000  # about 1 MB: more than one piece


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model, sentences):
    """A trained run, its "GGUF file", and what the tuned model says to a prompt."""
    from affinage.answering import Answerer

    made = make["train_run"](tmp_path_factory.mktemp("ollama"), tiny_model("llama", "bos"), sentences(24), TEMPLATE)
    (made.folder / "export").mkdir()
    (made.folder / "export" / "copie-tiny-q8_0.gguf").write_bytes(WEIGHTS)
    answerer = Answerer.of_run(made)

    def says(prompt):
        ids = answerer.encode(prompt)
        stream = answerer.ask("tuned", ids, answerer.settings())
        return "".join(stream), len(ids)

    made.says = says
    return made


@pytest.fixture
def server(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # the script goes to the project's folder
    with CreatingServer(run.says) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        yield server


@pytest.fixture(scope="module")
def prepared(run):
    return prepare(run, "copie", "q8_0")


def export(run, *options):
    """What the script gives: its exit code is that of `run_script`, so that an AffinageError comes through here."""
    results = run.folder.parents[2]
    script["main"](["--run", run.folder.name, "--results", str(results), *options])
    return json.loads((run.folder / "export" / "ollama.json").read_text(encoding="utf-8"))


def test_the_model_is_made_of_the_file_and_answers_as_the_run_does(run, server, capsys):
    kept = export(run, "--name", "Moi/Copie", "--licence", "cc0-1.0", "--quant", "Q8_0")
    made = server.created["moi/copie:latest"]
    assert server.blobs == {f"sha256:{hashlib.sha256(WEIGHTS).hexdigest()}": WEIGHTS}
    assert made["files"] == {"copie-tiny-q8_0.gguf": next(iter(server.blobs))}
    assert made["parameters"]["temperature"] == 0 and made["parameters"]["num_predict"] == 24
    assert made["license"] == "cc0-1.0" and "system" not in made
    assert kept["agreement"] == {"raw": {"n": 3, "equal": 3}, "chat": {"n": 1, "equal": 1}}
    answers = {record["prompt"]: record["tuned"] for record in make["predictions"](run)}
    assert [trial["how"] for trial in kept["trials"]] == ["raw"] * 3 + ["chat"]
    for trial in kept["trials"]:
        assert answers[trial["prompt"]] == trial["run_answer"] == trial["ollama_answer"]
        assert trial["prompt_tokens"] == trial["ollama_prompt_tokens"]
    assert len({trial["prompt"] for trial in kept["trials"]}) == 3
    chat = [body for path, body in server.calls if path == "/api/chat"]
    assert [message["role"] for message in chat[0]["messages"]] == ["system", "user"]
    assert kept["created"]["digest"] == server.models["moi/copie:latest"]
    out = capsys.readouterr().out
    assert "rendered prompts: 3 of 3" in out and "through the chat TEMPLATE: 1 of 1" in out
    assert "Next: ollama run moi/copie" in out


def test_the_modelfile_beside_the_file_says_what_was_sent(run, server):
    export(run, "--name", "copie", "--system", "copie")
    made = server.created["copie:latest"]
    text = (run.folder / "export" / "copie-tiny-q8_0.Modelfile").read_text(encoding="utf-8")
    commands = dict(go["read_modelfile"](text))
    assert commands["FROM"] == "./copie-tiny-q8_0.gguf"
    assert (
        (commands["TEMPLATE"], commands["SYSTEM"]) == (made["template"], "copie") == (made["template"], made["system"])
    )
    assert str(run.folder) not in text


def test_answers_that_differ_are_counted_and_shown(run, server, capsys):
    server.answers = lambda prompt: ("autre \x1b[31mchose", 7)
    kept = export(run, "--name", "copie")
    assert kept["agreement"] == {"raw": {"n": 3, "equal": 0}, "chat": {"n": 1, "equal": 0}}
    out = capsys.readouterr().out
    assert "rendered prompts: 0 of 3" in out and "\x1b[31m" not in out and "autre \\x1b[31mchose" in out
    assert "7 tokens in Ollama" in out


def test_a_name_that_is_taken_is_replaced_only_when_asked(run, server):
    server.models["copie:latest"] = "ab" * 32
    with pytest.raises(AffinageError, match=r"model copie: is on http.* already.*--replace"):
        export(run, "--name", "COPIE")
    assert not server.created
    assert export(run, "--name", "copie", "--replace")["created"]["digest"] != "ab" * 32


def test_what_the_server_has_is_not_sent_again(run, server):
    for name in ("un", "deux"):
        export(run, "--name", name)
    assert [call for call, _ in server.calls].count("POST") == 1


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("upload full", r"no space left on device \(HTTP 500\)\. Free space where Ollama"),
        ("upload cut", r"stopped answering .* Run the command again"),
        ("create refused", r"was not created: invalid model name \(HTTP 400\)"),
        ("create error", "was not created: supplied file was not in GGUF format"),
        ("create full", "no space left on device.* Free space"),
        ("create unended", "the creation ended at 'using existing layer"),
        ("create cut", "stopped answering"),
        ("generate 500", "was created, but gives no answer: model runner"),
        ("generate unended", "the answer to test row .* broke off"),
    ],
)
def test_whatever_goes_wrong_is_said_and_the_next_try_ends_well(prepared, server, failure, message):
    def create_and_compare(replace):
        where = find_server(server.url)
        create(where, prepared, replace)
        return agreement(compare(where, prepared))

    server.failure = failure
    with pytest.raises(AffinageError, match=message):
        create_and_compare(False)
    assert server.failure == ""
    assert create_and_compare(True)["raw"] == {"n": 3, "equal": 3}


def test_without_a_server_the_files_are_written_and_the_commands_shown(run, server, capsys):
    server.stop()
    kept = export(run)
    out = capsys.readouterr().out
    assert kept["created"] is None and kept["trials"] == [] and kept["name"] == "copie-tiny"
    assert "nothing was created and nothing was tested" in out
    assert "ollama create copie-tiny -f " in out and "ollama run copie-tiny" in out
    assert (run.folder / "export" / "copie-tiny-q8_0.Modelfile").is_file()


def test_another_program_at_that_address_is_an_error(run, server):
    server.version = "0.3.0"
    with pytest.raises(AffinageError, match=r"runs Ollama 0\.3\.0"):
        export(run, "--name", "copie")


def test_a_bad_name_is_refused_before_anything_is_asked(run, server):
    with pytest.raises(AffinageError, match="no name for an Ollama model"):
        export(run, "--name", "à moi")
    assert server.calls == []


def test_a_gguf_file_that_is_not_there_is_made_and_one_that_answers_otherwise_is_refused(run, server, monkeypatch):
    from affinage.export import gguf_model
    from affinage.export.gguf_file import GgufFile

    made = run.folder / "export" / "copie-tiny-f16.gguf"
    given = ("--pre-tokenizer", "gpt-2", "--licence", "cc0-1.0")

    def export_gguf(run, quantization, pre_tokenizer="", licence=""):
        assert (pre_tokenizer, licence) == ("gpt-2", "cc0-1.0")
        made.write_bytes(b"GGUF made")
        faults = [] if quantization == "f16" else ["prompt 2: another next token"]
        return GgufFile(made, quantization, hashlib.sha256(b"GGUF made").hexdigest(), {"faults": faults})

    monkeypatch.setattr(gguf_model, "export_gguf", export_gguf)
    assert export(run, "--name", "copie", "--quant", "f16", *given)["weights"]["file"] == made.name
    assert b"GGUF made" in server.blobs.values()
    with pytest.raises(AffinageError, match="does not answer as the run does: prompt 2"):
        export(run, "--name", "copie", "--quant", "q4_k_m", "--replace", *given)


def test_a_file_that_is_no_gguf_is_refused_by_the_server_and_said(run, server):
    path = run.folder / "export" / "copie-tiny-q8_0.gguf"
    path.write_bytes(b"<html>")
    try:
        with pytest.raises(AffinageError, match="was not in GGUF format"):
            export(run, "--name", "copie")
    finally:
        path.write_bytes(WEIGHTS)


def test_a_run_without_answers_is_created_and_nothing_is_compared(run, server, capsys):
    path = run.folder / "predictions.jsonl"
    kept = path.rename(path.with_suffix(".kept"))
    try:
        assert export(run, "--name", "copie")["agreement"] == {}
    finally:
        kept.rename(path)
    assert "Nothing was compared" in capsys.readouterr().out


def test_a_gguf_file_from_before_the_run_went_on_is_made_again(run, monkeypatch):
    from affinage.export import gguf_model, ollama_model

    class MadeAgain(Exception):
        pass

    def export_gguf(*arguments, **options):
        raise MadeAgain

    monkeypatch.setattr(gguf_model, "export_gguf", export_gguf)
    path = run.folder / "export" / "copie-tiny-q8_0.gguf"
    assert ollama_model._gguf(run, "q8_0", "", "")[0] == path
    os.utime(path, (0, 0))
    with pytest.raises(MadeAgain):
        ollama_model._gguf(run, "q8_0", "", "")
    os.utime(path)
