"""An endpoint that speaks OpenAI's API for tests: what it answers, how slowly, and where it breaks is scripted."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Responder = Callable[[list[dict[str, str]]], str]


class Endpoint:
    """Serves one model on 127.0.0.1 until the `with` block ends.

    `responder(messages)` gives an answer, sent word by word with `pause_s` before each. An answer that holds the sign
    BREAK is cut off there, as by a server that dies; one that begins with LENGTH says that it was cut at the limit.
    """

    BREAK, LENGTH = "\x00", "\x01"

    def __init__(self, responder: Responder, model: str = "scripted") -> None:
        self.responder, self.model, self.pause_s = responder, model, 0.0
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.sent = 0  # words, of all answers
        self.refuses_key = False

    def __enter__(self) -> "Endpoint":
        handler = type("Handler", (_Handler,), {"endpoint": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    endpoint: Endpoint

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._json(200, {"object": "list", "data": [{"id": self.endpoint.model, "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.endpoint.asked.append(body)
        answer = self.endpoint.responder(body["messages"])
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            self._stream(answer)
        except OSError:  # the client hung up
            self.close_connection = True

    def _json(self, status: int, content: Any) -> None:
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        self.endpoint.keys.add(key)
        if self.endpoint.refuses_key:
            status, content = 401, {"error": {"message": f"Incorrect API key provided: {key}"}}
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, answer: str) -> None:
        reason = "length" if answer.startswith(Endpoint.LENGTH) else "stop"
        for word in _words(answer.removeprefix(Endpoint.LENGTH)):
            if word == Endpoint.BREAK:
                return
            time.sleep(self.endpoint.pause_s)
            self._event({"delta": {"content": word}, "index": 0, "finish_reason": None})
            self.endpoint.sent += 1
        self._event({"delta": {}, "index": 0, "finish_reason": reason})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, choice: dict[str, Any]) -> None:
        head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": self.endpoint.model}
        self.wfile.write(f"data: {json.dumps({**head, 'choices': [choice]})}\n\n".encode())
        self.wfile.flush()


def _words(text: str) -> Iterator[str]:
    before, mark, _ = text.partition(Endpoint.BREAK)
    yield from (f"{word} " for word in before.split(" ") if word)
    if mark:
        yield mark
