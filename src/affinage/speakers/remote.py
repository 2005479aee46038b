"""A model behind a server: one that Ollama runs, or one behind an endpoint that speaks OpenAI's API."""

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai

from affinage.answering import Ending
from affinage.chat import Drawing
from affinage.errors import AffinageError, Problem
from affinage.ollama_models import Server, find_model, find_server
from affinage.speaker import Message
from affinage.speakers.speech import patiently

CONTEXT = 8192  # tokens, where a server does not say, and the most that is asked of Ollama
TIMEOUT_S = 600.0
KEY = "OPENAI_API_KEY"
AROUND_A_MESSAGE = 8  # tokens of role and marks, more than usual chat templates put there
BYTES_PER_TOKEN = 2  # fewer than in any language that tokenizers are made for, so that an estimate is not too low
USUAL = Drawing(temperature=0.7, top_p=0.9, max_new_tokens=512)


@dataclass(frozen=True)
class Piece:
    """What one line of a server's stream says; `stop` is OpenAI's or Ollama's word for the end, "" before it."""

    text: str = ""
    stop: str = ""
    prompt_tokens: int = 0
    tokens: int = 0


Open = Callable[[ExitStack], Iterator[Piece]]


class RemoteSpeech:
    """An answer that a server sends piece by piece; `cancel` hangs up after the piece in hand."""

    ending: Ending

    def __init__(self, open_pieces: Open, name: str) -> None:
        self._open, self._name = open_pieces, name
        self._cancelled = threading.Event()

    def __iter__(self) -> Iterator[str]:
        text, last = list[str](), Piece()
        try:
            with ExitStack() as stack:
                for piece in self._open(stack):
                    text.append(piece.text)
                    last = Piece("", piece.stop or last.stop, *_larger(piece, last))
                    if piece.text:
                        yield piece.text
                    if self._cancelled.is_set():
                        break
        except (httpx.HTTPError, openai.APIError, ValueError) as error:
            raise _failed(self._name, error) from error
        if not last.stop and not self._cancelled.is_set():
            raise AffinageError(Problem(self._name, "the answer broke off in the middle.", remedy="Ask again."))
        stop = "length" if last.stop == "length" else "end" if last.stop else "cancelled"
        self.ending = Ending("".join(text), stop, last.prompt_tokens, last.tokens)

    def cancel(self) -> None:
        """Lets the answer end here."""
        self._cancelled.set()


def _larger(one: Piece, other: Piece) -> tuple[int, int]:
    return max(one.prompt_tokens, other.prompt_tokens), max(one.tokens, other.tokens)


@dataclass
class RemoteSpeaker:
    """A model behind a server, which alone knows its tokens: their numbers here are estimates, rather too high."""

    name: str
    model: str
    host: str  # where questions go, as shown to people
    context_length: int
    _pieces: Callable[[Sequence[Message], Drawing, ExitStack], Iterator[Piece]] = field(repr=False)
    usual: Drawing = field(default_factory=USUAL.model_copy)

    @property
    def leaves_the_machine(self) -> bool:
        """Whether questions go to another machine."""
        return (urlsplit(self.host).hostname or "") not in ("127.0.0.1", "localhost", "::1")

    def count(self, text: str) -> int:
        """About as many tokens as a text has, rather more."""
        return -(-len(text.encode("utf-8", errors="replace")) // BYTES_PER_TOKEN)

    def length(self, messages: Sequence[Message]) -> int:
        """About as many tokens as a conversation has, rather more."""
        return sum(self.count(message["content"]) + AROUND_A_MESSAGE for message in messages)

    def ask(self, messages: Sequence[Message], drawing: Drawing) -> RemoteSpeech:
        """The answer to a conversation. Raises AffinageError for one that is certainly too long."""
        if (n := self.length(messages)) >= self.context_length:
            found = f"about {n} tokens, which leaves no room for an answer."
            raise AffinageError(Problem("prompt", found, f"fewer than {self.context_length} tokens", "Shorten it."))
        drawn = Drawing(**self.usual.model_dump(exclude_none=True) | drawing.model_dump(exclude_none=True))
        return RemoteSpeech(lambda stack: self._pieces(messages, drawn, stack), self.name)

    def stream(self, messages: Sequence[Message], max_new_tokens: int = 256) -> Iterator[str]:
        """The pieces of an answer at temperature 0; "" while none comes."""
        yield from patiently(self.ask(messages, Drawing(temperature=0.0, max_new_tokens=max_new_tokens)))


def ollama_speaker(model: str, host: str = "") -> RemoteSpeaker:
    """A model on the Ollama server at `host`, else at OLLAMA_HOST. Raises AffinageError when it is not there."""
    server = find_server(host)
    found = find_model(server, model)
    context = min(found.context_length or CONTEXT, CONTEXT)

    def pieces(messages: Sequence[Message], drawing: Drawing, stack: ExitStack) -> Iterator[Piece]:
        options = drawing.model_dump(exclude_none=True)
        options = {"num_ctx": context, "num_predict": options.pop("max_new_tokens", -1), **options}
        body = {"model": model, "messages": list(messages), "stream": True, "truncate": False, "options": options}
        yield from _ollama_pieces(server, body, stack)

    return RemoteSpeaker(f"{model} (Ollama)", model, server.url, context, pieces)


def _ollama_pieces(server: Server, body: dict[str, Any], stack: ExitStack) -> Iterator[Piece]:
    http = stack.enter_context(server.open_http(TIMEOUT_S))
    answer = stack.enter_context(_opened(http, body))
    if answer.status_code != 200:
        answer.read()
        raise ValueError(_said(answer))
    for line in answer.iter_lines():
        if not line.strip():
            continue
        part = json.loads(line)
        if part.get("error"):
            raise ValueError(str(part["error"])[:300])
        stop = str(part.get("done_reason") or "stop") if part.get("done") else ""
        counts = (int(part.get(name) or 0) for name in ("prompt_eval_count", "eval_count"))
        yield Piece(str((part.get("message") or {}).get("content") or ""), stop, *counts)


def _opened(http: httpx.Client, body: dict[str, Any]) -> AbstractContextManager[httpx.Response]:
    content = json.dumps(body, ensure_ascii=True)  # half a surrogate pair must not end the conversation
    return http.stream("POST", "/api/chat", content=content, headers={"content-type": "application/json"})


def _said(answer: httpx.Response) -> str:
    try:
        error = answer.json().get("error")
    except (ValueError, AttributeError):
        error = answer.text
    return f"HTTP {answer.status_code}: {str(error)[:300]}"


def openai_speaker(model: str, url: str) -> RemoteSpeaker:
    """A model at an endpoint such as http://127.0.0.1:8000/v1; the key is that in OPENAI_API_KEY, if any.

    Raises AffinageError when no such server answers, when it refuses the key, or when it lacks the model.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AffinageError(Problem("URL", f"'{url}' is no address.", "such as http://127.0.0.1:8000/v1"))
    shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    client = openai.OpenAI(base_url=url, api_key=os.environ.get(KEY) or "none", timeout=TIMEOUT_S, max_retries=0)
    context = _context(client, model, shown)

    def pieces(messages: Sequence[Message], drawing: Drawing, stack: ExitStack) -> Iterator[Piece]:
        given = drawing.model_dump(exclude_none=True, include={"temperature", "top_p", "seed"})
        asked: Any = {"model": model, "messages": list(messages), "max_tokens": drawing.max_new_tokens, **given}
        stream = stack.enter_context(client.chat.completions.create(stream=True, **asked))
        for chunk in stream:
            choice = chunk.choices[0] if chunk.choices else None
            usage = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens) if chunk.usage else ()
            if choice or usage:
                yield Piece((choice and choice.delta.content) or "", (choice and choice.finish_reason) or "", *usage)

    return RemoteSpeaker(model, model, shown, context, pieces)


def _context(client: openai.OpenAI, model: str, where: str) -> int:
    """The context of the model, in tokens, where the server's list of models tells it (vLLM, llama-server)."""
    try:
        models = {one.id: one.model_dump() for one in client.models.list().data or []}
    except openai.APIError as error:
        raise _failed(where, error) from error
    if models and model not in models:
        raise AffinageError(Problem(f"model {model}", f"is not at {where}.", ", ".join(sorted(models)[:20])))
    known = models.get(model, {})
    told = known.get("max_model_len") or (known.get("meta") or {}).get("n_ctx_train")
    return int(told) if isinstance(told, int) and told > 0 else CONTEXT


def _failed(name: str, error: Exception) -> AffinageError:
    """What to tell of a server's fault; never its words about a key, which repeat a part of it."""
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return AffinageError(Problem(name, "the server refuses the key.", remedy=f"Set {KEY} to a valid one."))
    if isinstance(error, httpx.ConnectError | openai.APIConnectionError):
        return AffinageError(Problem(name, "no server answers there.", remedy="Start it, or correct its address."))
    said = getattr(error, "message", "") or str(error) or type(error).__name__
    key = os.environ.get(KEY)
    said = said.replace(key, "…") if key else said
    return AffinageError(Problem(name, f"the model failed: {said[:300]}", remedy="Ask again, or look at its server."))
