"""Talking in the terminal: what is asked and answered, the commands, what is kept, and what a terminal is spared."""

import json
import runpy
import unicodedata
from pathlib import Path

import pytest

from affinage.chat import Drawing, Session, drawing, entries, printable
from affinage.chat_template import prompt_of
from affinage.errors import AffinageError

make = runpy.run_path(str(Path(__file__).with_name("talking_models.py")))
TEMPLATE = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"


@pytest.fixture
def session(llm_config, affinage):
    def made(template=TEMPLATE, **options):
        config = llm_config(prompt={"template": template})
        return Session(make["answerer"](config["base_model"], config, **options))

    return made


def ask(session, question):
    return [(side, "".join(stream)) for side, stream in session.ask(question)]


def lines(*typed):
    """The entries made of lines, and for each line whether it was asked for inside a block."""
    left, inside = list(typed), []

    def read(continued):
        inside.append(continued)
        return left.pop(0) if left else None

    return list(entries(read)), inside


def test_lines_are_entries_and_a_block_is_one():
    found, inside = lines(
        "un", "", "  ", '"""deux', "", 'lignes"""', '"""trois"""', '/system """', "a", '"""', "fin\r\n"
    )
    assert found == ["un", "deux\n\nlignes", "trois", "/system a", "fin"]
    assert inside == [False] * 4 + [True] * 2 + [False] * 2 + [True] * 2 + [False] * 2
    assert lines('dit """oui"""')[0] == ['dit """oui"""']


def test_a_block_that_stays_open_is_an_error():
    with pytest.raises(AffinageError, match="is not closed"):
        lines('"""deux', "lignes")


def test_base_and_tuned_answer_in_place_with_the_prompt_of_training(session):
    talk = session()
    answerer = talk.answerer
    prompt = prompt_of(answerer.config, {"instruction": "copie", "input": "le chat"})
    alone = {
        side: "".join(answerer.ask(side, answerer.encode(prompt), answerer.settings())) for side in ("base", "tuned")
    }
    assert alone["base"] != alone["tuned"]
    talk.take("/input le chat")
    assert ask(talk, "copie") == [("tuned", alone["tuned"])]
    assert talk.take("/base").text == "base will answer"
    assert ask(talk, "copie") == [("base", alone["base"])]
    talk.take("/both")
    assert ask(talk, talk.take("/again").question) == list(alone.items())
    talk.take("/input")
    talk.take("/system copie")
    assert ask(talk, "le chat") == list(alone.items())


@pytest.mark.parametrize(
    ("template", "system", "text", "columns"),
    [
        ("{a}{b}{c}", "", "", {"a": "q"}),
        ("{a}{b}{c}", "", "i", {"a": "q", "b": "i"}),
        ("{a}{b}{c}", "s", "i", {"a": "s", "b": "q", "c": "i"}),
        ("{a}", "s", "", {"a": "s\n\nq"}),
        ("{a}{b}", "s", "i", "/input: the prompt has no column for it: a, b, which the system text and the question"),
        ("{a}", "", "i", "/input: the prompt has no column for it: a, which the question fills"),
    ],
)
def test_system_text_question_and_input_fill_the_columns_in_this_order(session, template, system, text, columns):
    talk = session(template)
    if isinstance(columns, str):
        with pytest.raises(AffinageError, match=columns):
            talk.take(f"/system {system}"), talk.take(f"/input {text}")
        return
    talk.take(f"/system {system}"), talk.take(f"/input {text}")
    ask(talk, "q")
    assert talk.turns[0].columns == columns


def test_settings_change_what_is_drawn_and_go_back(session):
    talk = session()
    before = ask(talk, "copie")
    assert talk.take("/set temperature=2 seed=1").text == "temperature=2.0 seed=1"
    drawn = [ask(talk, "copie") for _ in range(2)]
    assert drawn[0] == drawn[1] != before
    talk.take("/set temperature=default seed=default max_new_tokens=3")
    ask(talk, "copie")
    assert talk.turns[-1].ending.tokens <= 3
    assert talk.take("/set max_new_tokens=default").text == "as in training"
    assert ask(talk, "copie") == before


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("temperature=-1", "/set temperature: Input should be greater"),
        ("top_p=2", "/set top_p: Input should be less"),
        ("max_new_tokens=many", "/set max_new_tokens: Input should be a valid integer"),
        ("heat=1", r"/set heat: Extra inputs .* of temperature, top_p"),
        ("temperature", "'temperature' gives no value"),
        ('seed="1', "No closing quotation"),
        ("seed={", "/set seed={"),
    ],
)
def test_a_wrong_setting_is_named_and_changes_nothing(text, found):
    with pytest.raises(AffinageError, match=found):
        drawing(text, Drawing())


def test_a_wrong_command_lists_the_right_ones_and_two_slashes_are_a_question(session):
    talk = session()
    with pytest.raises(AffinageError, match=r"/bse: no such command.*/base /tuned"):
        talk.take("/bse")
    for command, found in (("/again", "nothing was asked"), ("/save", "names no file")):
        with pytest.raises(AffinageError, match=found):
            talk.take(command)
    assert talk.take("//etc/passwd").question == "/etc/passwd"
    assert "/save file" in talk.take("/help").text and talk.take("/quit").quit


def test_an_answer_that_did_not_end_by_itself_is_told(session):
    talk = session(max_new_tokens=200)
    talk.take("/set max_new_tokens=2")
    ask(talk, "copie")
    assert talk.notice(talk.turns[-1].ending) == "cut at the limit of 2 tokens; /set max_new_tokens=... raises it"
    talk.take("/set max_new_tokens=200")
    ask(talk, "le chat " * 20)
    assert talk.turns[-1].ending.stop == "length" and talk.notice(talk.turns[-1].ending).startswith("cut: the context")
    for _, stream in talk.ask("copie"):
        stream.cancel()
        list(stream)
    assert talk.notice(talk.turns[-1].ending) == "stopped"


@pytest.fixture
def talked(session, monkeypatch):
    """A talk of two answers, the first cut, and of a third that ended by itself."""
    talk = session()
    talk.take("/system copie\u2028\n")

    def says(text, ended):
        ids = talk.answerer.tokenizer.encode(text, add_special_tokens=False) + [1] * ended
        monkeypatch.setattr("affinage.answering.AnswerStream._run", lambda self, model: [*map(self._put, ids)])
        ask(talk, f"le {text}")

    says("coupé", False)
    says('chat "été"\n', True)
    return talk, says


def test_saved_answers_are_training_rows_with_the_same_prompt(talked, tmp_path):
    talk, says = talked
    path = tmp_path / "rows.jsonl"
    path.write_text('{"old": 1}')  # without the end of its line
    assert "1 rows added; 1 left out" in talk.take(f"/save {path}").text
    says("livre", True)
    assert "1 rows added" in talk.take(f"/save {path}").text
    old, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert old == {"old": 1} and [row["output"] for row in rows] == ['chat "été"\n', "livre"]
    assert list(rows[0]) == ["instruction", "input", "output", "system", "model"]
    for row, turn in zip(rows, [talk.turns[1], talk.turns[2]], strict=True):
        assert prompt_of(talk.answerer.config, row) == prompt_of(talk.answerer.config, turn.columns)
        assert row["system"] == row["instruction"] and row["model"] == "tuned"


def test_a_full_disk_leaves_a_file_of_rows_as_it_was(talked, tmp_path, disk_full_after):
    talk, _ = talked
    with pytest.raises(AffinageError, match="cannot be written: No such file"):
        talk.take(f"/save {tmp_path}/no/such.jsonl")
    for before in (None, '{"old": 1}\n' * 3):
        path = tmp_path / f"{bool(before)}.jsonl"
        if before:
            path.write_text(before)
        with disk_full_after(40), pytest.raises(AffinageError, match="cannot be written"):
            talk.take(f"/save {path}")
        assert (path.read_text() if path.exists() else None) == before
        talk.take(f"/save {path}")
        assert path.read_text(encoding="utf-8").endswith('"model": "tuned"}\n')


def test_nothing_in_an_answer_reaches_the_terminal_as_a_command():
    harmful = [
        chr(code) for code in range(0x20000) if unicodedata.category(chr(code)) == "Cc" and chr(code) not in "\n\t"
    ]
    harmful += [
        name
        for name in map(chr, range(0x2060, 0x206A))
        if unicodedata.bidirectional(name) in ("LRI", "RLI", "FSI", "PDI")
    ]
    harmful += list("\u202a\u202b\u202c\u202d\u202e")
    assert len(harmful) > 65
    for character in harmful:
        shown = printable(f"a{character}b")
        assert character not in shown and shown.startswith("a") and shown.endswith("b") and len(shown) > 2
    assert printable("\x1b[2J\x1b]0;title\x07") == "␛[2J␛]0;title␇"
    assert printable("l'été\n\t日本 🦊 {x} [bold]") == "l'été\n\t日本 🦊 {x} [bold]"
