"""Asks a language model on an Ollama server for answers in JSON; whatever goes wrong with one has a name."""

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field

from affinage.answer_cache import AnswerCache, answer_key
from affinage.errors import AffinageError, Problem
from affinage.ollama_models import Model, Server, find_model, find_server
from affinage.ollama_replies import OF_THE_SERVER, Reply, Schema, Status, read_http, read_reply

Messages = Sequence[Mapping[str, str]]

PROTOCOL = 1  # part of every cache key: raise it when the same question is asked or read in another way
ATTEMPTS = 3
JSON = {"content-type": "application/json"}
# How often a request is sent again, after 1, 2, 4... times `backoff_s`.
RESENT = {Status.BUSY: 5, Status.UNREACHABLE: 5, Status.TIMEOUT: 2, Status.SERVER_ERROR: 2}
ASKED_AGAIN = frozenset({Status.NOT_DONE, Status.EMPTY, Status.BROKEN_JSON, Status.WRONG_TYPE})


class Options(BaseModel):
    """How an answer is drawn. Lengths are in tokens: `num_ctx` for prompt and answer, `num_predict` for the answer.

    Ollama ignores an option that it does not know, so unknown names are refused here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int = Field(default=123, ge=0, lt=2**31)
    num_ctx: int = Field(default=8192, ge=256)
    num_predict: int = Field(default=1024, ge=1)
    top_k: int = Field(default=40, ge=1)
    top_p: float = Field(default=0.9, gt=0, le=1)
    repeat_penalty: float = Field(default=1.0, gt=0)

    def sent(self) -> dict[str, Any]:
        """The options as the server gets them, every one explicit; at temperature 0 only the likeliest token counts."""
        return self.model_dump() | ({"top_k": 1, "top_p": 1.0} if self.temperature == 0 else {})


class Chat:
    """One model on one server. `ask` may be called from several threads; leaving the `with` block frees the model.

    `timeout_s` is how long one answer may take, `keep_alive` how long the server keeps the model after an answer.
    """

    def __init__(
        self,
        host: str,
        model: str,
        options: Options | None = None,
        *,
        think: bool | str = False,
        cache: AnswerCache | None = None,
        keep_alive: str = "15m",
        timeout_s: float = 600.0,
        backoff_s: float = 1.0,
    ) -> None:
        self.server: Server = find_server(host)
        self.name = model
        self.options = options or Options()
        self.think = think
        self.cache = cache
        self.keep_alive = keep_alive
        self.backoff_s = backoff_s
        self.model: Model | None = None
        self._http = self.server.open_http(timeout_s)
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def preflight(self, pull: bool = False) -> Model:
        """Finds the server and the model and loads it, so that what cannot work fails before the first question.

        Raises AffinageError saying how to start the server, get the model or choose a context that fits.
        """
        model = find_model(self.server, self.name, pull)
        if model.context_length and self.options.num_ctx > model.context_length:
            found = f"{self.options.num_ctx} tokens, but {self.name} was trained for {model.context_length}."
            raise AffinageError(Problem("num_ctx", found, f"up to {model.context_length}"))
        loaded = self._send({"model": self.name, "messages": [], "options": self.options.sent()})
        if isinstance(loaded, Reply):
            remedy = "Lower num_ctx, choose a smaller model, or read the server's log."
            raise AffinageError(Problem(f"model {self.name}", f"cannot be loaded: {loaded.detail}.", remedy=remedy))
        self.model = model
        return model

    def close(self) -> None:
        """Frees the model's memory on the server when it was loaded, and ends waiting retries."""
        self._closing.set()
        if self.model is not None:
            self._post({"model": self.name, "messages": [], "keep_alive": 0}, timeout_s=10.0)
            self.model = None
        self._http.close()

    def ask(self, messages: Messages, schema: Schema | None = None, options: Options | None = None) -> Reply:
        """The model's answer to `messages` ({"role", "content"}), valid under the JSON `schema` when there is one.

        Never raises for what one question leads to: see `Status`. One that is cut off is asked for again with twice the
        length, one that is not valid with another seed and a little temperature, three times in all.
        """
        options = options or self.options
        key = self.key_of(messages, schema, options)
        if (known := self.cached(key)) is not None:
            return known
        ended: list[str] = []
        seconds, tried = 0.0, options
        while True:
            reply = self._ask_once(messages, schema, tried)
            ended.append(reply.status)
            seconds += reply.seconds
            changed = _changed(tried, reply.status) if len(ended) < ATTEMPTS else None
            if changed is None:
                return self._kept(key, replace(reply, attempts=tuple(ended), seconds=round(seconds, 3)))
            tried = changed

    def key_of(self, messages: Messages, schema: Schema | None = None, options: Options | None = None) -> str:
        """The key under which the answer to this question is kept; with a cache, only after `preflight`."""
        if self.cache is not None and self.model is None:
            raise RuntimeError("preflight first: without the digest, a cached answer may be that of other weights")
        return answer_key(self._question(messages, schema, options or self.options))

    def cached(self, key: str) -> Reply | None:
        """The reply kept under a key of `key_of`, None when there is none."""
        known = self.cache.get(key) if self.cache else None
        return None if known is None else replace(Reply.from_json(known), cached=True)

    def _kept(self, key: str, reply: Reply) -> Reply:
        if self.cache is None or reply.status in OF_THE_SERVER:
            return reply
        return Reply.from_json(self.cache.put(key, asdict(reply)))

    def _question(self, messages: Messages, schema: Schema | None, options: Options) -> dict[str, Any]:
        """All that decides an answer; the digest, because a model's name can come to mean other weights."""
        return {
            "protocol": PROTOCOL,
            "endpoint": "ollama /api/chat",
            "model": self.name,
            "digest": self.model.digest if self.model else "",
            "options": options.sent(),
            "schema": schema,
            "think": self.think,
            "messages": [dict(message) for message in messages],
        }

    def _ask_once(self, messages: Messages, schema: Schema | None, options: Options) -> Reply:
        body: dict[str, Any] = {"model": self.name, "messages": list(messages), "options": options.sent()}
        if schema is not None:
            body["format"] = schema
        started = time.monotonic()
        answer = self._send(body)
        reply = answer if isinstance(answer, Reply) else read_reply(answer, schema, options.num_ctx)
        return replace(reply, seconds=time.monotonic() - started)

    def _send(self, body: dict[str, Any]) -> dict[str, Any] | Reply:
        """The server's JSON, or a Reply naming what went wrong after the request was sent again as `RESENT` says."""
        sent = 0
        while True:
            answer = self._post(body)
            if not isinstance(answer, Reply) or sent >= RESENT.get(answer.status, 0):
                return answer
            if self._closing.wait(self.backoff_s * 2**sent):
                return answer
            sent += 1

    def _post(self, body: dict[str, Any], timeout_s: float | None = None) -> dict[str, Any] | Reply:
        # `stream: false` gives run errors a real HTTP status; `truncate: false` makes an overlong prompt an error.
        body = {"stream": False, "think": self.think, "truncate": False, "keep_alive": self.keep_alive} | body
        content = json.dumps(body, ensure_ascii=True)  # half a surrogate pair in the data must not end the run
        timeout = self._http.timeout if timeout_s is None else timeout_s
        if self._http.is_closed:
            return Reply(Status.UNREACHABLE, detail="the client is closed")
        try:
            answer = self._http.post("/api/chat", content=content, headers=JSON, timeout=timeout)
        except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
            return Reply(Status.TIMEOUT, detail=f"no answer in time ({type(error).__name__})")
        except httpx.HTTPError as error:
            return Reply(Status.UNREACHABLE, detail=f"{type(error).__name__}: {error}")
        return read_http(answer.status_code, answer.content)


def _changed(tried: Options, status: Status) -> Options | None:
    """The options of the next attempt, None when another one would not help."""
    if status is Status.LENGTH:
        longer = min(2 * tried.num_predict, tried.num_ctx)
        return tried.model_copy(update={"num_predict": longer}) if longer > tried.num_predict else None
    if status in ASKED_AGAIN:  # at temperature 0 another seed alone would give the same answer
        return tried.model_copy(update={"seed": tried.seed + 1, "temperature": max(tried.temperature, 0.2)})
    return None
