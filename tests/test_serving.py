"""The run's model over HTTP, asked by OpenAI's own client through a real socket."""

import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest
import uvicorn

from affinage.answering import Answerer
from affinage.errors import AffinageError
from affinage.serving import LARGEST_REQUEST, create_app, open_socket

pytestmark = pytest.mark.slow  # a run is trained first

SCRIPT = Path(__file__).parent.parent / "tools" / "serve.py"
make = runpy.run_path(str(Path(__file__).with_name("talking_models.py")))
TEMPLATE = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model, sentences):
    folder = tmp_path_factory.mktemp("served")
    return make["train_run"](folder, tiny_model("llama", "bos"), sentences(24), TEMPLATE)


@contextmanager
def served(answerer, **options):
    with open_socket("127.0.0.1", 0) as listening:
        config = uvicorn.Config(create_app(answerer, **options), log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def answerer(run):
    return Answerer.of_run(run)


@pytest.fixture(scope="module")
def url(answerer):
    with served(answerer) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=60) as client:
        yield client


def messages(record):
    return [
        {"role": "system", "content": record["instruction"]},
        {"role": "user", "content": [{"type": "text", "text": record["input"]}]},
    ]


def streamed(chunks):
    """The text of a stream, its finish reason and its usage."""
    text, reason, usage = "", None, None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += (choice.delta.content if hasattr(choice, "delta") else choice.text) or ""
            reason = choice.finish_reason or reason
    return text, reason, usage


def test_base_and_tuned_answer_as_the_predictions_say_in_every_form(client, run):
    """By chat and by raw prompt, whole and streamed; base and tuned are not the same."""
    records = make["predictions"](run)[:4]
    usage = {"include_usage": True}
    for record in records:
        for side in ("base", "tuned"):
            expected = (record[side], "length" if record[f"{side}_stop"] == "length" else "stop")
            chat = client.chat.completions.create(model=side, messages=messages(record))
            raw = client.completions.create(model=side, prompt=record["prompt"])
            assert (chat.choices[0].message.content, chat.choices[0].finish_reason) == expected
            assert (raw.choices[0].text, raw.choices[0].finish_reason) == expected
            assert chat.usage == raw.usage
            assert chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens
            pieces = client.chat.completions.create(
                model=side, messages=messages(record), stream=True, stream_options=usage
            )
            assert streamed(pieces) == (*expected, chat.usage)
            pieces = client.completions.create(model=side, prompt=record["prompt"], stream=True)
            assert streamed(pieces) == (*expected, None)
    assert any(record["base"] != record["tuned"] for record in records)


def test_the_models_are_base_and_tuned(client):
    assert [model.id for model in client.models.list()] == ["base", "tuned"]
    assert client.models.retrieve("tuned").owned_by == "affinage"


def test_lengths_stops_seeds_and_temperatures_do_what_they_say(client, answerer):
    def ask(**options):
        return client.completions.create(model="tuned", prompt="le chat", **options).choices[0]

    plain = ask(max_tokens=12)
    assert ask(max_tokens=12, temperature=0, top_p=1).text == plain.text
    short = client.chat.completions.create(
        model="tuned", messages=[{"role": "user", "content": "le"}], max_completion_tokens=3
    )
    assert short.usage.completion_tokens <= 3
    stop = plain.text[2:4]
    stopped = ask(max_tokens=12, stop=stop)
    assert (stopped.text, stopped.finish_reason) == (plain.text.partition(stop)[0], "stop")
    drawn = [ask(temperature=1.5, seed=seed).text for seed in (5, 5, 6)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_an_earlier_turn_is_part_of_the_prompt(client, answerer):
    talk = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
    count = client.chat.completions.create(model="base", messages=talk, max_tokens=1).usage.prompt_tokens
    alone = client.chat.completions.create(model="base", messages=talk[:1], max_tokens=1).usage.prompt_tokens
    assert count > 2 * alone - 2
    prompt = "### Instruction:\nuser\n\n### Input:\n\n\n### Response:\n"
    assert count == len(answerer.encode(f"{prompt}assistant</s>{prompt}"))


TALK = [{"role": "user", "content": "le"}]


@pytest.mark.parametrize(
    ("error", "param", "options"),
    [
        (openai.NotFoundError, "model", {"model": "gpt-4o"}),
        (openai.BadRequestError, "temperature", {"temperature": -1}),
        (openai.BadRequestError, "top_p", {"top_p": 0}),
        (openai.BadRequestError, "max_tokens", {"max_tokens": 0}),
        (openai.BadRequestError, "n", {"n": 2}),
        (openai.BadRequestError, "frequency_penalty", {"frequency_penalty": 0.5}),
        (openai.BadRequestError, "logprobs", {"logprobs": True}),
        (openai.BadRequestError, "tools", {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        (openai.BadRequestError, "response_format.type", {"response_format": {"type": "json_object"}}),
        (openai.BadRequestError, "messages", {"messages": []}),
        (openai.BadRequestError, "messages", {"messages": [*TALK, {"role": "assistant", "content": "la"}]}),
        (openai.BadRequestError, "messages.0.role", {"messages": [{"role": "tool", "content": "la"}]}),
        (
            openai.BadRequestError,
            "messages.0.content",
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        ),
        (openai.BadRequestError, "messages", {"messages": [{"role": "user", "content": "le " * 400}]}),
        (openai.BadRequestError, "stop", {"stop": [""]}),
        (openai.BadRequestError, "seed", {"seed": "one"}),
        (openai.BadRequestError, "unknown_option", {"extra_body": {"unknown_option": 1}}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_wrong_is_refused_in_openais_form_before_a_stream_begins(client, error, param, options, stream):
    with pytest.raises(error) as raised:
        client.chat.completions.create(**({"model": "tuned", "messages": TALK, "stream": stream} | options))
    body = raised.value.body
    assert body["type"] == "invalid_request_error" and body["message"]
    assert body["param"].startswith(param)
    long = "le " * 400 in str(options)
    assert body["code"] == {"model": "model_not_found"}.get(param, "context_length_exceeded" if long else None)


@pytest.mark.parametrize(
    ("status", "content", "headers"),
    [
        (400, "{broken", {"content-type": "application/json"}),
        (400, "[]", {"content-type": "application/json"}),
        (400, '{"model": "tuned", "prompt": "\\ud83d"}', {"content-type": "application/json"}),
        (415, '{"model": "tuned", "prompt": "le"}', {"content-type": "text/plain"}),
        (413, '"' + "a" * LARGEST_REQUEST + '"', {"content-type": "application/json"}),
        (400, '{"model": "tuned", "prompt": "le"}', {"content-type": "application/json", "host": "evil.example.org"}),
    ],
)
def test_a_body_that_cannot_be_read_or_comes_from_elsewhere_is_refused(url, status, content, headers):
    reply = httpx.post(f"{url}/completions", content=content, headers=headers)
    assert reply.status_code == status
    if "host" not in headers:
        assert reply.json()["error"]["type"] == "invalid_request_error"


def test_an_address_that_is_not_there_is_an_error_in_openais_form(url):
    reply = httpx.get(f"{url}/embeddings")
    assert reply.status_code == 404 and "Not Found" in reply.json()["error"]["message"]


def test_other_hosts_are_answered_only_where_that_was_asked_for(answerer):
    with served(answerer, local_only=False) as url:
        assert httpx.get(f"{url}/models", headers={"host": "gpu.example.org"}).status_code == 200


def test_requests_wait_for_one_another_and_none_is_mixed_up(client, run):
    records = make["predictions"](run)[:6]

    def ask(record, side):
        return client.completions.create(model=side, prompt=record["prompt"]).choices[0].text

    asked = [(record, side) for record in records for side in ("base", "tuned")]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda one: ask(*one), asked))
    assert found == [record[side] for record, side in asked]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_hangs_up_ends_its_answer(answerer, monkeypatch, stream):
    """The model makes an endless answer; it is stopped, and the next client does not wait for its end."""
    made = []
    ask = answerer.ask

    def slowly(side, ids, settings, stops=(), seed=None):
        settings.min_new_tokens = settings.max_new_tokens
        made.append(ask(side, ids, settings, stops, seed))
        return made[-1]

    monkeypatch.setattr(answerer, "ask", slowly)
    body = {"model": "tuned", "prompt": "le", "stream": stream, "max_tokens": 200}
    content = json.dumps(body).encode()
    lines = ("POST /v1/completions HTTP/1.1", "host: localhost", "content-type: application/json")
    head = "\r\n".join((*lines, f"content-length: {len(content)}", "", ""))
    with served(answerer) as url:
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":")[-1].split("/")[0]))) as connection:
            connection.sendall(head.encode() + content)
            while not made or not made[0]._ids:
                time.sleep(0.01)
        while not made[0]._finished and not made[0]._cancelled.is_set():
            time.sleep(0.01)
        monkeypatch.undo()
        httpx.post(f"{url}/completions", json=body | {"stream": False, "max_tokens": 1}, timeout=60).raise_for_status()
    assert made[0]._cancelled.is_set() and len(made[0]._ids) < 200


def test_an_error_of_the_model_is_told_whole_and_in_the_middle_of_a_stream(answerer, monkeypatch):
    def fails(self, model):
        self._put(5)
        raise RuntimeError("out of memory")

    monkeypatch.setattr("affinage.answering.AnswerStream._run", fails)
    with served(answerer) as url, openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError, match="out of memory") as raised:
            client.completions.create(model="tuned", prompt="le")
        assert raised.value.body["type"] == "server_error"
        with pytest.raises(openai.APIError, match="out of memory"):
            list(client.completions.create(model="tuned", prompt="le", stream=True))
        monkeypatch.undo()
        assert client.completions.create(model="tuned", prompt="le").choices[0].finish_reason


def test_a_port_in_use_says_how_to_take_another():
    with open_socket("127.0.0.1", 0) as taken, pytest.raises(AffinageError, match=r"in use.*PORT=0"):
        open_socket("127.0.0.1", taken.getsockname()[1])


def test_the_script_serves_until_it_is_stopped(run):
    command = [sys.executable, str(SCRIPT), "--run", str(run.folder), "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as served:
        try:
            first = served.stdout.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+/v1", first).group()
            with openai.OpenAI(base_url=url, api_key="none", timeout=60) as client:
                record = make["predictions"](run)[0]
                chat = client.chat.completions.create(model="tuned", messages=messages(record))
            assert chat.choices[0].message.content == record["tuned"]
        finally:
            served.send_signal(signal.SIGINT)
            out, err = served.communicate(timeout=60)
    assert f"Next: curl {url}/models" in out and "warning" not in err and "Traceback" not in err
    assert served.returncode in (0, 130)


@pytest.mark.parametrize(
    ("options", "found"),
    [(["--port", "70000"], "0 to 65535"), (["--host", "192.0.2.1"], "cannot be listened on")],
)
def test_an_address_that_cannot_be_had_is_named(run, monkeypatch, tmp_path, options, found):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AffinageError, match=found):
        runpy.run_path(str(SCRIPT))["main"](["--run", str(run.folder), *options])
