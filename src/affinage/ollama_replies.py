"""What an Ollama server's answer to a question means: the value asked for, or a name for what went wrong."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from jsonschema import Draft202012Validator

Schema = Mapping[str, Any]

REFUSAL = re.compile(
    r"\W*(je suis désolée?|désolée?|je ne (peux|suis) pas|il m'est impossible|en tant qu'(ia|intelligence)|sorry|"
    r"i'?m (very )?sorry|i am (sorry|unable|not able)|i'?m (unable|not able)|i can'?(t|not)|as an ai)\b",
    re.IGNORECASE,
)
OVERFLOW = re.compile(r"exceed_context_size|exceeds the available context|longer than the context|context length", re.I)


class Status(StrEnum):
    """How a question ended. All but OK leave `Reply.value` empty."""

    OK = "ok"
    OVERFLOW = "overflow"  # the prompt, or the prompt with its answer, does not fit into num_ctx
    LENGTH = "length"  # the answer does not fit into num_predict
    NOT_DONE = "not_done"  # the server stopped before the model had finished
    EMPTY = "empty"
    BROKEN_JSON = "broken_json"
    WRONG_TYPE = "wrong_type"  # JSON, but not what the schema asks for
    REFUSED = "refused"  # the model says in words that it will not answer
    MODEL_MISSING = "model_missing"
    BAD_REQUEST = "bad_request"
    BUSY = "busy"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"


# What happened to the server or the network; anything else is the model's doing and would happen again.
OF_THE_SERVER = frozenset(
    {
        Status.MODEL_MISSING,
        Status.BAD_REQUEST,
        Status.BUSY,
        Status.SERVER_ERROR,
        Status.TIMEOUT,
        Status.UNREACHABLE,
    }
)
HTTP_STATUS = {408: Status.TIMEOUT, 429: Status.BUSY, 503: Status.BUSY, 504: Status.TIMEOUT}


@dataclass(frozen=True)
class Reply:
    """What came of one question: `value` is the parsed JSON (the text itself without a schema) when status is OK.

    `content` is the raw text of the last attempt, `attempts` how each one ended; token counts are the last one's and
    `seconds` is for all of them. `cached` says that nothing was asked this time.
    """

    status: Status
    content: str = ""
    value: Any = None
    detail: str = ""
    thinking: str = ""
    done_reason: str = ""
    prompt_tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0
    attempts: tuple[str, ...] = ()
    cached: bool = False

    @property
    def ok(self) -> bool:
        return self.status is Status.OK

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """The reply that `dataclasses.asdict` made `entry` of."""
        return cls(**{**entry, "status": Status(entry["status"]), "attempts": tuple(entry["attempts"])})


def read_http(status_code: int, body: bytes) -> dict[str, Any] | Reply:
    """The JSON object of an HTTP answer, or a Reply naming the error that it reports."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    error = answer.get("error") if isinstance(answer, dict) else None
    if status_code == 200 and isinstance(answer, dict) and error is None:
        return answer
    detail = _message(error) if error is not None else _shortened(body.decode("utf-8", errors="replace"))
    detail = f"HTTP {status_code}: {detail}" if status_code != 200 else detail
    if error is not None and OVERFLOW.search(_text(error)):
        return Reply(Status.OVERFLOW, detail=detail)
    if status_code == 404 and "not found" in _text(error):
        return Reply(Status.MODEL_MISSING, detail=detail)
    client_error = 400 <= status_code < 500 and status_code != 499  # 499: the server lost us, not we it
    fallback = Status.BAD_REQUEST if client_error else Status.SERVER_ERROR
    return Reply(HTTP_STATUS.get(status_code, fallback), detail=detail)


def read_reply(answer: Mapping[str, Any], schema: Schema | None, num_ctx: int) -> Reply:
    """Reads the object that /api/chat answered with; `num_ctx` is the context in tokens that was asked for."""
    message = answer.get("message")
    message = message if isinstance(message, dict) else {}
    counts = [answer.get(name) for name in ("prompt_eval_count", "eval_count")]
    prompt_tokens, answer_tokens = (count if isinstance(count, int) else 0 for count in counts)
    facts: dict[str, Any] = {
        "content": str(message.get("content") or ""),
        "thinking": str(message.get("thinking") or ""),
        "done_reason": str(answer.get("done_reason") or ""),
        "prompt_tokens": prompt_tokens,
        "answer_tokens": answer_tokens,
    }
    used = prompt_tokens + answer_tokens
    if used > num_ctx:  # the server pushed the start of the prompt out to go on writing
        return Reply(Status.OVERFLOW, detail=f"{used} tokens in a context of {num_ctx}", **facts)
    if facts["done_reason"] == "length":
        return Reply(Status.LENGTH, detail=f"cut after {answer_tokens} tokens", **facts)
    if answer.get("done") is not True or facts["done_reason"] != "stop":
        detail = f"done is {answer.get('done')!r}, done_reason '{facts['done_reason']}'"
        return Reply(Status.NOT_DONE, detail=detail, **facts)
    status, value, detail = _read_content(facts["content"], schema)
    return Reply(status, value=value, detail=detail, **facts)


def _read_content(content: str, schema: Schema | None) -> tuple[Status, Any, str]:
    if not content.strip():
        return Status.EMPTY, None, "the model answered nothing"
    if schema is None:
        return Status.OK, content, ""
    try:
        value = json.loads(content, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair cannot be written to a file
    except (ValueError, RecursionError) as error:
        status = Status.REFUSED if REFUSAL.match(content) else Status.BROKEN_JSON
        return status, None, f"{type(error).__name__}: {error}"
    for fault in Draft202012Validator(dict(schema)).iter_errors(value):
        place = ".".join(map(str, fault.absolute_path)) or "the answer"
        return Status.WRONG_TYPE, None, _shortened(f"{place}: {fault.message}")
    return Status.OK, value, ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _text(error: Any) -> str:
    return error if isinstance(error, str) else json.dumps(error)


def _message(error: Any) -> str:
    """The words of an error, which may be a text, an object, or an object written as a text."""
    if isinstance(error, str) and error.lstrip().startswith("{"):
        try:
            inner = json.loads(error)
        except ValueError:
            return _shortened(error)
        return _message(inner.get("error", inner))
    if isinstance(error, dict):
        return _shortened(str(error.get("message") or json.dumps(error)))
    return _shortened(str(error))


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "…"
