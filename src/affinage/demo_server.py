"""A server on this machine that answers as Ollama does, with rules in the place of a model: for demonstrations."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Rules = Callable[[Sequence[Mapping[str, str]], Mapping[str, Any] | None], Any]


def digest_of(model: str) -> str:
    """What stands in the place of a model's digest: the same for the same name of a demo."""
    return hashlib.sha256(model.encode()).hexdigest()


def is_demo(model: str, digest: str) -> bool:
    """Whether a model is one that a `DemoServer` serves."""
    return digest == digest_of(model)


class DemoServer:
    """Serves one model on 127.0.0.1, at a free port, until the `with` block ends.

    `rules(messages, schema)` gives the content of an answer, a value that is sent as JSON.
    """

    def __init__(self, model: str, rules: Rules) -> None:
        self.model = model
        handler = type("Handler", (_Handler,), {"model": model, "rules": staticmethod(rules)})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer takes 40 ms
    model: str
    rules: Rules

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        models = [{"name": self.model, "model": self.model, "digest": digest_of(self.model)}]
        answers: dict[str, dict[str, Any]] = {"/api/version": {"version": "0.0.0"}, "/api/tags": {"models": models}}
        self._send(answers.get(self.path))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/api/show":
            self._send({"details": {"family": "rules"}, "model_info": {}, "capabilities": ["completion"]})
        elif self.path == "/api/chat":
            self._send(self._chat(body))
        else:
            self._send(None)

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a question; without messages, as when a model is loaded or freed, an empty one."""
        asked = body.get("messages")
        content = json.dumps(self.rules(asked, body.get("format")), ensure_ascii=False) if asked else ""
        message = {"role": "assistant", "content": content}
        reason = "stop" if asked else "load"
        tokens = sum(len(one["content"]) for one in asked) // 4 if asked else 0
        counts = {"prompt_eval_count": tokens, "eval_count": 1}
        return {"model": body["model"], "message": message, "done": True, "done_reason": reason, **counts}

    def _send(self, answer: dict[str, Any] | None) -> None:
        content = json.dumps(answer or {"error": "not found"}).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
