"""Checks a config before Ludwig sees it, and says of every mistake where it is and how to mend it."""

import difflib
import itertools
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from ludwig.config_validation.validation import get_validator

from affinage.configs import EXPONENT, read_config
from affinage.errors import AffinageError, Problem
from affinage.model_types import ECD, LLM
from affinage.paths import display
from affinage.schema import SAVED, Schema, strict_schema

Place = tuple[str, ...]  # keys and list indices from the top of the config down

TYPES = {"string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false"}
TYPES |= {"array": "a list", "object": "a section with keys", "null": "null"}
RARE = (("defaults",), ("hyperopt",), ("adapters",))  # sections that repeat the keys of others
NUMBER = re.compile(r"[-+]?[0-9]+([.,][0-9]*)?")
KEY = re.compile(r"(\w+)\s*:(\s|$)")
ENCODER = re.compile(rf"^model_type\s*:\s*['\"]?{ECD}\b", re.MULTILINE)


class _Finding(NamedTuple):
    place: Place
    found: str
    allowed: str = ""
    remedy: str = ""


def check_config(path: Path) -> list[Problem]:
    """Every problem of a config file in the order of its lines; asks no network and loads no model."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    where, schema = display(path), strict_schema(ECD if ENCODER.search(text) else LLM)
    try:
        config = read_config(path)
    except AffinageError as error:
        lost, _ = _lost_indentation(text, schema)
        return [_at(where, *found) for found in lost] or [p for p in error.problems if isinstance(p, Problem)]
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    lines = dict(_lines(root))
    found = [*_duplicates(root), *((_line(finding.place, lines), finding) for finding in _findings(config, schema))]
    lost, hidden = _lost_indentation(text, schema) if found else ([], set())
    found = [*lost, *((line, finding) for line, finding in found if line not in hidden)]
    return [_at(where, *entry) for entry in sorted(found, key=lambda entry: entry[0])]


def check_overridden(config: dict[str, Any]) -> list[Problem]:
    """Every problem of a config that was without one before SET= changed it."""
    schema = strict_schema(ECD if config.get("model_type") == ECD else LLM)
    return [Problem(f"SET {_dotted(finding.place)}".strip(), *finding[1:]) for finding in _findings(config, schema)]


def _at(where: str, line: int, finding: _Finding) -> Problem:
    return Problem(f"{where}:{line}", *finding[1:])


def _lines(node: yaml.Node, place: Place = ()) -> Iterator[tuple[Place, int]]:
    """The line of every key and list entry; a merged mapping (`<<`) counts where it is merged."""
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield (*place, str(index)), child.start_mark.line + 1
            yield from _lines(child, (*place, str(index)))
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                yield from _lines(child, place)
            else:
                yield (*place, str(key.value)), key.start_mark.line + 1
                yield from _lines(child, (*place, str(key.value)))


def _line(place: Place, lines: dict[Place, int]) -> int:
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _duplicates(node: yaml.Node, place: Place = ()) -> Iterator[tuple[int, _Finding]]:
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _duplicates(child, (*place, str(index)))
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, list[int]] = {}
        for key, child in node.value:
            seen.setdefault(str(key.value), []).append(key.start_mark.line + 1)
            yield from _duplicates(child, (*place, str(key.value)))
        for name, lines in seen.items():
            if len(lines) > 1 and name != "<<":
                times = "twice" if len(lines) == 2 else f"{len(lines)} times"
                listed = ", ".join(map(str, lines[:-1])) + f" and {lines[-1]}"
                found = f"key '{name}' appears {times}, lines {listed}."
                yield lines[-1], _Finding((*place, name), found, remedy="Keep one: YAML takes the last without a word.")


def _findings(config: dict[str, Any], schema: Schema) -> Iterator[_Finding]:
    """One finding for each unknown key, each missing key and each value that is not allowed."""
    homes, seen = list(_homes(schema)), set()
    for error in get_validator()(schema).iter_errors(config):
        place = tuple(map(str, error.absolute_path))
        if error.validator == "additionalProperties":
            extra = [key for key in error.instance if key not in error.schema["properties"]]
            yield from (_unknown((*place, str(key)), error, homes) for key in extra)
        elif (place, error.validator == "required") in seen:
            continue
        elif error.validator == "required":
            missing = [key for key in error.validator_value if key not in error.instance]
            yield from (_missing(place, key, error.schema["properties"][key]) for key in missing)
        else:
            yield _wrong_value(place, error)
        seen.add((place, error.validator == "required"))
    yield from _shares(config)


def _homes(schema: Schema, place: Place = ()) -> Iterator[tuple[Place, str, str]]:
    """Every key of the schema with its section and the `type` of the section that has it, or ''."""
    clauses = [("", schema), *((c["if"]["properties"]["type"]["const"], c["then"]) for c in schema.get("allOf", ()))]
    for kind, clause in clauses:
        for key, child in clause.get("properties", {}).items():
            if isinstance(child, dict):
                yield place, kind, key
                yield from _homes(child, (*place, key))
    if "items" in schema:
        yield from _homes(schema["items"], (*place, "*"))


def _unknown(place: Place, error: Any, homes: list[tuple[Place, str, str]]) -> _Finding:
    *above, key = place
    section = tuple("*" if part.isdecimal() else part for part in above)
    found = f"unknown key '{key}'" + (f" in '{_dotted(above)}'." if above else ".")
    kinds = [kind for home, kind, name in homes if home == section and name == key]
    if kinds and "type" in error.instance:
        return _Finding(place, f"{found[:-1]} of type '{error.instance['type']}'.", remedy=_of_types(key, kinds))
    known = [name for name in error.schema["properties"] if name not in SAVED.get(".".join(section), ())]
    spelled = key.lower().replace("-", "_")
    for cutoff in (0.85, 0.6):
        longer = [name for name in known if name.startswith(f"{spelled}_")]
        if close := difflib.get_close_matches(spelled, known, 1, cutoff) or longer[:3]:
            return _Finding(place, found, remedy=f"Did you mean {' or '.join(map(repr, close))}?")
        if elsewhere := _elsewhere(spelled, homes):
            return _Finding(place, found, remedy=f"'{spelled}' belongs {elsewhere}.")
    nearest = difflib.get_close_matches(spelled, known, 8, 0) if len(known) > 12 else known
    return _Finding(place, found, ", ".join(nearest) + (", …" if len(known) > 12 else ""))


def _of_types(key: str, kinds: list[str]) -> str:
    return f"'{key}' belongs to type {', '.join(kinds[:6])}{', …' if len(kinds) > 6 else ''}."


def _elsewhere(key: str, homes: list[tuple[Place, str, str]]) -> str:
    sections = {home for home, _, name in homes if name == key and home[:1] not in RARE}
    sections -= {home for home in sections if key in SAVED.get(".".join(home), ())}
    nearest = sorted(home for home in sections if len(home) == min(map(len, sections)))
    names = [f"under '{_dotted(part for part in home if part != '*')}'" if home else "at the top" for home in nearest]
    return " or ".join(names) if len(names) <= 3 else ""


def _missing(place: Place, key: str, schema: Schema) -> _Finding:
    found = f"'{_dotted(place)}' has no key '{key}'." if place else f"the key '{key}' is missing."
    return _Finding(place, found, _allowed(schema))


def _wrong_value(place: Place, error: Any) -> _Finding:
    found = f"'{_dotted(place)}' is {_shown(error.instance)}."
    return _Finding(place, found, _allowed(error.schema), _remedy(error.instance, error.schema))


def _shares(config: dict[str, Any]) -> Iterator[_Finding]:
    try:
        split = config["preprocessing"]["split"]
        shares = split["probabilities"]
        total = 1 if len(shares) != 3 or split.get("type") == "fixed" else sum(shares)
    except (KeyError, TypeError):
        return  # absent, or already found to be of a wrong type
    if abs(total - 1) > 1e-6:
        place = ("preprocessing", "split", "probabilities")
        yield _Finding(place, f"'{_dotted(place)}' sums to {total:g}: {_shown(shares)}.", "shares that sum to 1")


def _dotted(place: Iterable[str]) -> str:
    return ".".join(place)


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if len(repr(value)) <= 50 else repr(value)[:49] + "…"
    kinds = {"str": "the text ", "list": "the list ", "tuple": "the list ", "dict": "the section "}
    return kinds.get(type(value).__name__, "") + text


def _types(schema: Schema) -> list[str]:
    nested = [kind for option in schema.get("anyOf", ()) for kind in _types(option)]
    kind = schema.get("type", [])
    return nested + ([kind] if isinstance(kind, str) else list(kind))


def _words(schema: Schema) -> list[str]:
    """The words that stand for themselves: 'auto', or the values of an enumeration."""
    return [*schema.get("enum", ()), *(word for option in schema.get("anyOf", ()) for word in _words(option))]


def _allowed(schema: Schema) -> str:
    """What a schema allows, in words: "a number above 0 or 'auto'"."""
    if "anyOf" in schema:
        return " or ".join(_allowed(option) for option in schema["anyOf"])
    if "enum" in schema:
        return ", ".join("null" if word is None else str(word) for word in schema["enum"])
    kinds = _types(schema)
    names = [TYPES[kind] + (_bounds(schema) if kind in ("integer", "number", "array") else "") for kind in kinds]
    return " or ".join(names)


def _bounds(schema: Schema) -> str:
    if "items" in schema:
        many = f" of {schema['minItems']}" if schema.get("minItems", 0) > 1 else ""
        return f"{many}, each {_allowed(schema['items'])}"
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']:g} to {schema['maximum']:g}"
    names = {
        "minimum": "of at least",
        "maximum": "of at most",
        "exclusiveMinimum": "above",
        "exclusiveMaximum": "below",
    }
    return " and".join(f" {word} {schema[name]:g}" for name, word in names.items() if name in schema)


def _remedy(value: Any, schema: Schema) -> str:
    kinds, words = _types(schema), [str(word) for word in _words(schema)]
    if value is None:
        return "Indent its settings below it, or remove it." if "object" in kinds else "Give a value or remove the key."
    if isinstance(value, dict):
        return _remedy_for_section(kinds)
    if not isinstance(value, str):
        return ""
    if value.lower() in ("none", "null") and "null" in kinds:
        return "Write null."
    if {"integer", "number"} & set(kinds):
        return _remedy_for_number(value) or _did_you_mean(value, words)
    if "array" in kinds:
        entry = f"Write '- name: {value}' on a line below it." if "properties" in schema["items"] else ""
        return entry or f"Write it as a list: [{value}]."
    if "object" in kinds:
        key = "name" if "name" in schema.get("properties", {}) else "type"
        return f"Write '{key}: {value}' on an indented line below it." if "allOf" in schema else ""
    return _did_you_mean(value, words)


def _remedy_for_section(kinds: list[str]) -> str:
    if "array" in kinds:
        return "Put '- ' before its first key, and indent the others as far."
    return "Put the text in quotes: in YAML, braces make a section." if "string" in kinds else ""


def _remedy_for_number(text: str) -> str:
    if EXPONENT.fullmatch(text):
        return f"Write {Decimal(text):f}: YAML takes {text} for a text."
    if NUMBER.fullmatch(text):
        return f"Write {text.replace(',', '.')}, without quotes."
    return ""


def _did_you_mean(value: str, words: list[str]) -> str:
    close = difflib.get_close_matches(value.lower(), words, 1)
    return f"Did you mean '{close[0]}'?" if close else ""


def _lost_indentation(text: str, schema: Schema) -> tuple[list[tuple[int, _Finding]], set[int]]:
    """One finding for all sections whose keys stand at column 0 below them, and the lines that it explains."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*[^#\s]", line)]
    tops = [i for i, (_, line) in enumerate(lines) if (key := KEY.match(line)) and key[1] in schema["properties"]]
    lost: dict[str, str] = {}
    hidden: set[int] = set()
    for start, end in itertools.pairwise([*tops, len(lines)]):
        name, below = lines[start][1].split(":")[0].strip(), lines[start + 1 : end]
        stray = next((line for _, line in below if not line.startswith("- ")), " ")
        if KEY.match(stray) and {"object", "array"} & set(_types(schema["properties"][name])):
            lost[name] = stray
            hidden |= {number for number, _ in lines[start:end]}
    if not lost:
        return [], set()
    (name, stray), *others = lost.items()
    found = f"the indentation is lost: '{stray}' stands at column 0, so it is not part of '{name}'"
    found += f"; the same below {', '.join(map(repr, list(lost)[1:]))}." if others else "."
    remedy = f"Put two spaces before every line that belongs to a section: '{name}:', then '  {stray}'."
    return [(min(hidden), _Finding((name,), found, "", remedy))], hidden
