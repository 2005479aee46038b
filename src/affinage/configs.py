"""Reads a YAML config and applies typed overrides; the file itself goes to Ludwig unchanged."""

import contextlib
import copy
import difflib
import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import CONFIGS, display

# What can be set of a section of which Ludwig fills in nothing.
WORKERS = {"num_workers": 1, "strategy": "ddp", "max_failures": 3}
BACKEND: dict[str, Any] = {"type": "local", "storage": "", "trainer": WORKERS}
EXPONENT = re.compile(r"[-+]?[0-9.]+[eE][-+]?[0-9]+")  # YAML 1.1 takes 1e-4 for a word


def read_config(path: Path) -> dict[str, Any]:
    """The config as a dict. Raises AffinageError for a file that is missing, not YAML, or not a mapping."""
    where = display(path)
    if not path.is_file():
        raise AffinageError(Problem(where, "no such file.", remedy=_suggest_config(path)))
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise AffinageError(
            Problem(f"{where}:{line}", f"not valid YAML: {error.problem}.", remedy="Check the indentation around it.")
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AffinageError(Problem(where, f"not valid YAML: {error}.", remedy="Save it as UTF-8 text.")) from error
    if not isinstance(config, dict):
        raise AffinageError(Problem(where, f"holds a {type(config).__name__}.", "a mapping such as 'model_type: llm'"))
    return config


def _suggest_config(path: Path) -> str:
    places = {*path.parent.glob("*.yaml"), *path.parent.parent.glob("*/*.yaml"), *CONFIGS.rglob("*.yaml")}
    known = [display(found) for found in sorted(places)]
    close = difflib.get_close_matches(display(path), known, n=1, cutoff=0.5)
    return f"Did you mean {close[0]}?" if close else "Name a YAML file with CONFIG=."


def task_and_name(path: Path) -> tuple[str, str]:
    """The task (folder) and the name (file without .yaml) that a config's path stands for."""
    return path.resolve().parent.name, path.stem


def apply_overrides(config: dict[str, Any], overrides: str, resolved: dict[str, Any]) -> dict[str, Any]:
    """A copy of `config` with `key.path=value` pairs set, such as "trainer.epochs=1 adapter.r=32".

    A key must exist in `resolved`, the config with Ludwig's defaults filled in, and the value must be of the type
    that stands there. Raises AffinageError naming every pair that is wrong.
    """
    changed = yaml.safe_load(yaml.safe_dump(config))
    problems = []
    resolved = resolved | {"backend": _backend(config.get("backend"))}
    try:
        pairs = shlex.split(overrides)
    except ValueError as error:
        raise AffinageError(Problem(f"SET {overrides}", f"{error}.", remedy="Close the quote.")) from error
    for pair in pairs:
        key, equals, text = pair.partition("=")
        problem = _problem(key, equals, text, resolved) if equals else Problem(f"SET {pair}", "no '='.", "key=value")
        if problem:
            problems.append(problem)
            continue
        *parents, last = key.split(".")
        section, node = changed, resolved
        for parent in parents:
            node = node[int(parent)] if isinstance(node, list) else node[parent]
            section = _child(section, parent, node)
        node = node[int(last)] if isinstance(node, list) else node[last]
        section[int(last) if isinstance(section, list) else last] = _value(text, node)
    raise_all(problems)
    return changed


def _backend(given: Any) -> Any:
    """The section `backend` with what can be set in it."""
    if not isinstance(given, dict | None):
        return given
    trainer = (given or {}).get("trainer")
    return BACKEND | (given or {}) | {"trainer": BACKEND["trainer"] | (trainer if isinstance(trainer, dict) else {})}


def _value(text: str, present: Any) -> Any:
    """What YAML makes of the text, but 1e-4 is a number, and where a text stands a mapping or list is text."""
    value = yaml.safe_load(text)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value) if EXPONENT.fullmatch(value) else value
    return text if isinstance(present, str) and isinstance(value, dict | list) else value


def _child(section: Any, name: str, node: Any) -> Any:
    if isinstance(section, list):
        return section[int(name)]
    if section.get(name) is None:
        section[name] = copy.deepcopy(node) if isinstance(node, list) else {}
    return section[name]


def _problem(key: str, equals: str, text: str, resolved: dict[str, Any]) -> Problem | None:
    where, node = f"SET {key}", resolved
    for part in key.split("."):
        if not isinstance(node, dict | list):
            found = f"unknown key '{part}': {node!r} stands there, not a section."
            return Problem(where, found, remedy="Set the whole section, such as 'quantization={bits: 4}'.")
        keys = [str(i) for i in range(len(node))] if isinstance(node, list) else list(node)
        if part not in keys:
            close = difflib.get_close_matches(part, keys, n=1)
            remedy = f"Did you mean '{close[0]}'?" if close else f"Known here: {', '.join(map(str, keys))}."
            return Problem(where, f"unknown key '{part}'.", remedy=remedy)
        node = node[int(part)] if isinstance(node, list) else node[part]
    try:
        value = _value(text, node)
    except yaml.YAMLError:
        return Problem(where, f"'{text}' is not a YAML value.")
    if _fits(value, node):
        return None
    return Problem(where, f"'{text}' is a {type(value).__name__}.", f"a {type(node).__name__}, such as {node!r}")


def _fits(value: Any, present: Any) -> bool:
    """Whether a new value may stand where `present` stands; numbers stand for numbers, null and words are open."""
    if present is None or value is None or isinstance(present, str):
        return True
    if isinstance(present, bool) or isinstance(value, bool):
        return isinstance(present, bool) and isinstance(value, bool)
    if isinstance(present, (int, float)):
        return isinstance(value, (int, float)) or value == "auto"
    return isinstance(value, type(present))
