"""Messages of a conversation as the prompt of training: by a Jinja template for other programs, and in Python."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

import pandas as pd
from ludwig.data.prompt import DEFAULT_ZERO_SHOT_PROMPT_TEMPLATE

from affinage.errors import AffinageError, Problem
from affinage.ludwig_ext.batches import SpecialTokens
from affinage.prompts import prompt_columns, render
from affinage.token_lengths import tokenizer_of

BLANK = "\n\n"
SYSTEM_ROLES = ("system", "developer")


@dataclass(frozen=True)
class Slot:
    """Where the value of a column stands in a prompt.

    `as_json` is Ludwig's {__sample__}, which escapes quotes, line breaks and accents; `format` is what str.format is
    called with, such as "{:.2f}" for a number, and "{}" for plain text.
    """

    column: str
    as_json: bool = False
    format: str = "{}"

    @property
    def is_number(self) -> bool:
        return "f" in self.format.partition(":")[2]


def prompt_parts(config: Any) -> list[str | Slot]:
    """A prompt as literal text and slots for columns, in order; `config` is the resolved Ludwig config."""
    own, prompt = config.input_features[0].column, config.prompt
    if prompt.template is None and prompt.task is None:
        return [Slot(own)]
    parts: list[str | Slot] = []
    for literal, field, spec, conversion in Formatter().parse(prompt.template or DEFAULT_ZERO_SHOT_PROMPT_TEMPLATE):
        how = "{" + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
        slot = str(prompt.task) if field == "__task__" else Slot(field or own, format=how)
        parts += [literal, Slot(own, True, how) if field == "__sample__" else slot] if field else [literal]
    return [part for part in parts if part]


def columns_of(config: Any) -> list[str]:
    """The columns of a prompt, each once, in the order in which they stand in it."""
    return list(dict.fromkeys(prompt_columns(config)))


def columns_from(config: Any, user: str, system: str = "") -> dict[str, str]:
    """The one rule for which column a message fills.

    The user's text fills the first column; with a system text and two columns or more, the system text fills the first
    and the user's the second. With one column alone, the system text stands before the user's and a blank line between.
    """
    columns = columns_of(config)
    if not system:
        return {columns[0]: user}
    return {columns[0]: system, columns[1]: user} if len(columns) > 1 else {columns[0]: system + BLANK + user}


def prompt_of(config: Any, columns: Mapping[str, str]) -> str:
    """The prompt for one set of column values; columns of the prompt that are not given are empty, or 0 for a number.

    Raises AffinageError when text stands where the prompt wants a number.
    """
    numbers = {part.column for part in prompt_parts(config) if isinstance(part, Slot) and part.is_number}
    row = {name: columns.get(name) or ("0" if name in numbers else "") for name in columns_of(config)}
    try:
        return render(config, pd.DataFrame([row]))[0]
    except ValueError as error:
        found = f"{error}; the columns {', '.join(sorted(numbers))} hold numbers."
        raise AffinageError(Problem("prompt", found, remedy="Give a number there.")) from error


def conversation_text(config: Any, messages: Sequence[Mapping[str, str]], eos: str) -> str:
    """Messages ({"role", "content"}) as text, as the Jinja template has them, but without what begins every prompt.

    Every user turn is rendered as a prompt of training, every answer stands after it and is followed by `eos`. Raises
    AffinageError for a role other than system, developer, user and assistant.
    """
    system, text = "", ""
    for message in messages:
        role, content = message["role"], message["content"]
        if role in SYSTEM_ROLES:
            system = system + BLANK + content if system else content
        elif role == "user":
            text += prompt_of(config, columns_from(config, content, system))
        elif role == "assistant":
            text += content + eos
        else:
            raise AffinageError(Problem("role", f"'{role}' is unknown.", "system, developer, user and assistant"))
    return text


def chat_template(config: Any, tokenizer: Any = None) -> str:
    """A Jinja template for `tokenizer.chat_template` that turns messages into exactly the prompt of training.

    `config` is the resolved Ludwig config; without `tokenizer`, that of its base model is loaded. The rules are those
    of `columns_from` and `conversation_text`; the special tokens that the tokenizer puts first stand first, once.
    Raises AffinageError for a tokenizer with which no such template exists.
    """
    parts, columns = prompt_parts(config), columns_of(config)
    alone = _jinja(parts, {columns[0]: "message.content"})
    if len(columns) > 1:
        both = _jinja(parts, {columns[0]: "seen.system", columns[1]: "message.content"})
    else:
        both = _jinja(parts, {columns[0]: f"(seen.system ~ {_quoted(BLANK)} ~ message.content)"})
    return TEMPLATE.format(opening=_opening(config, tokenizer or tokenizer_of(config)), both=both, alone=alone)


# Every tag strips the blanks around it, and all text is quoted: whatever a program trims, it cannot trim the prompt.
TEMPLATE = """\
{{%- set seen = namespace(system="") -%}}
{opening}
{{%- for message in messages -%}}
{{%- if message.role == "system" or message.role == "developer" -%}}
{{%- set seen.system = (seen.system ~ "\\n\\n" ~ message.content) if seen.system else message.content -%}}
{{%- elif message.role == "user" and seen.system -%}}
{both}
{{%- elif message.role == "user" -%}}
{alone}
{{%- elif message.role == "assistant" -%}}
{{{{- message.content -}}}}{{{{- eos_token -}}}}
{{%- else -%}}
{{{{- raise_exception("unknown role: " ~ message.role) -}}}}
{{%- endif -%}}
{{%- endfor -%}}
"""


def _jinja(parts: Sequence[str | Slot], values: Mapping[str, str]) -> str:
    """The parts as Jinja tags; `values` gives the expression of each column that is not empty."""
    written = [_quoted(part) if isinstance(part, str) else _slot(part, values.get(part.column, '""')) for part in parts]
    return "\n".join(f"{{{{- {expression} -}}}}" for expression in written if expression != '""')


def _slot(slot: Slot, expression: str) -> str:
    if slot.as_json:
        expression = f"({expression} | tojson(ensure_ascii=true)).strip({_quoted(chr(34))})"
    if slot.is_number:
        expression = f"({expression} | float)"
    return expression if slot.format == "{}" else f"{_quoted(slot.format)}.format({expression})"


def _quoted(text: str) -> str:
    """The text as a Jinja string; that is JSON, but for escaped surrogate pairs, which Jinja would not join."""
    return json.dumps(text, ensure_ascii=False)


def _opening(config: Any, tokenizer: Any) -> str:
    """The Jinja tag for what the tokenizer puts before every text.

    Some tokenizers mark the start of a text as if a space stood there, but not after a special token: for those a
    space is written.
    """
    special = SpecialTokens.of(tokenizer)
    if not special.prefix:
        return ""
    text = "".join(tokenizer.convert_ids_to_tokens(list(special.prefix)))
    tag = "bos_token" if special.prefix == (tokenizer.bos_token_id,) else _quoted(text)
    sample = prompt_of(config, dict.fromkeys(columns_of(config), "1"))
    wanted = special.prompt(tokenizer.encode(sample))
    for between in ("", " "):
        if tokenizer.encode(text + between + sample, add_special_tokens=False) == wanted:
            return f"{{{{- {tag}{f' ~ {_quoted(between)}' if between else ''} -}}}}"
    name = type(tokenizer).__name__
    raise AffinageError(Problem("tokenizer", f"{name} begins a text in a way that no chat template can write."))
