"""Many questions: N at a time, replies in their order, stopped and resumed without losing or asking one twice."""

import os
import runpy
import signal
import threading
import time
from pathlib import Path

import pytest

from affinage.answer_cache import AnswerCache
from affinage.errors import AffinageError
from affinage.ollama_batch import Question, ask_all
from affinage.ollama_chat import Chat
from affinage.ollama_replies import Status

OllamaServer = runpy.run_path(str(Path(__file__).with_name("ollama_server.py")))["OllamaServer"]


def questions(n):
    return [Question([{"role": "user", "content": f"question {i}"}]) for i in range(n)]


def interrupt(server, questions_asked, times=1):
    """Sends Ctrl-C as soon as that many questions have arrived, and again a little later."""

    def work():
        while len(server.chats) < questions_asked:
            time.sleep(0.005)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)

    threading.Thread(target=work, daemon=True).start()


def asked(server):
    return [body["messages"][0]["content"] for body in server.chats]


@pytest.fixture
def server():
    with OllamaServer() as server:
        yield server


def chat_of(server, tmp_path=None, **options):
    cache = AnswerCache(tmp_path / "answers.jsonl") if tmp_path else None
    chat = Chat(server.url, "llama3.1:8b", cache=cache, backoff_s=0.001, **options)
    chat.preflight()
    return chat


@pytest.mark.parametrize("concurrency", [1, 4])
def test_replies_come_in_the_order_of_the_questions_with_n_at_work(server, concurrency):
    # The first questions take longest, so that answers arrive in another order.
    def respond(messages, schema):
        time.sleep(0.08 if int(messages[0]["content"].split()[1]) % 4 == 0 else 0.02)
        return messages[0]["content"]

    server.responder = respond
    with chat_of(server) as chat:
        replies = ask_all(chat, questions(12), concurrency)
    assert [reply.value for reply in replies] == [f"question {i}" for i in range(12)]
    assert server.most_active == concurrency


def test_a_slow_answer_holds_up_nothing_but_itself(server):
    # With batches of 4 the others of its batch would wait: here the first answer comes only after 20 others.
    def respond(messages, schema):
        if messages[0]["content"] == "question 0":
            assert others.wait(10), "the other slots stood idle"
        elif len(server.chats) > 20:
            others.set()
        return messages[0]["content"]

    others, server.responder = threading.Event(), respond
    with chat_of(server) as chat:
        replies = ask_all(chat, questions(30), 4)
    assert [reply.value for reply in replies] == [f"question {i}" for i in range(30)]


def test_a_server_of_n_slots_always_has_n_at_work_until_too_few_are_left(server):
    busy = []

    def respond(messages, schema):
        time.sleep(0.01 if int(messages[0]["content"].split()[1]) % 3 else 0.03)
        busy.append(server.active)
        return messages[0]["content"]

    server.responder = respond
    with chat_of(server) as chat:
        ask_all(chat, questions(60), 4)
    assert max(busy) == 4 and sum(busy[4:-4]) / len(busy[4:-4]) > 3  # batches would give 2.5


def test_one_bad_answer_is_one_bad_reply(server):
    server.responder = lambda messages, schema: "3"
    server.script("ok", "refusal", "ok")
    with chat_of(server) as chat:
        replies = ask_all(chat, [Question(q.messages, {"type": "integer"}) for q in questions(3)])
    assert [reply.status for reply in replies] == [Status.OK, Status.REFUSED, Status.OK]


def test_no_question_is_no_reply(server):
    with chat_of(server) as chat:
        assert ask_all(chat, []) == []


def test_a_server_that_stays_away_stops_the_work_and_the_next_run_asks_only_the_rest(server, tmp_path):
    server.script(*["ok"] * 3, "die")
    with (
        chat_of(server, tmp_path) as chat,
        pytest.raises(AffinageError, match=r"stopped after 3 of 8 questions: unreachable.*ollama serve.*is kept"),
    ):
        ask_all(chat, questions(8))
    time.sleep(0.2)  # the thread ends the question that it had in hand
    server.start()
    server.chats.clear()
    with chat_of(server, tmp_path) as chat:
        replies = ask_all(chat, questions(8))
    assert [reply.value for reply in replies] == [f"question {i}" for i in range(8)]
    assert asked(server) == [f"question {i}" for i in range(3, 8)]
    assert [reply.cached for reply in replies] == [True] * 3 + [False] * 5


@pytest.mark.parametrize(("fault", "words"), [("404", "ollama pull"), ("400", "its version")])
def test_a_fault_that_no_question_would_escape_stops_the_work_at_once(server, fault, words):
    server.script("ok", fault)
    with chat_of(server) as chat, pytest.raises(AffinageError, match=words):
        ask_all(chat, questions(8))
    assert len(server.chats) == 2


def test_five_failures_of_the_server_in_a_row_stop_the_work_and_four_do_not(server):
    crash = ["500"] * 3
    server.script(*crash * 4, "ok", *crash * 4)
    with chat_of(server) as chat:
        statuses = [reply.status for reply in ask_all(chat, questions(10))]
    assert statuses.count(Status.SERVER_ERROR) == 8 and statuses.count(Status.OK) == 2
    server.script(*crash * 5)
    with chat_of(server) as chat, pytest.raises(AffinageError, match="stopped after 0 of 10"):
        ask_all(chat, questions(10))


def test_ctrl_c_lets_running_questions_end_and_keeps_them(server, tmp_path):
    server.delay_s = 0.3
    interrupt(server, questions_asked=3)
    with chat_of(server, tmp_path) as chat, pytest.raises(KeyboardInterrupt):
        ask_all(chat, questions(20), concurrency=2)
    assert 3 <= len(server.chats) < 10
    assert len(AnswerCache(tmp_path / "answers.jsonl")) == len(server.chats)


def test_a_second_ctrl_c_does_not_wait_for_the_model(server):
    server.script("slow")
    interrupt(server, questions_asked=1, times=2)
    started = time.monotonic()
    with chat_of(server) as chat, pytest.raises(KeyboardInterrupt):
        ask_all(chat, questions(3))
    assert time.monotonic() - started < server.slow_s - 1


def test_an_answer_that_cannot_be_kept_stops_the_work(server, tmp_path):
    (tmp_path / "folder").write_text("a file stands where the folder should be")
    with (
        chat_of(server, tmp_path / "folder") as chat,
        pytest.raises(AffinageError, match=r"answers\.jsonl: cannot be written"),
    ):
        ask_all(chat, questions(3))


def test_the_bar_counts_what_was_known_already(server, tmp_path, capfd):
    with chat_of(server, tmp_path) as chat:
        ask_all(chat, questions(3))
        ask_all(chat, questions(5), title="label")
    assert "label: 100%" in capfd.readouterr().err
    assert asked(server) == [f"question {i}" for i in range(5)]
