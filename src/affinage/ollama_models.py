"""Where the Ollama server is, which models it has, and how to get one that is missing."""

import difflib
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from tqdm import tqdm

from affinage.console import progress_bar_options
from affinage.control_tokens import tokens_of
from affinage.errors import AffinageError, Problem

PORT = 11434
ADDRESS = "an address such as 127.0.0.1:11434 or http://gpu.example.org:11434"
OLDEST = (0, 12, 4)  # older servers do not know `truncate: false` and cut a long prompt without a word
STALLED_S = 600.0


@dataclass(frozen=True)
class Server:
    """Where an Ollama server listens; `auth` is the user and password of the address, which is never shown."""

    url: str
    auth: tuple[str, str] | None = field(default=None, repr=False)

    def http_options(self, timeout_s: float) -> dict[str, Any]:
        """What `httpx.Client` and `ollama.Client` are opened with; a proxy is never asked for this very machine."""
        timeout = httpx.Timeout(timeout_s, connect=min(10.0, timeout_s), pool=None)
        return {"timeout": timeout, "auth": self.auth, "trust_env": not _is_loopback(urlsplit(self.url).hostname or "")}

    def open_http(self, timeout_s: float) -> httpx.Client:
        """A client for the calls that the `ollama` package lacks; reads OLLAMA_API_KEY as that package does."""
        key = os.environ.get("OLLAMA_API_KEY")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, **self.http_options(timeout_s))

    def open_ollama(self) -> Any:
        """The `ollama` package's client for this server."""
        return _ollama().Client(host=self.url, **self.http_options(STALLED_S))


@dataclass(frozen=True)
class Model:
    """A model as the server has it: `digest` names its exact weights, `context_length` is in tokens (0: unknown).

    `control_tokens` are those of its vocabulary and template, empty where the server does not tell them.
    """

    name: str
    digest: str
    context_length: int
    quantization: str
    parameter_size: str
    capabilities: tuple[str, ...]
    server_version: str
    control_tokens: tuple[str, ...] = ()


def find_server(host: str = "") -> Server:
    """The server at `host`, else at OLLAMA_HOST, else on this machine. Raises AffinageError for a malformed address."""
    where, given = ("the Ollama host", host) if host.strip() else ("OLLAMA_HOST", os.environ.get("OLLAMA_HOST", ""))
    scheme, found, rest = given.strip().partition("://")
    if not found:
        scheme, rest = "http", given.strip()
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port or ({"http": 80, "https": 443}.get(scheme, PORT) if found else PORT)
        if scheme not in ("http", "https") or any(character.isspace() for character in rest):
            raise ValueError("it is no http address")
    except ValueError as error:
        raise _no_address(where, error) from error
    name = parts.hostname or "127.0.0.1"
    name = "127.0.0.1" if name == "0.0.0.0" else name  # where a server listens is not always where it can be called
    name = f"[{name}]" if ":" in name else name
    path = parts.path.rstrip("/")
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return Server(f"{scheme}://{name}:{port}{path}", auth)


def find_model(server: Server, name: str, pull: bool = False) -> Model:
    """The model called `name`, pulled with a progress bar when it is missing and `pull` is set.

    Raises AffinageError when no server answers, when it is too old, and when the model is missing or cannot chat.
    """
    version = server_version(server)
    with _readable_errors(server):
        client = server.open_ollama()
        digests = _digests(client)
        if _tagged(name) not in digests:
            if not pull:
                raise _missing(server, name, list(digests))
            _pull(server, client, name)
            digests = _digests(client)
        shown = client.show(name)
    info, details = shown.modelinfo or {}, shown.details
    capabilities = tuple(shown.capabilities or ())
    if capabilities and "completion" not in capabilities:
        raise AffinageError(
            Problem(f"model {name}", f"can do {', '.join(capabilities)} only.", "a model that can chat")
        )
    return Model(
        name=name,
        digest=digests[_tagged(name)],
        context_length=int(info.get(f"{info.get('general.architecture')}.context_length") or 0),
        quantization=(details and details.quantization_level) or "",
        parameter_size=(details and details.parameter_size) or "",
        capabilities=capabilities,
        server_version=version,
        control_tokens=_control_tokens(server, name),
    )


def server_version(server: Server) -> str:
    """The version of the server, such as "0.32.15". Raises AffinageError when none answers or it is too old."""
    with _readable_errors(server), server.open_http(30.0) as http:
        answer = http.get("/api/version")
        if answer.status_code != 200:
            raise _not_ollama(server, f"HTTP {answer.status_code} to a question for its version")
        version = str(answer.json()["version"])
    numbers = tuple(int(part) for part in version.split("-")[0].split(".") if part.isdigit())
    if any(numbers) and numbers < OLDEST:  # a server built from source calls itself 0.0.0
        oldest = ".".join(map(str, OLDEST))
        found = f"runs Ollama {version}, which cuts long prompts without saying so."
        raise AffinageError(Problem(server.url, found, f"{oldest} or newer", "Update Ollama."))
    return version


def _control_tokens(server: Server, name: str) -> tuple[str, ...]:
    """Asked for apart: the `ollama` package's `show` lacks `verbose`, without which lists as long are left out."""
    try:
        with server.open_http(STALLED_S) as http:
            answer = http.post("/api/show", json={"model": name, "verbose": True})
        return tokens_of(answer.json()) if answer.status_code == 200 else ()
    except (httpx.HTTPError, ValueError, AttributeError):
        return ()


def _ollama() -> Any:
    """The `ollama` package, which parses OLLAMA_HOST while it is imported."""
    try:
        import ollama
    except ValueError as error:
        raise _no_address("OLLAMA_HOST", error) from error
    return ollama


def _digests(client: Any) -> dict[str, str]:
    return {model.model: model.digest or "" for model in client.list().models if model.model}


def _tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _pull(server: Server, client: Any, name: str) -> None:
    last, done = "", {}
    try:
        with tqdm(desc=f"pulling {name}", unit="B", unit_scale=True, **progress_bar_options()) as bar:
            for progress in client.pull(name, stream=True):
                last = progress.status or ""
                if progress.digest and progress.total:
                    done[progress.digest] = (progress.completed or 0, progress.total)
                    bar.total = sum(total for _, total in done.values())
                    bar.update(sum(completed for completed, _ in done.values()) - bar.n)
    except _ollama().ResponseError as error:  # a failure after the first line comes inside the stream
        remedy = "Check the name and its tag on ollama.com/library."
        raise AffinageError(Problem(f"model {name}", f"could not be pulled: {error.error}.", remedy=remedy)) from error
    if last != "success":
        raise AffinageError(Problem(f"model {name}", f"the pull ended at '{last}'.", remedy="Run the command again."))


def _missing(server: Server, name: str, installed: list[str]) -> AffinageError:
    close = difflib.get_close_matches(_tagged(name), installed, 1)
    remedy = f"Did you mean {close[0]}? Otherwise get it with" if close else "Get it with"
    return AffinageError(
        Problem(
            f"model {name}",
            f"is not on the Ollama server {server.url}.",
            ", ".join(sorted(installed)) or "none is installed yet",
            f"{remedy} `ollama pull {name}`, or let this command get it: --pull (PULL=1 with make).",
        )
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _no_address(where: str, error: ValueError) -> AffinageError:
    return AffinageError(Problem(where, f"is no address of a server: {error}.", ADDRESS))


def _not_ollama(server: Server, found: str) -> AffinageError:
    remedy = "Check OLLAMA_HOST (or --host): another program may be listening there."
    return AffinageError(Problem(server.url, f"does not answer as Ollama does: {found}.", remedy=remedy))


@contextmanager
def _readable_errors(server: Server) -> Iterator[None]:
    """Turns what the two clients raise into an AffinageError that says what to do."""
    try:
        yield
    except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout) as error:
        remedy = "Start it with `ollama serve` (or the Ollama app), or name another server with OLLAMA_HOST= or --host."
        raise AffinageError(Problem(server.url, "no Ollama server answers there.", remedy=remedy)) from error
    except httpx.TimeoutException as error:
        remedy = "Wait until the server is less busy, or restart it."
        raise AffinageError(
            Problem(server.url, "the Ollama server takes too long to answer.", remedy=remedy)
        ) from error
    except (_ollama().ResponseError, httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise _not_ollama(server, f"{type(error).__name__}: {error}") from error
