"""Texts of a run as they may stand on a card: escaped, fenced, and without what belongs to the machine."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from affinage.curation.card import markdown
from affinage.curation.personal_data import find
from affinage.publishing.safety import sanitised


def fence(text: Any, language: str = "text") -> Markup:
    """The text as a fenced block; no run of backquotes in it is long enough to end the block."""
    lines = str(text)
    longest = max((len(run) for run in re.findall(r"`{3,}", lines)), default=2)
    ticks = "`" * (longest + 1)
    return Markup(f"{ticks}{language}\n{lines.removesuffix(chr(10))}\n{ticks}")


def code(text: Any) -> Markup:
    """The text as code on one line, whatever it holds; fit for a table cell."""
    plain = " ".join(str(text).split()).replace("|", "\\|")
    longest = max((len(run) for run in re.findall(r"`+", plain)), default=0)
    ticks, blank = "`" * (longest + 1), " " if longest or not plain else ""
    return Markup(f"{ticks}{blank}{plain}{blank}{ticks}")


def prose(text: Any) -> Markup:
    """The text as one line of Markdown that shows it as it is, without paths of a machine, addresses and keys."""
    return markdown(sanitised(str(text), {}))


def python_text(text: str) -> Markup:
    """The text as a Python string in triple quotes, one line of it per line; it evaluates to exactly this text."""
    escaped = re.sub(r'"(?="|\Z)', r'\\"', text.replace("\\", "\\\\"))
    escaped = "".join(letter if letter == "\n" or letter.isprintable() else _escape(letter) for letter in escaped)
    return Markup('"""\\\n' + escaped + '"""') if "\n" in escaped else Markup('"""' + escaped + '"""')


def _escape(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


def python_value(value: Any) -> Markup:
    """A text, number or truth value, or a mapping of these, as Python writes it, texts in double quotes."""
    if isinstance(value, Mapping):
        return Markup(
            "{" + ", ".join(f"{python_value(key)}: {python_value(item)}" for key, item in value.items()) + "}"
        )
    return Markup(json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value))


def holds_private(text: str) -> bool:
    """Whether a text of the data should not be shown as a sample: it points to a person or a machine, or is a key."""
    return bool(find(text)) or sanitised(text, {}) != text


def public_config(config: Mapping[str, Any], base: str) -> dict[str, Any]:
    """The config as a person may read it anywhere: the base model by its id on the Hub, no path of the machine.

    The prompt stays as it is, for it is what the model was trained with.
    """
    given = str(config.get("base_model"))
    names = {given: base, str(Path(given).resolve()): base}
    return {key: value if key == "prompt" else sanitised(value, names) for key, value in config.items()}


class _Readable(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _block)


def readable_yaml(config: Mapping[str, Any]) -> str:
    """The config as YAML in its own order, texts of several lines as blocks; it reads back as the same config."""
    return yaml.dump(dict(config), Dumper=_Readable, allow_unicode=True, sort_keys=False, width=100)
