"""What Ollama is told about a model: the prompt of training as a Go template, how answers are drawn, the Modelfile."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affinage.chat_template import BLANK, Slot, columns_of, prompt_parts
from affinage.errors import AffinageError, Problem
from affinage.generation import generation_config
from affinage.token_lengths import context_length

PART = r"[a-z0-9_](?:[a-z0-9_-]|\.(?!\.)){0,79}"
NAME = re.compile(rf"(?:[a-z0-9_][a-z0-9_-]{{0,79}}/)?{PART}(?::{PART})?")
USUAL_CONTEXT = 8192  # tokens; Ollama takes memory for all of them when it loads the model
# Settings of a run that Ollama knows under another name, and those it lacks.
SAMPLING = ("temperature", "top_k", "top_p", "min_p")
UNKNOWN = {"num_beams": 1, "no_repeat_ngram_size": 0, "penalty_alpha": None, "min_new_tokens": None, "min_length": 0}


@dataclass(frozen=True)
class Instructions:
    """All that a Modelfile says besides where the weights are; `notes` tell what could not be said in one."""

    template: str
    parameters: dict[str, Any]
    system: str = ""
    licence: str = ""
    notes: list[str] = field(default_factory=list)

    def modelfile(self, weights: str) -> str:
        """The Modelfile for weights at that path, which may be relative to the Modelfile."""
        lines = [f"FROM {weights}", f"TEMPLATE {_quoted('TEMPLATE', self.template)}"]
        lines += [f"SYSTEM {_quoted('SYSTEM', self.system)}"] if self.system else []
        for name, value in self.parameters.items():
            for one in value if isinstance(value, list) else [value]:
                lines.append(f"PARAMETER {name} {_quoted(name, one) if isinstance(one, str) else one}")
        lines += [f"LICENSE {_quoted('LICENSE', self.licence)}"] if self.licence else []
        return "\n".join(lines) + "\n"


def model_name(given: str) -> str:
    """The name in small letters. Raises AffinageError for one that Ollama would refuse."""
    name = given.strip().lower()
    if not NAME.fullmatch(name):
        allowed = "name, name:tag or user/name:tag, of letters, digits, '-', '_' and '.', up to 80 of them each"
        raise AffinageError(Problem(f"NAME {given}", "is no name for an Ollama model.", allowed))
    return name


def instructions(config: Any, tokenizer: Any, system: str = "", licence: str = "") -> Instructions:
    """What Ollama is told so that it asks and answers as in training; `config` is the resolved Ludwig config.

    Raises AffinageError for a prompt that no Go template can write, and for a text that no Modelfile can hold.
    """
    for where, text in (("SYSTEM", system), ("LICENSE", licence)):
        if wrong := [character for character in text if not _fits(character)]:
            found = f"holds U+{ord(wrong[0]):04X}, which Ollama drops from a Modelfile."
            raise AffinageError(Problem(where, found, remedy="Replace it by a plain character."))
        _quoted(where, text)
    drawn, notes = _parameters(config, tokenizer)
    return Instructions(go_template(config, tokenizer.eos_token), drawn, system, licence, notes)


def go_template(config: Any, eos: str) -> str:
    """Ollama's TEMPLATE, by the rules of `affinage.chat_template`: which column a message fills, earlier turns, EOS.

    It goes through all messages itself: Ollama would give the system text to the first turn alone. BOS is left to the
    GGUF file, which says whether there is one. Raises AffinageError for a prompt that no Go template can write.
    """
    parts, columns = prompt_parts(config), columns_of(config)
    for part in parts:
        if isinstance(part, Slot) and (part.as_json or part.format != "{}"):
            how = "as JSON ({__sample__})" if part.as_json else f"by the format {part.format}"
            found = f"column '{part.column}' is written {how}, which no template of Ollama can do."
            raise AffinageError(Problem("prompt.template", found, "columns by name alone, such as {input}"))
    alone = _go(parts, {columns[0]: "{{ .Content }}"})
    if len(columns) > 1:
        both = _go(parts, {columns[0]: "{{ $.System }}", columns[1]: "{{ .Content }}"})
    else:
        both = _go(parts, {columns[0]: "{{ $.System }}" + BLANK + "{{ .Content }}"})
    user = "{{ if $.System }}" + both + "{{ else }}" + alone + "{{ end }}"
    answer = "{{ .Content }}" + _literal(eos)
    turns = '{{ if eq .Role "user" }}' + user + '{{ else if eq .Role "assistant" }}' + answer + "{{ end }}"
    return "{{ range .Messages }}" + turns + "{{ end }}"


def _go(parts: Sequence[str | Slot], values: Mapping[str, str]) -> str:
    return "".join(_literal(part) if isinstance(part, str) else values.get(part.column, "") for part in parts)


def _literal(text: str) -> str:
    """Text as it may stand in a Go template that stands in a Modelfile between three quotes."""
    pieces = re.split('("{3,})', text)
    return "".join(_action(piece) if piece.startswith('"""') else "".join(map(_character, piece)) for piece in pieces)


def _character(character: str) -> str:
    return character if character != "{" and _fits(character) else _action(character)


def _fits(character: str) -> bool:
    """Whether a Modelfile keeps a character: it loses those that Go does not call printable, such as U+00A0."""
    return character == "\n" or (character.isprintable() and ord(character) < 0x10000)


def _action(text: str) -> str:
    """The text as a Go string in a template action; JSON's escapes are Go's, but for characters beyond U+FFFF."""
    escaped = "".join(f"\\U{ord(c):08x}" if ord(c) > 0xFFFF else json.dumps(c)[1:-1] for c in text)
    return '{{ "' + escaped + '" }}'


def _quoted(where: str, text: str) -> str:
    """A value between three quotes. Raises AffinageError for one that holds three itself."""
    if '"""' in text:
        raise AffinageError(Problem(where, 'holds """, which ends a text in a Modelfile.', remedy="Leave it out."))
    return f'"""{text}"""'


def _parameters(config: Any, tokenizer: Any) -> tuple[dict[str, Any], list[str]]:
    """The run's generation settings by Ollama's names, and what it has no name for."""
    settings = generation_config(config.generation.to_dict(), tokenizer)
    context = context_length(config)
    new = settings.max_new_tokens or context
    wanted = max((config.preprocessing.global_max_sequence_length or 0) + new, USUAL_CONTEXT)
    named: dict[str, Any] = {"temperature": 0}
    if settings.do_sample:
        given = {name: getattr(settings, name, None) for name in SAMPLING}
        named = {name: value for name, value in given.items() if value is not None}
    named |= {"num_predict": new, "num_ctx": min(context, wanted), "stop": [tokenizer.eos_token]}
    named["repeat_penalty"] = settings.repetition_penalty or 1.0  # Ollama's own default is not 1 everywhere
    if named["repeat_penalty"] != 1:
        named["repeat_last_n"] = -1  # as far back as transformers looks
    given = {name: getattr(settings, name, none) for name, none in UNKNOWN.items()}
    unsaid = [f"{name}: {value}" for name, value in given.items() if value not in (None, UNKNOWN[name])]
    return named, [f"Ollama knows no {setting}; the run was answered with it." for setting in unsaid]
