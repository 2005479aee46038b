"""A small Ollama server for tests, over real HTTP: scripted faults, and answers from a function instead of a model.

python tests/ollama_server.py --port 11435 [--rules archives-demo]
"""

import argparse
import contextlib
import json
import runpy
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Responder = Callable[[list[dict[str, str]], Mapping[str, Any] | None], Any]

faults = runpy.run_path(str(Path(__file__).with_name("ollama_faults.py")))
FAULTS, LONGER = faults["FAULTS"], faults["LONGER"]


def smallest_answer(messages: list[dict[str, str]], schema: Mapping[str, Any] | None) -> Any:
    """The plainest value that a schema allows; without one, the last message."""
    if schema is None:
        return messages[-1]["content"]
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: smallest_answer(messages, part) for name, part in schema.get("properties", {}).items()}
    plain = {"array": [], "integer": schema.get("minimum", 0), "number": schema.get("minimum", 0.0), "boolean": True}
    return plain.get(schema.get("type", ""), "texte")


class OllamaServer:
    """Serves one or more models on 127.0.0.1 until the `with` block ends.

    `responder(messages, schema)` gives the content of an answer, as a text or as a value to be written as JSON. A
    fault given to `script` decides how the next question ends instead; besides FAULTS there are "slow" (answers after
    `slow_s`), "cut" (drops the connection), "half" (drops it in the middle of an answer) and "die" (stops the server).
    """

    def __init__(
        self,
        responder: Responder = smallest_answer,
        *,
        models: tuple[str, ...] = ("llama3.1:8b",),
        version: str = "0.32.15",
        port: int = 0,
        delay_s: float = 0.0,
        slow_s: float = 5.0,
        slots: int = 1000,
    ) -> None:
        self.responder, self.version, self.delay_s, self.slow_s = responder, version, delay_s, slow_s
        self.slots = threading.BoundedSemaphore(slots)  # further questions wait, as with OLLAMA_NUM_PARALLEL
        self.models = {name: f"{number:02d}" + "ab" * 31 for number, name in enumerate(models)}
        self.context_length, self.capabilities = 131072, ["completion", "tools"]
        self.tokens: dict[str, int] = {"Bonjour": 1, "<|eot_id|>": 3}  # the vocabulary, with the types of GGUF
        self.template = "{{ .Prompt }}<|eot_id|>"
        self.chats: list[dict[str, Any]] = []  # every question asked, faults included
        self.others: list[tuple[str, dict[str, Any]]] = []  # loads, unloads, pulls and shows
        self.headers: list[dict[str, str]] = []
        self.active = self.most_active = 0
        self.lock = threading.Lock()
        self.faults: deque[str] = deque()
        self.pull_lines: list[dict[str, Any]] | None = None
        self.port = port
        self.connections: set[socket.socket] = set()
        self.http: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, *faults: str) -> None:
        """How the next questions end, one fault each; "ok" answers as usual."""
        self.faults.extend(faults)

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"ollama": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stops listening and drops every open connection, as a killed server does; `start` brings it back."""
        http, self.http = self.http, None
        if http is None:
            return
        http.shutdown()
        http.server_close()
        for connection in list(self.connections):
            _drop(connection)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Inside, one question more is being answered."""
        with self.lock:
            self.active += 1
            self.most_active = max(self.most_active, self.active)
        try:
            yield
        finally:
            with self.lock:
                self.active -= 1

    def __enter__(self) -> "OllamaServer":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def _drop(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer takes 40 ms
    ollama: OllamaServer

    def setup(self) -> None:
        super().setup()
        self.ollama.connections.add(self.connection)

    def finish(self) -> None:
        self.ollama.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.ollama
        models = [{"name": name, "model": name, "digest": digest} for name, digest in server.models.items()]
        answers = {
            "/api/version": {"version": server.version},
            "/api/tags": {"models": models},
            "/api/ps": {"models": models},
        }
        self._json(200, answers[self.path]) if self.path in answers else self._json(404, {"error": "not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.ollama.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.path == "/api/chat" and body.get("messages"):
            with self.ollama.lock:
                self.ollama.chats.append(body)
                fault = self.ollama.faults.popleft() if self.ollama.faults else "ok"
            with self.ollama.slots, self.ollama.counted():
                self._chat(body, fault)
            return
        self.ollama.others.append((self.path, body))
        calls = {"/api/show": self._show, "/api/pull": self._pull, "/api/chat": self._load}
        calls[self.path](body) if self.path in calls else self._json(404, {"error": "not found"})

    def _chat(self, body: dict[str, Any], fault: str) -> None:
        known = FAULTS.get(fault)
        time.sleep(self.ollama.slow_s if fault == "slow" else self.ollama.delay_s)
        if fault in ("cut", "die"):
            self._break(fault)
        elif isinstance(known, tuple):
            self._json(*known)
        elif body["model"] not in self.ollama.models:
            self._json(404, {"error": f"model '{body['model']}' not found"})
        elif self._too_long(body):
            self._json(400, {"error": LONGER})
        elif body.get("stream", True):
            self._send(200, _stream(self._answer(body, known or {})))
        else:
            self._json(200, self._answer(body, known or {}), half=fault == "half")

    def _answer(self, body: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        content = changes.get("content")
        if content is None:
            content = self.ollama.responder(body["messages"], body.get("format"))
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        answer = {
            "model": body["model"],
            "created_at": "2026-11-01T10:00:00Z",
            "message": {"role": "assistant", "content": text},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": _tokens(body),
            "eval_count": len(text) // 4 + 1,
            "total_duration": 1_000_000,
        } | {key: value for key, value in changes.items() if key != "content"}
        return {key: value for key, value in answer.items() if value is not None}

    def _too_long(self, body: dict[str, Any]) -> bool:
        return not body.get("truncate", True) and _tokens(body) > body.get("options", {}).get("num_ctx", 4096)

    def _load(self, body: dict[str, Any]) -> None:
        if self.ollama.faults and self.ollama.faults[0].startswith("load "):
            return self._json(*FAULTS[self.ollama.faults.popleft().removeprefix("load ")])
        reason = "unload" if body.get("keep_alive") == 0 else "load"
        self._json(200, {"model": body["model"], "message": {"content": ""}, "done": True, "done_reason": reason})

    def _show(self, body: dict[str, Any]) -> None:
        details = {"parameter_size": "8.0B", "quantization_level": "Q4_K_M", "family": "llama"}
        info: dict[str, Any] = {"general.architecture": "llama", "llama.context_length": self.ollama.context_length}
        lists = {"tokens": list(self.ollama.tokens), "token_type": list(self.ollama.tokens.values())}
        for name, content in lists.items():  # without `verbose` a real server leaves long lists out
            info[f"tokenizer.ggml.{name}"] = content if body.get("verbose") else None
        shown = {"details": details, "model_info": info, "template": self.ollama.template}
        self._json(200, shown | {"capabilities": self.ollama.capabilities})

    def _pull(self, body: dict[str, Any]) -> None:
        """Lines of progress; a failure is a line with `error` under HTTP 200."""
        lines = self.ollama.pull_lines
        if lines is None:
            layer = {"status": "pulling aabb", "digest": "sha256:aabb", "total": 2000}
            lines = [{"status": "pulling manifest"}, layer, {**layer, "completed": 2000}, {"status": "success"}]
        if lines[-1].get("status") == "success":
            name = body["model"]
            self.ollama.models[name if ":" in name else f"{name}:latest"] = "cd" * 32
        self._send(200, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def _json(self, status: int, content: Any, half: bool = False) -> None:
        self._send(status, (content if isinstance(content, str) else json.dumps(content)).encode(), half)

    def _send(self, status: int, body: bytes, half: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self._break("cut")

    def _break(self, how: str) -> None:
        self.close_connection = True
        if how == "die":
            self.ollama.stop()
        _drop(self.connection)


def _stream(answer: dict[str, Any]) -> bytes:
    """The answer as lines of JSON: its text in two pieces, then everything else."""
    text = answer["message"]["content"]
    pieces = [{"message": {"role": "assistant", "content": piece}, "done": False} for piece in (text[:4], text[4:])]
    last = {**answer, "message": {"role": "assistant", "content": ""}}
    return "".join(json.dumps(line) + "\n" for line in [*pieces, last]).encode()


def _tokens(body: dict[str, Any]) -> int:
    return sum(len(message["content"]) for message in body["messages"]) // 4 + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=11435)
    parser.add_argument("--model", default="llama3.1:8b")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument("--slots", type=int, default=1000, help="questions that are answered at a time; others wait")
    parser.add_argument("--rules", choices=("archives-demo",), help="answer as a careful reader of that dataset")
    arguments = parser.parse_args()
    responder: Responder = smallest_answer
    if arguments.rules:
        from affinage.archives_demo.careful_reader import CarefulReader

        responder = CarefulReader()
    models = (arguments.model,)
    options = {"port": arguments.port, "delay_s": arguments.delay, "slots": arguments.slots}
    with OllamaServer(responder, models=models, **options) as server:
        print(f"OLLAMA_HOST={server.url}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
