"""The Ollama test server with what creating a model takes: blobs, /api/create and /api/generate, over real HTTP."""

import hashlib
import json
import re
import runpy
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
base = runpy.run_path(str(HERE / "ollama_server.py"))
go = runpy.run_path(str(HERE / "go_template.py"))
DISK_FULL = "write models/blobs/sha256-12: no space left on device"


class CreatingServer(base["OllamaServer"]):
    """Keeps the models that are created on it; `answers(prompt)` gives the text and the prompt's tokens.

    `failure` says how the next upload or creation goes wrong: "upload full" (HTTP 500), "upload cut" (the connection
    is dropped), "create refused" (HTTP 400), "create error" and "create full" (an error line in the middle), "create
    cut" and "create unended" (the stream ends early), "generate 500" and "generate unended".
    """

    def __init__(self, answers=None, **options):
        super().__init__(models=(), **options)
        self.answers, self.failure = answers, ""
        self.blobs, self.created, self.calls = {}, {}, []

    def start(self):
        handler = type("Handler", (_Handler,), {"ollama": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def fails(self, *ways):
        """Whether the next thing that goes wrong is one of these; it does so once."""
        if self.failure in ways:
            self.failure = ""
            return True
        return False


class _Handler(base["_Handler"]):
    def do_HEAD(self):
        self.ollama.calls.append(("HEAD", self.path))
        self._send(200 if self._digest() in self.ollama.blobs else 404, b"")

    def do_POST(self):
        if self.path.startswith("/api/blobs/"):
            return self._blob()
        if self.path not in ("/api/create", "/api/generate", "/api/chat"):
            return super().do_POST()
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.ollama.calls.append((self.path, body))
        self._create(body) if self.path == "/api/create" else self._answer_by_model(body)

    def _digest(self):
        return self.path.rpartition("/")[2]

    def _blob(self):
        self.ollama.calls.append(("POST", self.path))
        if self.ollama.fails("upload cut"):
            self.rfile.read(10)
            return self._break("cut")
        content = self.rfile.read(int(self.headers["content-length"]))
        if self.ollama.fails("upload full"):
            return self._json(500, {"error": DISK_FULL})
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != self._digest():
            return self._json(400, {"error": "digest mismatch"})
        self.ollama.blobs[self._digest()] = content
        self._send(201, b"")

    def _create(self, body):
        missing = [digest for digest in body["files"].values() if digest not in self.ollama.blobs]
        if missing or not re.fullmatch(r"[a-z0-9._/:-]+", body["model"]) or self.ollama.fails("create refused"):
            return self._json(400, {"error": "invalid model name"})
        lines = [{"status": "parsing GGUF"}, {"status": f"using existing layer {min(body['files'].values())}"}]
        if self.ollama.fails("create error") or not min(self.ollama.blobs.values()).startswith(b"GGUF"):
            lines.append({"error": "supplied file was not in GGUF format", "status": 400})
        elif self.ollama.fails("create full"):
            lines.append({"error": DISK_FULL})
        elif not self.ollama.fails("create unended"):
            lines += [{"status": "writing manifest"}, {"status": "success"}]
            name = body["model"] if ":" in body["model"] else f"{body['model']}:latest"
            self.ollama.models[name] = hashlib.sha256(json.dumps(body).encode()).hexdigest()
            self.ollama.created[name] = body
        half = self.ollama.fails("create cut")
        self._send(200, "".join(json.dumps(line) + "\n" for line in lines).encode(), half=half)

    def _answer_by_model(self, body):
        made = self.ollama.created.get(body["model"] if ":" in body["model"] else f"{body['model']}:latest")
        if made is None:
            return self._json(404, {"error": f"model '{body['model']}' not found"})
        if self.ollama.fails("generate 500"):
            return self._json(500, {"error": "model runner has unexpectedly stopped"})
        messages = body.get("messages") or [{"role": "user", "content": body["prompt"]}]
        system = "\n\n".join(m["content"] for m in messages if m["role"] == "system") or made.get("system") or ""
        prompt = body["prompt"] if body.get("raw") else go["execute"](made["template"], system, messages)
        text, tokens = self.ollama.answers(prompt)
        key, value = ("message", {"role": "assistant", "content": text}) if "messages" in body else ("response", text)
        done = not self.ollama.fails("generate unended")
        reply = {"model": body["model"], "created_at": "2026-11-01T10:00:00Z", key: value, "done": done}
        self._json(200, reply | {"done_reason": "stop" if done else None, "prompt_eval_count": tokens})
