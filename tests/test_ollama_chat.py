"""Every way a question to an Ollama server can end has its name, and none of them raises."""

import json
import runpy
import socket
import threading
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from affinage.answer_cache import AnswerCache
from affinage.errors import AffinageError
from affinage.ollama_chat import Chat, Options
from affinage.ollama_replies import OF_THE_SERVER, Reply, Status

OllamaServer = runpy.run_path(str(Path(__file__).with_name("ollama_server.py")))["OllamaServer"]
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
    "additionalProperties": False,
}
ASKED = [{"role": "user", "content": "Quel thème ?"}]


@pytest.fixture
def server():
    with OllamaServer() as server:
        yield server


@pytest.fixture
def chat(server):
    with Chat(server.url, "llama3.1:8b", backoff_s=0.01, timeout_s=0.5) as chat:
        yield chat


def test_a_valid_answer_is_parsed_and_the_request_says_all_that_ollama_would_otherwise_choose(server, chat):
    reply = chat.ask(ASKED, SCHEMA)
    assert reply.ok and reply.value == {"label": "texte"} and reply.attempts == ("ok",)
    assert reply.prompt_tokens > 0 and reply.answer_tokens > 0 and not reply.cached
    [sent] = server.chats
    assert sent == {
        "model": "llama3.1:8b",
        "messages": ASKED,
        "format": SCHEMA,
        "stream": False,
        "think": False,
        "truncate": False,
        "keep_alive": "15m",
        "options": {
            "temperature": 0.0,
            "seed": 123,
            "num_ctx": 8192,
            "num_predict": 1024,
            "top_k": 1,
            "top_p": 1.0,
            "repeat_penalty": 1.0,
        },
    }


def test_above_temperature_0_more_than_the_likeliest_token_counts():
    assert {"temperature": 0.8, "top_k": 40, "top_p": 0.9}.items() <= Options(temperature=0.8).sent().items()


@pytest.mark.parametrize("wrong", [{"num_ctxt": 1}, {"seed": "7"}, {"temperature": 3}, {"num_predict": -1}])
def test_an_option_that_ollama_would_ignore_or_misread_is_refused(wrong):
    with pytest.raises(ValidationError):
        Options(**wrong)


# The fault of every attempt, the status, how often the question was sent, and a word of the explanation.
ENDS = [
    (["404"], Status.MODEL_MISSING, 1, "not found"),
    (["400"], Status.BAD_REQUEST, 1, "invalid JSON schema"),
    (["overflow"], Status.OVERFLOW, 1, "longer than the context"),
    (["overflow object"], Status.OVERFLOW, 1, "602 tokens"),
    (["context shifted"], Status.OVERFLOW, 1, "8193 tokens in a context of 8192"),
    (["503"] * 6, Status.BUSY, 6, "server busy"),
    (["500"] * 3, Status.SERVER_ERROR, 3, "unexpectedly stopped"),
    (["499"] * 3, Status.SERVER_ERROR, 3, "canceled"),
    (["html"] * 3, Status.SERVER_ERROR, 3, "proxy"),
    (["error with 200"] * 3, Status.SERVER_ERROR, 3, "unexpected EOF"),
    (["cut"] * 6, Status.UNREACHABLE, 6, "disconnected"),
    (["half"] * 6, Status.UNREACHABLE, 6, "closed"),
    (["length"] * 3, Status.LENGTH, 3, "cut after"),
    (["not done"] * 3, Status.NOT_DONE, 3, "done is False"),
    (["done missing"] * 3, Status.NOT_DONE, 3, "done is None"),
    (["load"] * 3, Status.NOT_DONE, 3, "load"),
    (["empty"] * 3, Status.EMPTY, 3, "nothing"),
    (["broken json"] * 3, Status.BROKEN_JSON, 3, "JSONDecodeError"),
    (["nan"] * 3, Status.BROKEN_JSON, 3, "NaN"),
    (["half a surrogate"] * 3, Status.BROKEN_JSON, 3, "surrogate"),
    (["deep"] * 3, Status.BROKEN_JSON, 3, "Error"),
    (["wrong type"] * 3, Status.WRONG_TYPE, 3, "label: 7 is not"),
    (["refusal"], Status.REFUSED, 1, ""),
    (["english refusal"], Status.REFUSED, 1, ""),
]


@pytest.mark.parametrize(("faults", "status", "sent", "words"), ENDS, ids=[f"{f[0]}" for f, *_ in ENDS])
def test_every_bad_end_has_its_name_and_leaves_no_value(server, chat, faults, status, sent, words):
    server.script(*faults)
    reply = chat.ask(ASKED, SCHEMA)
    assert reply.status is status and reply.value is None and not reply.ok
    assert len(server.chats) == sent and not server.faults
    assert words in reply.detail


def test_a_server_that_does_not_answer_in_time_is_a_timeout_asked_three_times(server):
    server.slow_s = 0.4
    server.script("slow", "slow", "slow")
    with Chat(server.url, "llama3.1:8b", backoff_s=0.01, timeout_s=0.1) as chat:
        assert chat.ask(ASKED, SCHEMA).status is Status.TIMEOUT
    assert len(server.chats) == 3


@pytest.mark.parametrize(
    "faults", [["503"], ["500", "500"], ["cut", "503", "cut"], ["slow"], ["half"], ["length"], ["broken json"] * 2]
)
def test_a_passing_fault_ends_in_an_answer(server, chat, faults):
    server.script(*faults)
    assert chat.ask(ASKED, SCHEMA).value == {"label": "texte"}
    assert len(server.chats) == len(faults) + 1


def test_a_server_that_dies_and_comes_back_is_waited_for(server):
    server.script("die")
    threading.Timer(0.2, server.start).start()
    with Chat(server.url, "llama3.1:8b", backoff_s=0.05) as chat:
        assert chat.ask(ASKED, SCHEMA).ok


def test_retries_wait_longer_each_time(server, chat):
    chat.backoff_s = 0.05
    server.script("503", "503", "503")
    started = time.monotonic()
    assert chat.ask(ASKED, SCHEMA).ok
    assert time.monotonic() - started >= 0.05 + 0.1 + 0.2


def test_a_cut_answer_gets_twice_the_length_but_never_more_than_the_context(server, chat):
    server.script("length", "length", "length")
    reply = chat.ask(ASKED, SCHEMA, Options(num_ctx=1024, num_predict=400))
    assert [sent["options"]["num_predict"] for sent in server.chats] == [400, 800, 1024]
    assert reply.attempts == ("length",) * 3
    server.script("length")
    chat.ask(ASKED, SCHEMA, Options(num_ctx=512, num_predict=512))
    assert len(server.chats) == 4


def test_an_answer_that_is_not_valid_is_asked_for_with_another_seed_and_a_little_temperature(server, chat):
    server.script("broken json", "wrong type")
    reply = chat.ask(ASKED, SCHEMA)
    drawn = [(sent["options"]["seed"], sent["options"]["temperature"]) for sent in server.chats]
    assert drawn == [(123, 0.0), (124, 0.2), (125, 0.2)]
    assert reply.ok and reply.attempts == ("broken_json", "wrong_type", "ok")


def test_without_a_schema_the_value_is_the_text_itself(server, chat):
    assert chat.ask(ASKED).value == "Quel thème ?"
    assert "format" not in server.chats[0]


@pytest.mark.parametrize(
    ("content", "schema", "ok"),
    [
        ("3", {"type": "integer", "minimum": 0, "maximum": 100}, True),
        ("101", {"type": "integer", "minimum": 0, "maximum": 100}, False),
        ("true", {"type": "integer"}, False),
        ('"3"', {"type": "integer"}, False),
        ('{"a": 1, "a": 2} x', {"type": "object"}, False),
        (' {"a": 1}\n', {"type": "object"}, True),
        ('```json\n{"a": 1}\n```', {"type": "object"}, False),
    ],
)
def test_json_counts_only_when_it_is_exactly_what_the_schema_asks_for(server, chat, content, schema, ok):
    server.responder = lambda messages, asked: content
    assert chat.ask(ASKED, schema).ok is ok


def test_half_a_surrogate_pair_in_the_data_is_sent_like_any_text(server, chat):
    assert chat.ask([{"role": "user", "content": "\ud83d accolade {x}"}], SCHEMA).ok


def test_a_prompt_longer_than_the_context_is_an_overflow_and_never_cut(server, chat):
    reply = chat.ask([{"role": "user", "content": "mot " * 300}], SCHEMA, Options(num_ctx=256))
    assert reply.status is Status.OVERFLOW and len(server.chats) == 1


def test_answers_of_the_model_are_cached_and_faults_of_the_server_are_not(server, tmp_path):
    with Chat(server.url, "llama3.1:8b", cache=AnswerCache(tmp_path / "a.jsonl"), backoff_s=0.001) as chat:
        chat.preflight()
        server.script("refusal", *["503"] * 6)
        first, again = chat.ask(ASKED, SCHEMA), chat.ask(ASKED, SCHEMA)
        assert first.status is Status.REFUSED and not first.cached and again.cached
        other = [{"role": "user", "content": "autre"}]
        assert chat.ask(other, SCHEMA).status is Status.BUSY
        assert chat.ask(other, SCHEMA).ok
    assert len(server.chats) == 1 + 6 + 1
    assert Status.BUSY in OF_THE_SERVER and Status.REFUSED not in OF_THE_SERVER


def test_a_cached_reply_is_the_reply_itself(server, tmp_path):
    server.script("length")
    for cached in (False, True):
        with Chat(server.url, "llama3.1:8b", cache=AnswerCache(tmp_path / "a.jsonl")) as chat:
            chat.preflight()
            reply = chat.ask(ASKED, SCHEMA)
        assert reply.cached is cached
        assert reply.value == {"label": "texte"} and reply.attempts == ("length", "ok") and reply.status is Status.OK
        assert isinstance(reply, Reply) and isinstance(reply.status, Status)


def test_the_key_covers_everything_that_decides_an_answer(server):
    chats = [Chat(server.url, "llama3.1:8b"), Chat(server.url, "llama3.1:8b", think="low"), Chat(server.url, "other")]
    keys = {chat.key_of(ASKED, SCHEMA) for chat in chats}
    keys |= {chats[0].key_of([*ASKED, *ASKED], SCHEMA), chats[0].key_of(ASKED), chats[0].key_of(ASKED, {})}
    keys |= {chats[0].key_of(ASKED, SCHEMA, Options(**{name: 1})) for name in ("seed", "temperature", "num_predict")}
    chats[0].preflight()
    keys.add(chats[0].key_of(ASKED, SCHEMA))
    server.models["llama3.1:8b"] = "ff" * 32
    chats[0].preflight()
    keys.add(chats[0].key_of(ASKED, SCHEMA))
    assert len(keys) == 3 + 3 + 3 + 2
    assert chats[0].key_of(ASKED, SCHEMA) == chats[0].key_of(ASKED, dict(reversed(SCHEMA.items())), Options())


def test_preflight_loads_the_model_and_leaving_the_block_frees_it(server):
    with Chat(server.url, "llama3.1:8b", Options(num_ctx=4096)) as chat:
        assert chat.preflight().context_length == 131072
    loads = [body for path, body in server.others if path == "/api/chat"]
    assert [body["keep_alive"] for body in loads] == ["15m", 0]
    assert loads[0]["options"] == Options(num_ctx=4096).sent() and all(body["messages"] == [] for body in loads)
    assert server.chats == []


def test_a_context_beyond_the_model_s_own_fails_before_the_first_question(server):
    server.context_length = 4096
    with Chat(server.url, "llama3.1:8b") as chat, pytest.raises(AffinageError, match=r"8192 tokens.*4096"):
        chat.preflight()


def test_a_model_that_cannot_be_loaded_fails_before_the_first_question(server):
    server.script("load 500", "load 500", "load 500")
    with (
        Chat(server.url, "llama3.1:8b", backoff_s=0.01) as chat,
        pytest.raises(AffinageError, match=r"cannot be loaded: HTTP 500.*num_ctx"),
    ):
        chat.preflight()


def test_leaving_the_block_is_quick_when_the_server_is_gone(server):
    with Chat(server.url, "llama3.1:8b") as chat:
        chat.preflight()
        server.stop()
        started = time.monotonic()
    assert time.monotonic() - started < 2
    assert chat.ask(ASKED).status is Status.UNREACHABLE


def test_nobody_at_the_address_is_unreachable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with Chat(f"127.0.0.1:{taken.getsockname()[1]}", "m", backoff_s=0.001) as chat:
            reply = chat.ask(ASKED, SCHEMA)
    assert reply.status is Status.UNREACHABLE and "ConnectError" in reply.detail


def test_the_answer_written_to_the_cache_is_json_without_python_in_it(server, tmp_path):
    with Chat(server.url, "llama3.1:8b", cache=AnswerCache(tmp_path / "a.jsonl")) as chat:
        chat.preflight()
        chat.ask(ASKED, SCHEMA)
    entry = json.loads((tmp_path / "a.jsonl").read_text())
    assert entry["answer"]["status"] == "ok" and entry["answer"]["value"] == {"label": "texte"}


def test_a_cache_is_of_no_use_before_the_weights_are_known(server, tmp_path):
    with (
        Chat(server.url, "llama3.1:8b", cache=AnswerCache(tmp_path / "a.jsonl")) as chat,
        pytest.raises(RuntimeError, match="preflight"),
    ):
        chat.ask(ASKED, SCHEMA)
