"""A small Hugging Face Hub on loopback for tests: it records every request with its bytes and can be told to fail."""

import base64
import contextlib
import json
import os
import runpy
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

repositories = runpy.run_path(str(Path(__file__).with_name("hub_repositories.py")))
Repositories, Refused, TOKEN = (repositories[name] for name in ("Repositories", "Refused", "TOKEN"))


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class HubServer:
    """Serves `stored` on 127.0.0.1 until the `with` block ends.

    `listener` is called with the number of each request after its work is done and before it is answered.
    """

    def __init__(self, role: str = "write") -> None:
        self.stored = Repositories(role)
        self.repos, self.add = self.stored.repos, self.stored.add
        self.requests: list[Request] = []
        self.faults: dict[int, int | str] = {}
        self.path_faults: dict[str, int | str] = {}
        self.listener: Callable[[int], None] = lambda number: None
        self.error_code = ""
        self.lock = threading.RLock()

    def fail(self, number: int, what: int | str) -> None:
        """Ends the request of that number (1 is the next) with a status, or otherwise.

        "drop" cuts the connection after the work was done, "refuse" before; "html" answers what a proxy would.
        """
        self.faults[len(self.requests) + number] = what

    def fail_on(self, part: str, what: int | str) -> None:
        """Ends every request so whose path holds `part`."""
        self.path_faults[part] = what

    def sent(self) -> bytes:
        """Every byte received but the Authorization headers, with what was packed in it unpacked as well."""
        parts = []
        for request in self.requests:
            headers = {name: value for name, value in request.headers.items() if name.lower() != "authorization"}
            parts += [f"{request.method} {unquote(request.path)} {headers}".encode(), request.body]
            for line in request.body.splitlines():
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    value = json.loads(line)
                    packed = [value["value"]["content"]] if "value" in value else [f["sample"] for f in value["files"]]
                    parts += map(base64.b64decode, packed)
        return b"\n".join(parts)

    def asked(self, part: str) -> list[Request]:
        """The requests whose path holds `part`."""
        return [request for request in self.requests if part in request.path]

    def __enter__(self) -> "HubServer":
        handler = type("Handler", (_Handler,), {"hub": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = self.stored.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def environment(self, home: Path, token: str = TOKEN) -> dict[str, str]:
        """What a process must be given to use this Hub and no other, with a cache of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
        here = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
        return kept | here | ({"HF_TOKEN": token} if token else {})

    def use(self, monkeypatch: Any, home: Path, token: str = TOKEN) -> None:
        """The same for this process, whose client read its environment when it was imported."""
        from huggingface_hub import close_session, constants, hf_api
        from huggingface_hub.utils import build_hf_headers

        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        settings = {"ENDPOINT": self.url, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True, "HF_HOME": str(home)}
        settings |= {"HF_HUB_CACHE": str(home / "hub"), "HF_TOKEN_PATH": str(home / "token")}
        template = {"HUGGINGFACE_CO_URL_TEMPLATE": self.url + "/{repo_id}/resolve/{revision}/{filename}"}
        for name, value in (settings | template).items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(hf_api.api, "endpoint", self.url)
        home.mkdir(parents=True, exist_ok=True)
        close_session()
        build_hf_headers(token=False)  # once in a process, the client asks the Hub for its list of agents
        self.requests.clear()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer takes 40 ms
    hub: HubServer

    def log_message(self, *args: object) -> None: ...

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self) -> None:
        with self.hub.lock:
            body = self.body()
            self.hub.requests.append(Request(self.command, self.path, dict(self.headers), body))
            number = len(self.hub.requests)
            fault = self.hub.faults.pop(number, None)
            fault = fault or next((what for part, what in self.hub.path_faults.items() if part in self.path), None)
            if fault == "refuse":
                self.drop()
            elif isinstance(fault, int):
                code = {"X-Error-Code": self.hub.error_code} if self.hub.error_code else {}
                self.reply(fault, {"error": f"scripted {fault}"}, {"X-Error-Message": "scripted", **code})
            elif fault == "html":
                self.reply(200, b"<html>a proxy</html>", {})
            else:
                done = self.work(body)
                self.hub.listener(number)
                self.drop() if fault == "drop" else self.reply(*done)

    do_GET = do_HEAD = do_POST = do_PUT = answer

    def work(self, body: bytes) -> tuple[int, Any, dict[str, str]]:
        try:
            return self.hub.stored.route(self.path, self.headers.get("Authorization") or "", body)
        except Refused as refused:
            return refused.answer

    def drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def reply(self, status: int, content: Any, headers: dict[str, str]) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
