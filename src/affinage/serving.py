"""A run's model behind HTTP in OpenAI's form: chat and raw completions, whole or streamed, base and tuned."""

import asyncio
import json
import logging
import socket
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from affinage.answering import SIDES, Answerer, AnswerStream
from affinage.chat_template import conversation_text
from affinage.errors import AffinageError, Problem
from affinage.openai_form import (
    CHAT,
    TEXT,
    Asked,
    AskedChat,
    AskedText,
    Form,
    bad_request,
    error_body,
    finish_reason,
    usage_counts,
)

log = logging.getLogger("uvicorn.error")
LARGEST_REQUEST = 2**20  # bytes
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def create_app(answerer: Answerer, local_only: bool = True) -> FastAPI:
    """The application; with `local_only` it answers no request that names another host than this machine."""
    app = FastAPI(title="Affinage", docs_url=None, redoc_url=None, openapi_url=None)
    if local_only:  # a web page could otherwise reach it under a name of its own
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(AffinageError, _mendable)
    turn, started = asyncio.Lock(), int(time.time())
    models = [{"id": side, "object": "model", "created": started, "owned_by": "affinage"} for side in SIDES]

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": models}

    @app.get("/v1/models/{name}")
    async def get_model(name: str) -> dict[str, Any]:
        check_model(name)
        return next(model for model in models if model["id"] == name)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Any:
        asked = await read(request, AskedChat)
        messages = [message.plain() for message in asked.messages]
        if messages[-1]["role"] != "user":
            raise bad_request("the last message must be the user's.", "messages")
        prompt = await asyncio.to_thread(conversation_text, answerer.config, messages, answerer.tokenizer.eos_token)
        return await respond(request, asked, prompt, CHAT)

    @app.post("/v1/completions")
    async def complete(request: Request) -> Any:
        asked = await read(request, AskedText)
        return await respond(request, asked, asked.prompt if isinstance(asked.prompt, str) else asked.prompt[0], TEXT)

    async def respond(request: Request, asked: Asked, prompt: str, form: Form) -> Any:
        check_model(asked.model)
        try:
            ids = await asyncio.to_thread(answerer.encode, prompt)
        except AffinageError as error:
            raise bad_request(
                str(error), "messages" if form.is_chat else "prompt", "context_length_exceeded"
            ) from error
        settings = answerer.settings(**asked.changes())
        stream = answerer.ask(asked.model, ids, settings, asked.stops(), asked.seed)
        head = {"id": f"{form.id_prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}
        if asked.stream:
            events = _events(_pieces(request, stream, turn), stream, head, form, asked.wants_usage)
            return StreamingResponse(events, media_type="text/event-stream")
        try:
            async for _ in _pieces(request, stream, turn):
                pass
        except Exception as error:
            return JSONResponse(_fault(error), 500)
        if stream.ending.stop == "cancelled":
            return Response(status_code=499)  # nobody reads it
        choice = form.choice(stream.ending.text, finish_reason(stream.ending))
        return {**head, "object": form.whole, "choices": [choice], "usage": usage_counts(stream.ending)}

    return app


async def _pieces(request: Request, stream: AnswerStream, turn: asyncio.Lock) -> AsyncGenerator[str]:
    """The pieces of an answer when its turn has come; a client that hangs up ends it."""
    try:
        async with turn:
            while True:
                if await request.is_disconnected():
                    stream.cancel()
                piece = await asyncio.to_thread(stream.next_piece)
                if piece is None:
                    return
                yield piece
    finally:
        stream.cancel()


async def _events(
    pieces: AsyncGenerator[str], stream: AnswerStream, head: dict[str, Any], form: Form, usage: bool
) -> AsyncIterator[str]:
    """The answer as server-sent events, ended by [DONE]; an error in the middle is an event of its own."""

    def event(content: dict[str, Any]) -> str:
        return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"

    def chunk(*choices: dict[str, Any], **more: Any) -> str:
        return event({**head, "object": form.chunk, "choices": list(choices), **more})

    try:
        if form.is_chat:
            yield chunk(form.piece("", first=True))
        async with aclosing(pieces):
            async for piece in pieces:
                yield chunk(form.piece(piece))
        yield chunk(form.piece("", finish_reason(stream.ending)))
        if usage:
            yield chunk(usage=usage_counts(stream.ending))
        yield "data: [DONE]\n\n"
    except Exception as error:
        yield event(_fault(error))


def _fault(error: Exception) -> Any:
    """What the client is told of an error of the model; its traceback goes to the server's log."""
    log.error("the model failed", exc_info=error)
    return error_body(f"{type(error).__name__}: {error}", "server_error")


async def read[T: BaseModel](request: Request, kind: type[T]) -> T:
    """The request's body. Raises HTTPException for one that is too large, no JSON, or not of that kind."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        # a web page may send anything else to this machine without asking first
        raise HTTPException(415, error_body("the content type must be application/json."))
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_REQUEST:
            raise HTTPException(413, error_body(f"the request is larger than {LARGEST_REQUEST} bytes."))
    try:
        return TypeAdapter(kind).validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("function-", "constrained-")))
        message = "unknown parameter." if first["type"] == "extra_forbidden" else f"{first['msg']}."
        raise bad_request(f"{where}: {message}" if where else message, where or None) from error


def check_model(name: str) -> None:
    """Raises HTTPException (404) for a model other than base and tuned."""
    if name not in SIDES:
        message = f"The model '{name}' does not exist. Models here: {', '.join(SIDES)}."
        raise HTTPException(404, error_body(message, param="model", code="model_not_found"))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    body = error.detail if isinstance(error.detail, dict) else error_body(f"{request.url.path}: {error.detail}.")
    return JSONResponse(body, error.status_code)


async def _mendable(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse(error_body(str(error)), 400)


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. Raises AffinageError where none can be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        found = f"cannot be listened on: {error.strerror}."
        remedy = "Choose another one: --port 0 takes one that is free (PORT=0 with make)."
        raise AffinageError(Problem(f"{host}:{port}", found, remedy=remedy)) from error
