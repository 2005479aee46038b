"""The chat script as a person runs it: through a pipe, with one question, in a terminal."""

import contextlib
import io
import os
import pty
import runpy
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from affinage.chat import printable
from affinage.errors import AffinageError

pytestmark = pytest.mark.slow  # a run is trained first

HERE = Path(__file__).parent
SCRIPT = HERE.parent / "tools" / "chat.py"
make = runpy.run_path(str(HERE / "talking_models.py"))
script = runpy.run_path(str(SCRIPT))
TEMPLATE = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model, sentences):
    return make["train_run"](tmp_path_factory.mktemp("talk"), tiny_model("llama", "bos"), sentences(24), TEMPLATE)


def test_a_pipe_gives_answers_alone_on_standard_output(run, monkeypatch, capsys, tmp_path):
    record = make["predictions"](run)[0]
    typed = f"/input {record['input']}\n\n{record['instruction']}\n/both\n/again\n/save rows.jsonl\n"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode()), encoding="ascii"))
    script["main"](["--run", str(run.folder)])
    shown = capsys.readouterr()
    base, tuned = printable(record["base"]), printable(record["tuned"])
    assert shown.out == f"{tuned}\nbase: {base}\ntuned: {tuned}\n"
    assert "base and tuned will answer" in shown.err
    assert "rows added" in shown.err and (tmp_path / "rows.jsonl").exists() == ("0 rows" not in shown.err)


def test_the_base_of_a_run_that_trained_every_weight_is_loaded_beside_it(
    tmp_path, tiny_model, sentences, monkeypatch, capsys
):
    full = make["train_run"](tmp_path, tiny_model(), sentences(24), TEMPLATE, adapter=None)
    record = make["predictions"](full)[0]
    (tmp_path / "rows.jsonl").unlink()  # talking needs no data
    monkeypatch.chdir(tmp_path)
    given = ["--run", str(full.folder), "--ask", record["instruction"], "--input", record["input"], "--side", "both"]
    script["main"](given)
    assert capsys.readouterr().out == f"base: {printable(record['base'])}\ntuned: {printable(record['tuned'])}\n"


@pytest.mark.parametrize("side", ["base", "tuned"])
def test_one_question_gives_one_answer(run, monkeypatch, capsys, tmp_path, side):
    record = make["predictions"](run)[1]
    monkeypatch.chdir(tmp_path)
    script["main"](
        ["--run", str(run.folder), "--ask", record["instruction"], "--input", record["input"], "--side", side]
    )
    assert capsys.readouterr().out == printable(record[side]) + "\n"


def test_an_adapter_of_a_config_answers_as_its_run(run, monkeypatch, capsys, tmp_path):
    record, folder = make["predictions"](run)[1], run.folder.parents[3]
    monkeypatch.chdir(folder)
    given = ["--adapter", str(run.weights_folder), "--config", "copie/tiny.yaml", "--dataset", "rows.jsonl"]
    script["main"]([*given, "--ask", record["instruction"], "--input", record["input"]])
    assert capsys.readouterr().out == printable(record["tuned"]) + "\n"


@pytest.mark.parametrize(
    ("typed", "found"), [(b"/nope\ncopie\n", "no such command"), (b"\xff\n", "not UTF-8"), (b'"""a\n', "not closed")]
)
def test_a_mistake_in_a_pipe_ends_the_program(run, monkeypatch, capsys, tmp_path, typed, found):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed)))
    with pytest.raises(AffinageError, match=found):
        script["main"](["--run", str(run.folder)])
    assert capsys.readouterr().out == ""


class Terminal:
    """A program on a terminal of its own; what it writes there is `shown`."""

    def __init__(self, *command):
        self.ours, theirs = pty.openpty()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TERM": "dumb"}
        self.program = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        self.shown, self.read_up_to = "", 0

    def type(self, text):
        os.write(self.ours, text.encode())

    def wait_for(self, text):
        """Reads until the text is shown after what was waited for last."""
        end = time.monotonic() + 120
        while text not in self.shown[self.read_up_to :]:
            assert time.monotonic() < end and self.program.poll() is None, self.shown
            if select.select([self.ours], [], [], 1)[0]:
                with contextlib.suppress(OSError):
                    self.shown += os.read(self.ours, 4096).decode(errors="replace")
        self.read_up_to = self.shown.index(text, self.read_up_to) + len(text)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.program.kill()
        self.program.wait()
        os.close(self.ours)


def test_in_a_terminal_ctrl_c_stops_the_answer_and_not_the_program(run):
    settings = "max_new_tokens=230 temperature=3"
    with Terminal(sys.executable, str(SCRIPT), "--run", str(run.folder), "--set", settings) as terminal:
        terminal.wait_for(">>> ")
        for _ in range(20):  # an answer may end by itself before
            terminal.type("copie\n")
            terminal.wait_for("copie\r\n")
            time.sleep(0.1)
            terminal.program.send_signal(2)
            terminal.wait_for(">>> ")
            if "(stopped)" in terminal.shown:
                break
        assert "(stopped)" in terminal.shown
        terminal.type("/bad\n")
        terminal.wait_for("no such command")
        terminal.wait_for(">>> ")
        terminal.type("/quit\n")
        terminal.wait_for("Next: make serve RUN=")
        assert terminal.program.wait(60) == 0
