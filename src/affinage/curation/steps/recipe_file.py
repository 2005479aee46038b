"""Reads curate.yaml and says of every mistake on which line it is and what is allowed there."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from affinage.curation.cleaning import CleaningRules
from affinage.curation.steps.recipe import (
    Augment,
    Fault,
    Filter,
    Label,
    ModelStep,
    Rebalance,
    Recipe,
    Segment,
    SplitRules,
    column_faults,
    order_faults,
)
from affinage.errors import AffinageError, Problem, raise_all
from affinage.ollama_chat import Options
from affinage.paths import display

KINDS: dict[str, type[BaseModel]] = {
    "segment": Segment,
    "label": Label,
    "filter": Filter,
    "rebalance": Rebalance,
    "augment": Augment,
}
EXAMPLE = "Take datasets/archives-demo/curate.yaml as an example."


@dataclass(frozen=True)
class RecipeFile:
    """A recipe, and the file it was read from, for messages that name a line."""

    path: Path
    recipe: Recipe
    root: yaml.Node

    def problem(self, place: Sequence[str | int], found: str) -> Problem:
        """A problem of the file at a place such as ("steps", 1, "prompt")."""
        line, known = _find(self.root, place)
        key = ".".join(str(part + 1) if isinstance(part, int) else part for part in known)
        return Problem(f"{display(self.path)}:{line} {key}".rstrip(), found)

    def check_columns(self, columns: Iterable[str]) -> None:
        """Raises AffinageError when a prompt or an expression names a column that there will not be."""
        raise_all(self.problem(place, found) for place, found in column_faults(self.recipe, columns))


def read_recipe(path: Path, model: str = "") -> RecipeFile:
    """The recipe of a file, prompts that lie in files of their own included; `model` takes the place of its model.

    Raises AffinageError with everything that is wrong in it.
    """
    root, content = _load(path)
    if model:
        content["model"] = model
    try:
        file = RecipeFile(path, Recipe.model_validate(content), root)
    except ValidationError as error:
        empty = RecipeFile(path, Recipe.model_construct(), root)
        faults = sorted(error.errors(), key=lambda fault: _find(root, _place(fault["loc"]))[0])
        found = [empty.problem(_place(fault["loc"]), _sentence(fault)) for fault in faults]
        raise AffinageError(*_duplicates(path, root), *found) from error
    raise_all(_duplicates(path, root))
    raise_all(file.problem(*fault) for fault in [*order_faults(file.recipe), *_read_prompts(file)])
    return file


def _load(path: Path) -> tuple[yaml.Node, dict[str, Any]]:
    where = display(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        root, content = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except OSError as error:
        raise AffinageError(Problem(where, f"cannot be read: {error.strerror}.", remedy=EXAMPLE)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        remedy = "Check the indentation around it."
        raise AffinageError(Problem(f"{where}:{line}", f"not valid YAML: {error.problem}.", remedy=remedy)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        remedy = "Save it as UTF-8 text."
        raise AffinageError(Problem(where, f"not valid YAML: {error}.", remedy=remedy)) from error
    if not isinstance(content, dict) or root is None:
        raise AffinageError(Problem(where, "holds no keys such as 'source:' and 'steps:'.", remedy=EXAMPLE))
    return root, content


def _read_prompts(file: RecipeFile) -> Iterator[Fault]:
    """Fills `prompt` from `prompt_file`; yields what cannot be read."""
    for i, step in enumerate(file.recipe.steps):
        if isinstance(step, ModelStep) and step.prompt_file:
            try:
                step.prompt = (file.path.parent / step.prompt_file).read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                yield ("steps", i, "prompt_file"), f"'{step.prompt_file}' cannot be read as UTF-8 text: {error}."


def _place(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Where the error is in the file: pydantic names the kind of a step behind its number."""
    return loc[:2] + loc[3:] if loc[:1] == ("steps",) and len(loc) > 2 else loc


def _find(root: yaml.Node, place: Sequence[str | int]) -> tuple[int, list[str | int]]:
    """The line of the deepest part of a place that stands in the file, and the place as far as it makes sense."""
    node, line, known = root, 1, list[str | int]()
    for depth, part in enumerate(place):
        child: tuple[yaml.Node, yaml.Node] | None = None
        if isinstance(node, yaml.MappingNode):
            child = next(((key, value) for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = (node.value[part], node.value[part])
        if child is None:
            return line, [*known, part] if depth == len(place) - 1 and isinstance(node, yaml.MappingNode) else known
        key, node = child
        line = key.start_mark.line + 1
        known.append(part)
    return line, known


def _duplicates(path: Path, node: yaml.Node) -> Iterator[Problem]:
    children = [child for pair in node.value for child in pair] if isinstance(node, yaml.MappingNode) else []
    seen: set[str] = set()
    for key in children[::2]:
        if key.value in seen:
            yield Problem(f"{display(path)}:{key.start_mark.line + 1}", f"the key '{key.value}' stands there twice.")
        seen.add(str(key.value))
    for child in node.value if isinstance(node, yaml.SequenceNode) else children[1::2]:
        yield from _duplicates(path, child)


def _sentence(fault: Any) -> str:
    """One pydantic error in words."""
    kind, loc, given = fault["type"], fault["loc"], fault.get("input")
    if kind == "extra_forbidden":
        return f"unknown key. {_meant(str(loc[-1]), _fields(loc))}"
    if kind == "missing":
        return "is missing."
    if kind == "union_tag_invalid":
        return f"there is no step '{given['step']}'. {_meant(str(given['step']), list(KINDS))}"
    if kind == "union_tag_not_found":
        return f"names no step. Write 'step: ' with one of {', '.join(KINDS)}."
    if kind == "value_error":
        return str(fault["ctx"]["error"])
    shown = repr(given) if isinstance(given, str | int | float | bool | None) else f"a {type(given).__name__}"
    return f"{shown} stands there; {fault['msg'][0].lower()}{fault['msg'][1:]}."


def _fields(loc: tuple[str | int, ...]) -> list[str]:
    sections: dict[str, type[BaseModel]] = {"options": Options, "split": SplitRules, "clean": CleaningRules}
    if len(loc) == 1:
        return list(Recipe.model_fields)
    section = KINDS[str(loc[2])] if loc[0] == "steps" and len(loc) > 3 else sections.get(str(loc[0]))
    return list(section.model_fields) if section else []


def _meant(given: str, known: list[str]) -> str:
    close = difflib.get_close_matches(given, known, 1)
    return f"Did you mean '{close[0]}'?" if close else f"Known here: {', '.join(known)}."
