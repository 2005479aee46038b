"""Conversations become one row for each answer; every answer that cannot be one is counted with its reason."""

import json

import pytest

from affinage.curation.rows import Counts
from affinage.curation.sources import open_source

KEYS = {"messages": ("role", "content"), "sharegpt": ("from", "value")}


def write(path, format, *conversations):
    role, text = KEYS[format]
    column = "messages" if format == "messages" else "conversations"
    lines = []
    for conversation in conversations:
        turns = [turn if isinstance(turn, dict) else {role: turn[0], text: turn[1]} for turn in conversation]
        lines.append(json.dumps({"id": f"c{len(lines) + 1}", column: turns, "lang": "fr"}))
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def read(path):
    source, counts = open_source(path), Counts()
    return list(source.rows(counts)), dict(counts.steps["read"]), source.format


@pytest.mark.parametrize(
    ("format", "user", "assistant"),
    [("messages", "user", "assistant"), ("sharegpt", "human", "gpt"), ("sharegpt", "user", "assistant")],
)
def test_each_answer_is_a_row_whose_input_is_all_that_was_said_before(tmp_path, format, user, assistant):
    turns = [
        ("system", "Réponds en vers."),
        (user, "Bonjour."),
        (assistant, "Salut."),
        (user, "Et ?"),
        (assistant, "Ô"),
    ]
    rows, counts, found = read(write(tmp_path / "a.jsonl", format, turns))
    shared = {"group": "c1", "source": "a.jsonl#1", "lang": "fr"}
    before = "Réponds en vers.\n\nUser: Bonjour.\n\nAssistant: Salut."
    assert rows == [
        shared | {"instruction": "Bonjour.", "input": "Réponds en vers.", "output": "Salut.", "id": "c1/1"},
        shared | {"instruction": "Et ?", "input": before, "output": "Ô", "id": "c1/2"},
    ]
    assert (counts, found) == ({"seen": 2}, format)


def test_content_may_be_a_list_of_text_parts(tmp_path):
    parts = [{"type": "text", "text": "Qui"}, {"type": "text", "text": "es-tu ?"}]
    image = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "Et là ?"}]
    turns = [("user", parts), ("assistant", "Moi."), ("user", image), ("assistant", "Un chat.")]
    rows, counts, _ = read(write(tmp_path / "a.jsonl", "messages", turns))
    assert [(row["instruction"], row["output"]) for row in rows] == [("Qui\nes-tu ?", "Moi.")]
    assert counts == {"seen": 2, "dropped: turn with something else than text": 1}


CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
Q, A = ("user", "Q"), ("assistant", "A")
# turns (u: user, a: assistant, s: system), the answers kept by number, and why the others are lost
ORDERS = {
    "starts with the assistant": ([A, Q, A], ["c1/2"], {"starts with the assistant": 1}),
    "system, then the assistant": ([("system", "S"), A, Q, A], ["c1/2"], {"starts with the assistant": 1}),
    "two user turns": ([Q, Q, A, Q, A], ["c1/2"], {"two user turns in a row": 1}),
    "two assistant turns": ([Q, A, A, Q, A], ["c1/1", "c1/3"], {"assistant turn right before an answer": 1}),
    "system in between": ([Q, ("system", "S"), A, Q, A], ["c1/2"], {"system turn right before an answer": 1}),
    "last question open": ([Q, A, Q], ["c1/1"], {"question without an answer": 1}),
    "two last questions open": ([Q, A, Q, Q], ["c1/1"], {"question without an answer": 1}),
    "tool turn": ([Q, A, Q, ("tool", "T"), A, Q, A], ["c1/1"], {"tool turn": 2}),
    "observation": ([Q, A, Q, ("observation", "T"), A], ["c1/1"], {"tool turn": 1}),
    "function call": ([Q, A, Q, ("function_call", "T"), ("observation", "T"), A], ["c1/1"], {"tool turn": 2}),
    "call without text": ([Q, A, Q, CALL, ("tool", "T"), A], ["c1/1"], {"tool turn": 2}),
    "tool turn at the end": ([Q, A, ("tool", "T")], ["c1/1"], {"tool turn": 1}),
    "unknown role": ([Q, A, Q, ("chien", "Ouaf"), Q, A], ["c1/1"], {"unknown role": 1}),
    "unknown role at the end": ([Q, A, ("chien", "Ouaf")], ["c1/1"], {"unknown role": 1}),
    "no content": ([Q, A, Q, ("assistant", None), Q, A], ["c1/1"], {"turn without text": 2}),
    "blank question": ([Q, A, ("user", " \n"), A, Q, A], ["c1/1"], {"turn without text": 2}),
    "content that is an object": ([Q, A, ("user", {}), A], ["c1/1"], {"turn with something else than text": 1}),
}


@pytest.mark.parametrize(("turns", "kept", "lost"), ORDERS.values(), ids=ORDERS)
def test_a_turn_that_cannot_be_used_costs_the_answers_it_spoils(tmp_path, turns, kept, lost):
    rows, counts, _ = read(write(tmp_path / "a.jsonl", "messages", turns))
    assert [row["id"] for row in rows] == kept
    assert counts == {"seen": len(kept) + sum(lost.values())} | {f"dropped: {why}": n for why, n in lost.items()}


def test_answers_after_a_turn_out_of_order_still_see_all_that_was_said(tmp_path):
    turns = [("user", "Un"), ("user", "Deux"), ("assistant", "Trois"), ("user", "Quatre"), ("assistant", "Cinq")]
    [row], _, _ = read(write(tmp_path / "a.jsonl", "messages", turns))
    assert row["input"] == "User: Un\n\nUser: Deux\n\nAssistant: Trois"


def test_conversations_without_a_name_are_told_apart_by_their_place(tmp_path):
    lines = [{"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}], "system": "S"}] * 2
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    rows, _, _ = read(str(tmp_path / "a.jsonl"))
    assert [(row["id"], row["group"], row["input"]) for row in rows] == [
        ("a.jsonl#1/1", "a.jsonl#1", "S"),
        ("a.jsonl#2/1", "a.jsonl#2", "S"),
    ]
