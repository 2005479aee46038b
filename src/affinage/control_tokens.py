"""Control tokens of language models: found in a text that is only data, and written so that no tokenizer sees them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# The first character of what a tokenizer may read as a control token although it stands in the text of a message:
# Llama 3, Qwen, Phi, Cohere: <|...|>; DeepSeek: <｜...｜>; Gemma: <start_of_turn>; Llama 2, Mistral: [INST] </s>.
_WORDS = (
    "s|bos|eos|pad|unk|mask|sep|cls|think|thinking|tool_call|tool_response|start_of_turn|end_of_turn|start_of_image|"
    "end_of_image|endoftext|im_start|im_end|unused\\d+|extra_id_\\d+|0x[0-9a-f]{2}"
)
_BRACKETED = (
    "INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS|TOOL_CONTENT|ARGS|CALL_ID|IMG|THINK|gMASK|sMASK|"
    "CLS|SEP|PAD|UNK|MASK"
)
OF_ANY_MODEL = re.compile(rf"<(?=[|｜]|/?(?:{_WORDS})>|</?SYS>>)|\[(?=/?(?:{_BRACKETED})\])", re.IGNORECASE)
MARKER = re.compile(r"<[^<>\s]{1,60}>|\[/?[A-Z_]{2,40}\]")
TURN = re.compile(r".*\w.*:|.*[<>\[\]|#].*\w.*|.*\w.*[<>\[\]|#].*")  # "### Response:", "USER:", "<|user|>"
TEMPLATE_CODE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
QUOTED = re.compile(r"'((?:[^'\\\n]|\\.)*)'|\"((?:[^\"\\\n]|\\.)*)\"")
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4  # types of a token in a GGUF file that are found in running text


@dataclass(frozen=True)
class ControlTokens:
    """The control tokens of the model families that are known, and those of one model besides."""

    own: tuple[str, ...] = ()

    def found_in(self, text: str) -> bool:
        """Whether the text holds what this model, or one of a known family, would take for a control token."""
        return any(self._places(text))

    def escaped(self, text: str) -> str:
        """The text with the first character of each control token as JSON writes it: \\u003c for <."""
        return "".join(part if plain else _code(part) for part, plain in self._parts(text))

    def quoted(self, text: str) -> str:
        """The text as one JSON string without control tokens; `json.loads` gives it back whole."""
        parts = self._parts(text)
        inside = (json.dumps(part, ensure_ascii=False)[1:-1] if plain else _code(part) for part, plain in parts)
        return f'"{"".join(inside)}"'

    def _parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """The text in pieces; those that are not plain are one character, with which a control token begins."""
        start = 0
        for place in sorted(set(self._places(text))):
            yield text[start:place], True
            yield text[place], False
            start = place + 1
        yield text[start:], True

    def _places(self, text: str) -> Iterator[int]:
        for pattern in (OF_ANY_MODEL, self._own):
            if pattern is not None:
                yield from (found.start() for found in pattern.finditer(text))

    @cached_property
    def _own(self) -> re.Pattern[str] | None:
        """Finds the first characters of the model's own tokens, of those too that overlap."""
        rests: dict[str, list[str]] = {}
        for token in sorted(self.own, key=len, reverse=True):
            rests.setdefault(token[0], []).append(re.escape(token[1:]))
        branches = (f"{re.escape(first)}(?={'|'.join(rest)})" for first, rest in rests.items())
        return re.compile("|".join(branches)) if rests else None


def tokens_of(shown: Mapping[str, Any]) -> tuple[str, ...]:
    """The control tokens in what a server's /api/show says with `verbose`, sorted; none where it does not say.

    They are the tokens of the vocabulary that are no ordinary text, and what separates turns in the templates.
    """
    raw = shown.get("model_info")
    info: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
    templates = (shown.get("template"), info.get("tokenizer.chat_template"))
    found = {
        *_of_vocabulary(info),
        *(mark for text in templates if isinstance(text, str) for mark in _of_template(text)),
    }
    # What JSON writes otherwise never stands in a quoted text; a single sign is no token that could be forged.
    return tuple(sorted(token for token in found if len(token) > 1 and _written(token) == token))


def _of_vocabulary(info: Mapping[str, Any]) -> Iterator[str]:
    tokens, types = info.get("tokenizer.ggml.tokens"), info.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list) or not isinstance(types, list):
        return
    for token, kind in zip(tokens, types, strict=False):
        if not isinstance(token, str) or not token.strip("▁ "):
            continue
        if kind in (UNKNOWN, CONTROL) or (kind == USER_DEFINED and MARKER.fullmatch(token)):
            yield token.replace("▁", " ").strip()


def _of_template(template: str) -> Iterator[str]:
    """The marks of turns in a template of Go or Jinja, within its code or outside."""
    inside = (one or other for code in TEMPLATE_CODE.findall(template) for one, other in QUOTED.findall(code))
    for text in (*TEMPLATE_CODE.split(template), *inside):
        yield from MARKER.findall(text)
        lines = (line.strip() for line in text.replace("\\n", "\n").splitlines())
        yield from (line for line in lines if 2 < len(line) <= 60 and TURN.fullmatch(line))


def _written(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _code(character: str) -> str:
    """The character as an escape of JSON; one beyond U+FFFF as the two that stand for it."""
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else json.dumps(character)[1:-1]
