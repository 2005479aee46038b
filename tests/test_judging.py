"""Judging over a real socket: every item ends in a named status, and what interrupts a run changes nothing."""

import json
import runpy
from pathlib import Path

import pytest

from affinage.errors import AffinageError
from affinage.judging.rubrics import RUBRICS, load_rubric, read_rubric
from affinage.judging.settings import settings_of
from affinage.scoring import load_suite
from affinage.scoring.suite_file import read_suite

helper = runpy.run_path(str(Path(__file__).with_name("judged_rows.py")))
judged, rows, server_of = helper["judged"], helper["rows"], helper["server_of"]


@pytest.fixture
def server():
    with server_of() as server:
        yield server


def lines_of(found):
    return {(line["id"], line["system"]): line for line in found.lines}


def test_every_answer_of_every_system_gets_a_line_with_score_and_reason(server, tmp_path):
    found = judged(server, tmp_path)
    lines = [json.loads(line) for line in (found.folder / "verdicts.jsonl").read_text("utf-8").splitlines()]
    assert [(line["id"], line["system"]) for line in lines] == [
        (f"r{i}", s) for i in range(12) for s in ("base", "tuned")
    ]
    assert all(line["status"] == "ok" and 0 <= line["score"] <= 100 and line["reason"] for line in lines)
    assert lines_of(found)["r1", "tuned"]["score"] == 100
    assert found.summary["coverage"] == 1


@pytest.mark.parametrize(
    ("fault", "status", "times"),
    [
        ("overflow", "overflow", 1),
        ("overflow object", "overflow", 1),
        ("context shifted", "overflow", 1),
        ("length", "length", 3),
        ("not done", "not_done", 3),
        ("done missing", "not_done", 3),
        ("load", "not_done", 3),
        ("empty", "empty", 3),
        ("broken json", "broken_json", 3),
        ("nan", "broken_json", 3),
        ("half a surrogate", "broken_json", 3),
        ("refusal", "refused", 1),
        ("wrong type", "wrong_type", 3),
        ("503", "busy", 6),
        ("500", "server_error", 3),
        ("499", "server_error", 3),
        ("html", "server_error", 3),
        ("error with 200", "server_error", 3),
    ],
)
def test_a_fault_ends_in_its_status_and_the_run_goes_on(server, tmp_path, fault, status, times):
    server.script(*["ok"] * 5, *[fault] * times)  # the five controls come first
    found = judged(server, tmp_path, rows(4))
    first, *others = found.lines
    assert (first["status"], first["score"]) == (status, None)
    assert [line["status"] for line in others] == ["ok"] * 7
    assert found.summary["statuses"]["base"] == {status: 1, "ok": 3}
    assert found.summary["coverage"] == 7 / 8


def test_an_answer_that_does_not_come_is_a_timeout(server, tmp_path):
    server.slow_s = 1.5
    server.script(*["ok"] * 5, *["slow"] * 3)
    found = judged(server, tmp_path, rows(2))
    assert [line["status"] for line in found.lines] == ["timeout", "ok", "ok", "ok"]


def test_a_failed_item_is_no_zero_and_the_bounds_say_what_it_could_be(server, tmp_path):
    server.script(*["ok"] * 6, *["length"] * 3)  # the second item: the tuned answer of the first row
    entry = judged(server, tmp_path, rows(4)).summary["systems"]["tuned"]
    scores = [line["score"] for line in judged(server, tmp_path, rows(4)).lines if line["system"] == "tuned"]
    assert scores[0] is None
    assert entry["mean"]["value"] == pytest.approx(sum(scores[1:]) / 3)
    assert entry["failures_at_0"] == pytest.approx(sum(scores[1:]) / 4)
    assert entry["failures_at_100"] == pytest.approx((sum(scores[1:]) + 100) / 4)


def test_a_judge_that_says_it_cannot_judge_has_a_status_of_its_own(tmp_path):
    with server_of(lambda messages, schema: {"reasoning": "?", "verdict": "cannot_judge", "score": 0}) as server:
        found = judged(server, tmp_path, rows(2))
    assert {line["status"] for line in found.lines} == {"cannot_judge"} and found.summary["coverage"] == 0
    assert found.summary["systems"]["tuned"]["mean"]["value"] is None


def test_an_empty_answer_gets_nothing_by_a_rule_that_is_counted(server, tmp_path):
    content = rows(3)
    content[1]["base"] = " \n"
    found = judged(server, tmp_path, content)
    assert (
        lines_of(found)["r1", "base"] | {"status": "ok", "score": 0, "rule": "empty_answer"}
        == lines_of(found)["r1", "base"]
    )
    assert found.summary["systems"]["base"]["by_rule"] == {"empty_answer": 1}
    assert len(server.chats) == 5 + 5


def test_what_is_sent_is_deterministic_and_bounded(server, tmp_path):
    judged(server, tmp_path, rows(1))
    body = server.chats[-1]
    assert body["options"]["temperature"] == 0 and body["options"]["seed"] == 123
    assert {"num_ctx", "num_predict"} <= body["options"].keys()
    assert body["think"] is False and body["truncate"] is False
    assert list(body["format"]["properties"]) == ["reasoning", "verdict", "score"]


def test_a_second_run_asks_nothing_and_writes_the_same_bytes(server, tmp_path):
    first = judged(server, tmp_path, stability=5)
    before = {path.name: path.read_bytes() for path in first.folder.glob("*.json*")}
    server.chats.clear()
    judged(server, tmp_path, stability=5)
    assert server.chats == []
    assert {path.name: path.read_bytes() for path in first.folder.glob("*.json*")} == before


def test_the_rubric_mode_weighs_criteria_into_a_score(tmp_path):
    levels = {"exactitude": 5, "clarte": 1}
    with server_of(lambda messages, schema: {"reasoning": "r", "verdict": "judged", **levels}) as server:
        found = judged(server, tmp_path, rows(2), mode="rubric", criteria={"exactitude": 3.0, "clarte": 1.0})
    assert {line["score"] for line in found.lines} == {75.0}
    assert found.summary["systems"]["base"]["criteria"] == levels
    assert all(name in server.chats[0]["messages"][1]["content"] for name in ('"exactitude"', "Illisible"))


def test_every_shipped_rubric_can_be_read_and_has_its_levels():
    files = sorted(path for path in RUBRICS.glob("*.md") if path.stem != "README")
    kinds = [read_rubric(path).kind for path in files]
    assert (kinds.count("criterion"), kinds.count("score"), kinds.count("comparison")) == (10, 2, 2)


def test_a_rubric_says_all_that_is_wrong_with_it(tmp_path):
    (tmp_path / "odd.md").write_text("Text\n- 1: a\n- 1: b\n- 7:\n", encoding="utf-8")
    with pytest.raises(AffinageError) as error:
        read_rubric(tmp_path / "odd.md")
    text = str(error.value)
    for words in ("odd.md:3: the level 1 stands there twice", "no title", "level 7 is not described", "levels 1, 7"):
        assert words in text
    with pytest.raises(AffinageError, match="Did you mean 'exactitude'"):
        load_rubric("exactitud", "criterion")
    with pytest.raises(AffinageError, match="levels 1, 2, 3, 4 and 5"):
        load_rubric("note-0-100", "criterion")


def test_the_section_of_a_suite_names_every_mistake_with_its_line(tmp_path):
    text = (
        "fewshot: 0\njudge:\n  rubrik: x\n  mode: duel\n  min_coverage: 3\n  options: {num_contx: 1}\n  model: [a, a]\n"
    )
    (tmp_path / "odd.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(AffinageError) as error:
        settings_of(read_suite(tmp_path / "odd.yaml"), tmp_path)
    text = str(error.value)
    for words in (
        "odd.yaml:3: unknown key 'judge.rubrik'",
        "Did you mean 'rubric'?",
        "odd.yaml:4: 'judge.mode' is 'duel'. Allowed: score, rubric, pairwise",
        "odd.yaml:5: 'judge.min_coverage' is 3. Allowed: at most 1",
        "odd.yaml:6: unknown key 'judge.options.num_contx'",
        "Did you mean 'num_ctx'?",
    ):
        assert words in text, text


def test_the_shipped_suites_have_settings_that_are_valid():
    assert settings_of(load_suite("voix-passive")).criteria["exactitude"] == 3
    assert settings_of(load_suite("alpaca")).mode == "score"
