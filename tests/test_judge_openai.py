"""A judge behind an endpoint of OpenAI's kind, over a real socket."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from affinage.answer_cache import AnswerCache
from affinage.errors import AffinageError
from affinage.judging.demo_rules import judged_by_rules
from affinage.judging.forms import Case, form_of
from affinage.judging.openai_chat import OpenAIChat
from affinage.judging.run import Judging, judge
from affinage.judging.settings import Endpoint, JudgeSettings
from affinage.ollama_batch import ask_all
from affinage.scoring import Suite, read_predictions

FORM = form_of(JudgeSettings(), "score")
QUESTION = FORM.question(Case("Recopie.", "", "le chat"), ["le chat"])


class Server:
    """/v1/models and /v1/chat/completions; `faults` are (HTTP status, body) or a finish_reason, one per question."""

    def __init__(self):
        self.asked, self.keys, self.faults = [], [], []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def do_GET(self):
                server.keys.append(self.headers.get("authorization"))
                allowed = self.headers.get("authorization") != "Bearer wrong"
                self.answer(200 if allowed else 401, {"data": [{"id": "judge"}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                assert self.path == "/v1/chat/completions"
                server.asked.append(body)
                fault = server.faults.pop(0) if server.faults else "stop"
                if isinstance(fault, tuple):
                    return self.answer(*fault)
                value = judged_by_rules(body["messages"], body["response_format"]["json_schema"]["schema"])
                message = {"role": "assistant", "content": json.dumps(value)}
                usage = {"prompt_tokens": 50, "completion_tokens": 9}
                return self.answer(200, {"choices": [{"message": message, "finish_reason": fault}], "usage": usage})

            def answer(self, status, body):
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def chat_of(server, **options):
    return OpenAIChat(server.url, options.pop("model", "judge"), backoff_s=0.001, **options)


def test_it_answers_under_the_schema_and_is_kept(server, tmp_path):
    with chat_of(server, cache=AnswerCache(tmp_path / "answers.jsonl")) as chat:
        chat.preflight()
        replies = ask_all(chat, [QUESTION, QUESTION])
    assert [FORM.read(reply)["score"] for reply in replies] == [100, 100]
    (body,) = server.asked[:1]
    assert body["temperature"] == 0 and body["seed"] == 123 and body["response_format"]["json_schema"]["strict"]
    with chat_of(server, cache=AnswerCache(tmp_path / "answers.jsonl")) as chat:
        chat.preflight()
        server.asked.clear()
        assert ask_all(chat, [QUESTION])[0].cached and server.asked == []


def test_a_whole_run_can_be_judged_by_it(server, tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": f"r{i}", "reference": f"le chat {i}", "base": "non", "tuned": f"le chat {i}"}) + "\n"
            for i in range(6)
        )
    )
    settings = JudgeSettings(endpoint=Endpoint(kind="openai", url=server.url), stability=0)
    with chat_of(server, cache=AnswerCache(tmp_path / "answers.jsonl")) as chat:
        chat.preflight()
        found = judge(chat, Judging(read_predictions(path), Suite(), settings, FORM))
    assert found.summary["coverage"] == 1 and found.summary["systems"]["tuned"]["mean"]["value"] == 100
    assert found.summary["judge"] | {"endpoint": "openai", "name": "judge"} == found.summary["judge"]


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("length", "length"),
        ("content_filter", "not_done"),
        ((400, {"error": {"message": "This model's maximum context length is 2048 tokens"}}), "overflow"),
        ((429, {"error": {"message": "rate limit"}}), "busy"),
        ((500, {"error": {"message": "oops"}}), "server_error"),
        ((404, {"error": {"message": "model not found"}}), "model_missing"),
        ((200, {"choices": []}), "not_done"),
        ((200, {"choices": "no list", "usage": 7}), "not_done"),
    ],
)
def test_each_fault_has_the_status_it_has_with_ollama(server, fault, status):
    server.faults = [fault] * 6
    with chat_of(server) as chat:
        chat.preflight()
        reply = chat.ask(QUESTION.messages, QUESTION.schema)
    assert reply.status == status and reply.value is None


def test_the_key_comes_from_the_environment_and_from_nowhere_else(server, monkeypatch):
    monkeypatch.setenv("OLLAMA_API_KEY", "of-another-server")
    monkeypatch.setenv("JUDGE_KEY", "secret")
    chat_of(server).preflight()
    chat_of(server, api_key_env="JUDGE_KEY").preflight()
    assert server.keys == [None, "Bearer secret"]
    monkeypatch.setenv("JUDGE_KEY", "wrong")
    with pytest.raises(AffinageError, match="refuses the key") as error:
        chat_of(server, api_key_env="JUDGE_KEY").preflight()
    assert "wrong" not in str(error.value)
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(AffinageError, match="JUDGE_KEY: is not set"):
        chat_of(server, api_key_env="JUDGE_KEY")


def test_a_missing_model_and_a_missing_server_are_said_before_the_first_question(server):
    with pytest.raises(AffinageError, match=r"model other.*Allowed: judge"):
        chat_of(server, model="other").preflight()
    with pytest.raises(AffinageError, match="no server answers there"):
        OpenAIChat("http://127.0.0.1:1/v1", "judge").preflight()
