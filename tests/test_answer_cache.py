"""Answers outlive a killed run, whatever it left at the end of the file."""

import json
import multiprocessing
import threading

import pytest

from affinage.answer_cache import AnswerCache, answer_key

OK, FAILED = {"status": "ok", "value": 1}, {"status": "length", "value": None}


def test_an_answer_is_on_disk_as_soon_as_it_is_put(tmp_path):
    cache = AnswerCache(tmp_path / "deep" / "a.jsonl")
    assert cache.put("k", OK) == OK
    assert AnswerCache(cache.path).get("k") == OK and len(AnswerCache(cache.path)) == 1
    assert cache.get("other") is None


def test_the_first_answer_stays(tmp_path):
    cache = AnswerCache(tmp_path / "a.jsonl")
    cache.put("k", OK)
    assert cache.put("k", {"status": "ok", "value": 2}) == OK
    assert cache.path.read_text().count("\n") == 1


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_line_cut_anywhere_is_counted_and_spoils_neither_the_lines_before_nor_after(tmp_path, cut):
    path = tmp_path / "a.jsonl"
    AnswerCache(path).put("a", OK)
    AnswerCache(path).put("b", OK)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    cache = AnswerCache(path)
    lost = cut > 1  # without its newline alone, the line is still whole
    assert (cache.get("a"), cache.get("b")) == (OK, None if lost else OK)
    assert cache.broken_lines == int(lost)
    cache.put("b", OK)
    cache.put("c", OK)
    again = AnswerCache(path)
    assert [again.get(key) for key in "abc"] == [OK, OK, OK]


@pytest.mark.parametrize("line", ["[]", "{}", '{"key": "a"}', '{"key": "a", "answer": 3}', "\x00\x00", "null"])
def test_a_line_that_is_no_answer_is_counted(tmp_path, line):
    (tmp_path / "a.jsonl").write_text(line + "\n")
    cache = AnswerCache(tmp_path / "a.jsonl")
    assert len(cache) == 0 and cache.broken_lines == 1


def test_retry_forgets_failures_and_an_answer_then_takes_their_place(tmp_path):
    path = tmp_path / "a.jsonl"
    AnswerCache(path).put("good", OK)
    AnswerCache(path).put("bad", FAILED)
    assert AnswerCache(path).get("bad") == FAILED
    retried = AnswerCache(path, retry=True)
    assert retried.get("bad") is None and retried.get("good") == OK
    retried.put("bad", OK)
    assert AnswerCache(path).get("bad") == OK


def test_many_threads_write_every_line_whole(tmp_path):
    cache = AnswerCache(tmp_path / "a.jsonl")
    texts = {f"{i}": {"status": "ok", "value": "é" * (i * 37 % 9000)} for i in range(200)}
    threads = [
        threading.Thread(target=lambda start=start: [cache.put(str(i), texts[str(i)]) for i in range(start, 200, 4)])
        for start in range(4)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    again = AnswerCache(cache.path)
    assert {key: again.get(key) for key in texts} == texts and again.broken_lines == 0


def _put_many(path, name):
    cache = AnswerCache(path)
    for i in range(200):
        cache.put(f"{name}{i}", {"status": "ok", "value": name * 5000})


def test_two_runs_at_once_write_every_line_whole(tmp_path):
    path = tmp_path / "a.jsonl"
    runs = [multiprocessing.get_context("spawn").Process(target=_put_many, args=(path, name)) for name in "xy"]
    [run.start() for run in runs]
    [run.join() for run in runs]
    assert len(AnswerCache(path)) == 400
    lines = [line for line in path.open() if line.strip()]  # a blank one parts an answer from what might be half of one
    assert len(lines) == 400
    assert all(json.loads(line)["answer"]["value"] in ("x" * 5000, "y" * 5000) for line in lines)


def test_a_key_is_the_same_for_the_same_question_and_differs_for_any_other():
    question = {"messages": [{"role": "user", "content": "é {x}"}], "options": {"seed": 1, "temperature": 0.0}}
    same = {"options": {"temperature": 0.0, "seed": 1}, "messages": [{"content": "é {x}", "role": "user"}]}
    assert answer_key(question) == answer_key(same) and len(answer_key(question)) == 64
    assert answer_key(question) != answer_key(question | {"options": {"seed": 2, "temperature": 0.0}})
    assert answer_key({"text": "half \ud83d"})
