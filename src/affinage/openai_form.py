"""Requests, answers and errors in the form of OpenAI's HTTP interface."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from affinage.answering import Ending

StopText = Annotated[str, Field(min_length=1)]


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        parts = self.content
        return {
            "role": self.role,
            "content": parts if isinstance(parts, str) else "".join(part.text for part in parts),
        }


class StreamOptions(BaseModel):
    include_usage: bool = False
    include_obfuscation: bool = False


class Asked(BaseModel):
    """What both kinds of requests may hold. What would change the answer and is not done here is refused."""

    model_config = ConfigDict(extra="forbid")

    model: str
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = None
    user: str | None = None

    def changes(self) -> dict[str, Any]:
        """The settings given, by transformers' names; without any, answers are drawn as the run's were."""
        given = {"max_new_tokens": self.max_tokens, "temperature": self.temperature, "top_p": self.top_p}
        if self.temperature is None and self.top_p is not None and self.top_p < 1:
            given["temperature"] = 1.0
        if given["temperature"]:
            given["top_k"] = 0  # OpenAI's clients cannot set it
        return {name: value for name, value in given.items() if value is not None}

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


class AskedChat(Asked):
    """A request to /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: int | None = Field(default=None, ge=1)
    response_format: dict[Literal["type"], Literal["text"]] | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None

    def changes(self) -> dict[str, Any]:
        limit = self.max_completion_tokens
        return super().changes() | ({"max_new_tokens": limit} if limit is not None else {})


class AskedText(Asked):
    """A request to /v1/completions: a prompt as it is, without the run's template."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]


@dataclass(frozen=True)
class Form:
    """How one of the two endpoints writes its answers."""

    id_prefix: str
    whole: str
    chunk: str
    is_chat: bool

    def choice(self, text: str, reason: str | None = None) -> dict[str, Any]:
        content = {"message": {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
        return {"index": 0, **content, "logprobs": None, "finish_reason": reason}

    def piece(self, text: str, reason: str | None = None, first: bool = False) -> dict[str, Any]:
        delta = ({"role": "assistant"} if first else {}) | ({"content": text} if text or first else {})
        content = {"delta": delta} if self.is_chat else {"text": text}
        return {"index": 0, **content, "logprobs": None, "finish_reason": reason}


CHAT = Form("chatcmpl", "chat.completion", "chat.completion.chunk", True)
TEXT = Form("cmpl", "text_completion", "text_completion", False)


def finish_reason(ending: Ending) -> str:
    """ "length" for an answer that was cut, else "stop"."""
    return "length" if ending.stop == "length" else "stop"


def usage_counts(ending: Ending) -> dict[str, int]:
    """Tokens of prompt and answer, without the end token."""
    total = ending.prompt_tokens + ending.tokens
    return {"prompt_tokens": ending.prompt_tokens, "completion_tokens": ending.tokens, "total_tokens": total}


def bad_request(message: str, param: str | None = None, code: str | None = None) -> HTTPException:
    """The exception for HTTP status 400."""
    return HTTPException(400, error_body(message, param=param, code=code))


def error_body(
    message: str, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> Any:
    """An error in the form of OpenAI's."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
