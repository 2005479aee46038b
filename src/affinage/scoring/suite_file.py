"""Reads a suite file and says of every mistake on which line it is and what is allowed there."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import SUITES, display
from affinage.scoring.catalogue import SECTION_METRICS
from affinage.scoring.suite import Suite

Words = tuple[str, str, str]  # what was found, what is allowed, what to do
Mistake = tuple[int, str, str, str]  # with the line before them
TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "a section with keys",
    "model_type": "a section with keys",
    "finite_number": "a finite number",
    "invalid_key": "a text as key",
}
BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}


def load_suite(task: str, suite: str = "", folder: Path | None = None) -> Suite:
    """The suite called `suite`, or without that name the task's own; a task without a file gets the defaults.

    They lie in `folder`, by default evaluate/suites/. Raises AffinageError with everything that is wrong in the file,
    and for a named suite that is not there.
    """
    folder = folder or SUITES
    path = folder / f"{suite or task}.yaml"
    if path.is_file():
        return read_suite(path)
    if suite and suite != "default":
        known = sorted(found.stem for found in folder.glob("*.yaml"))
        remedy = _did_you_mean(suite, known) or "Leave the suite out for the task's own."
        raise AffinageError(Problem(display(path), "no such suite.", ", ".join([*known, "default"]), remedy))
    return Suite.model_validate({})


def read_suite(path: Path) -> Suite:
    """The suite of one file, under the file's name. Raises AffinageError with everything that is wrong in it."""
    root, content = _load(path)
    found = [*_repeated(root), *_empty(root)] if root else []
    try:
        suite = Suite.model_validate({str(key): value for key, value in content.items() if value is not None})
    except ValidationError as error:
        found += [(line_of(root, fault["loc"]), *_mistake(fault)) for fault in error.errors()]
        raise AffinageError(*_problems(path, found)) from error
    raise_all(_problems(path, found))
    return suite.named(path.stem)


def _problems(path: Path, found: list[Mistake]) -> list[Problem]:
    in_order = sorted(found, key=lambda mistake: mistake[0])
    return [Problem(f"{display(path)}:{line}", *words) for line, *words in in_order]


def _load(path: Path) -> tuple[yaml.Node | None, dict[str, Any]]:
    where = display(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        root, content = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        remedy = "Check the indentation around it."
        raise AffinageError(Problem(f"{where}:{line}", f"not valid YAML: {error.problem}.", remedy=remedy)) from error
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        remedy = "Save it as UTF-8 text."
        raise AffinageError(Problem(where, f"cannot be read as YAML: {error}.", remedy=remedy)) from error
    if content is None:
        return None, {}
    if not isinstance(content, dict):
        raise AffinageError(Problem(where, f"holds {_shown(content)}.", f"keys such as {', '.join(_keys(Suite))}"))
    return root, content


def _repeated(node: yaml.Node) -> Iterator[Mistake]:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    seen: set[str] = set()
    for key, _ in pairs:
        if key.value in seen:
            yield key.start_mark.line + 1, f"the key '{key.value}' stands there twice.", "", "Keep one."
        seen.add(str(key.value))
    for child in [child for _, child in pairs] or (node.value if isinstance(node, yaml.SequenceNode) else []):
        yield from _repeated(child)


def _empty(root: yaml.Node) -> Iterator[Mistake]:
    for key, value in root.value:
        if value.tag == "tag:yaml.org,2002:null":
            remedy = "Give it a value, indented below it, or remove the key."
            yield key.start_mark.line + 1, f"'{key.value}' is empty.", "", remedy


def line_of(node: yaml.Node | None, place: Sequence[str | int]) -> int:
    """The line of the deepest part of a place that stands in the file."""
    line = 1
    for part in place:
        child: tuple[yaml.Node, yaml.Node] | None = None
        if isinstance(node, yaml.MappingNode):
            child = next(((key, value) for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            child = (node.value[part], node.value[part])
        if child is None:
            break
        key, node = child
        line = key.start_mark.line + 1
    return line


def _mistake(fault: Any) -> Words:
    """One of pydantic's errors in words."""
    kind, loc, given = fault["type"], fault["loc"], fault.get("input")
    key = ".".join(str(part + 1) if isinstance(part, int) else part for part in loc)
    if kind == "extra_forbidden":
        return _unknown(loc)
    if kind == "missing":
        return f"'{'.'.join(map(str, loc[:-1]))}' has no key '{loc[-1]}'.", "", ""
    found = f"'{key}' is {_shown(given)}."
    if kind == "literal_error":
        words = [word.strip("'") for word in fault["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        section = next((name for name, metrics in SECTION_METRICS.items() if given in metrics), "")
        remedy = f"It comes with a section '{section}:'." if section else _did_you_mean(given, words)
        return found, ", ".join(words), remedy
    if kind in BOUNDS:
        name, word = BOUNDS[kind]
        return found, f"{word} {fault['ctx'][name]:g}", ""
    if kind in ("too_short", "string_too_short"):
        return f"'{key}' is empty or too short.", f"{fault['ctx']['min_length']} or more", ""
    if kind == "value_error":
        return (f"'{key}': " if key else "") + str(fault["ctx"]["error"]), "", ""
    return found, TYPES.get(kind, fault["msg"]), _remedy(given, kind)


def _unknown(loc: Sequence[Any]) -> Words:
    *above, key = loc
    known = _keys(_section(above))
    inside = f" in '{'.'.join(map(str, above))}'" if above else ""
    homes = {name: f"{section}.{name}" for section in _keys(Suite) for name in _keys(_section([section]))}
    close = difflib.get_close_matches(str(key), homes, 1) if not above else []
    remedy = _did_you_mean(key, known) or (f"Did you mean '{homes[close[0]]}'?" if close else "")
    return f"unknown key '{key}'{inside}.", ", ".join(known), remedy


def _section(place: Sequence[Any]) -> type[BaseModel] | None:
    """The model of the section at a place, None where no section with keys of ours can stand."""
    model: type[BaseModel] | None = Suite
    for part in place:
        fields = {(field.alias or name): field for name, field in model.model_fields.items()} if model else {}
        kinds = get_args(fields[part].annotation) or (fields[part].annotation,) if part in fields else ()
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return model


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _did_you_mean(given: Any, known: list[str]) -> str:
    close = difflib.get_close_matches(str(given).lower(), {name.lower(): name for name in known}, 1)
    return f"Did you mean '{next(name for name in known if name.lower() == close[0])}'?" if close else ""


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    kinds = {"str": "the text ", "list": "the list ", "dict": "the section "}
    return kinds.get(type(value).__name__, "") + (text if len(text) <= 50 else text[:49] + "…")


def _remedy(given: Any, kind: str) -> str:
    if given is None:
        return "Give it a value or remove the key."
    if kind == "string_type":
        return "Put it in quotes: YAML takes yes, no, on, off and numbers for something else than text."
    if kind == "list_type" and isinstance(given, str):
        return f"Write it as a list: [{given}]."
    return "Write it without quotes." if kind in ("int_type", "float_type") and isinstance(given, str) else ""
