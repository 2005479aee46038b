"""Reads which trials a sweep is to run, from a file that lists, crosses or draws the values of config keys."""

import itertools
import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from affinage import sweep_hyperopt
from affinage.errors import AffinageError, Problem, raise_all
from affinage.optuna_search import DIGITS, Drawn, Search, Settings
from affinage.paths import display
from affinage.sweep_faults import FORMS, Place, faults, number, values

DRAWS_PER_TRIAL = 1000  # before it is given up that there is a trial that was not drawn yet


@dataclass(frozen=True)
class Sweep:
    """The trials a file asks for, in the order in which they are run; `root` is the file as YAML nodes, for lines.

    With Ludwig's form, `search` says how the trials after these are found, and `drawn` what Optuna drew for these.
    """

    path: Path
    form: str
    trials: list[Settings]
    root: yaml.Node
    search: Search | None = None
    drawn: Sequence[Drawn] = ()

    def where(self, trial: int) -> str:
        """The file and the line where the trial of that number, from 1, is asked for."""
        line = _line(self.root, ("paired", trial - 1) if self.form == "paired" else (self.form,))
        return f"{display(self.path)}:{line}"


def read_sweep(path: Path, check: Callable[[str, Any], Iterable[Problem | str]], outputs: Sequence[str] = ()) -> Sweep:
    """The trials of a sweep file, which holds one of four forms.

    `grid: {key: [values]}` crosses all values; `paired: [{key: value}, ...]` lists the trials one by one;
    `random: {n, seed, space}` draws n different ones, where space holds for each key `{choices: [...]}` or
    `{low, high, log}`: whole numbers when both ends are, and evenly over the logarithm with `log: true`. `hyperopt` is
    Ludwig's own form; its content may also be the whole file, or stand in a config, whose other sections are left
    aside. `check` says what is wrong with a key of the config and a value for it, `outputs` are the names of its
    output features. Raises one AffinageError for everything that is wrong.
    """
    root, content = _asked(path, *_load(path))
    problems: dict[str, tuple[int, Problem]] = {}
    hyperopt = content.get("hyperopt")
    of_hyperopt = sweep_hyperopt.faults(hyperopt, outputs) if "hyperopt" in content else ()
    for place, found, allowed in [*_twice(root), *faults(content), *of_hyperopt]:
        line = _line(root, place)
        problems.setdefault(f"{line}: {found}", (line, Problem(f"{display(path)}:{line}", found, allowed)))
    for place, key, value in [*values(content), *sweep_hyperopt.values(hyperopt)]:
        line = _line(root, place)
        for problem in check(key, value):
            problems.setdefault(str(problem), (line, _at(f"{display(path)}:{line}", key, problem)))
    raise_all(problem for _, problem in sorted(problems.values(), key=lambda found: found[0]))
    if "hyperopt" in content:
        return _searched(path, root, sweep_hyperopt.search_of(content["hyperopt"]))
    (form,) = content
    trials = content[form] if form == "paired" else list((_crossed if form == "grid" else _drawn)(content[form]))
    if form == "random" and len(trials) < content["random"]["n"]:
        short = f"'n' is {content['random']['n']}, but only {len(trials)} different trials can be drawn."
        raise AffinageError(Problem(f"{display(path)}:{_line(root, ('random', 'n'))}", short))
    return Sweep(path, form, trials, root)


def _searched(path: Path, root: yaml.Node, search: Search) -> Sweep:
    drawn = search.first()
    return Sweep(path, "hyperopt", [search.settings(trial) for trial in drawn], root, search, drawn)


def _asked(path: Path, root: yaml.Node, content: dict[str, Any]) -> tuple[yaml.Node, dict[str, Any]]:
    """The one form that a file holds: of a config its `hyperopt`, and what has `parameters` at its top is one."""
    if "model_type" in content:
        if "hyperopt" not in content:
            found, remedy = "is a config without a 'hyperopt' section.", "Add it, or say what to try with SWEEP=."
            raise AffinageError(Problem(display(path), found, remedy=remedy))
        return root, {"hyperopt": content["hyperopt"]}
    if "parameters" in content and not set(FORMS) & set(content):
        name = yaml.ScalarNode("tag:yaml.org,2002:str", "hyperopt", root.start_mark, root.start_mark)
        return yaml.MappingNode("tag:yaml.org,2002:map", [(name, root)], root.start_mark), {"hyperopt": content}
    return root, content


def _at(where: str, key: str, problem: Problem | str) -> Problem:
    """A problem of a key of the config as one of the file that gives its value."""
    if isinstance(problem, str):
        return Problem(where, problem)
    found = problem.found if key in problem.found else f"{key}: {problem.found}"
    return Problem(where, found, problem.allowed, problem.remedy)


def _load(path: Path) -> tuple[yaml.Node, dict[str, Any]]:
    where, allowed = display(path), f"a YAML file with one of {', '.join(FORMS)}"
    try:
        text = path.read_text(encoding="utf-8-sig")
        root, content = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except OSError as error:
        raise AffinageError(Problem(where, f"cannot be read: {error.strerror}.", allowed)) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise AffinageError(Problem(f"{where}:{line}", f"not valid YAML: {error.problem}.")) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AffinageError(Problem(where, f"not valid YAML: {error}.", remedy="Save it as UTF-8 text.")) from error
    if not isinstance(content, dict) or root is None:
        raise AffinageError(Problem(where, "holds nothing to try.", allowed))
    return root, content


def as_overrides(settings: Settings) -> str:
    """The settings of a trial as SET= takes them, such as "trainer.learning_rate=0.001 adapter.r=8"."""
    return " ".join(shlex.quote(f"{key}={_flow(value)}") for key, value in settings.items())


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.removesuffix("...\n").strip()


def _crossed(grid: dict[str, list[Any]]) -> Iterator[Settings]:
    for combination in itertools.product(*grid.values()):
        yield dict(zip(grid, combination, strict=True))


def _drawn(random: dict[str, Any]) -> Iterator[Settings]:
    """n different trials, or as many as are found."""
    generator = np.random.default_rng(random.get("seed", 0))
    seen: set[str] = set()
    for _ in range(random["n"] * DRAWS_PER_TRIAL):
        settings = {key: _draw(space, generator) for key, space in random["space"].items()}
        if as_overrides(settings) not in seen:
            seen.add(as_overrides(settings))
            yield settings
        if len(seen) == random["n"]:
            return


def _draw(space: dict[str, Any], generator: np.random.Generator) -> Any:
    if "choices" in space:
        return space["choices"][int(generator.integers(len(space["choices"])))]
    low, high, log = number(space["low"]), number(space["high"]), space.get("log", False)
    whole = isinstance(low, int) and isinstance(high, int)
    if whole and not log:
        return int(generator.integers(int(low), int(high), endpoint=True))
    drawn = math.exp(generator.uniform(math.log(low), math.log(high))) if log else generator.uniform(low, high)
    return round(drawn) if whole else min(max(float(f"{drawn:.{DIGITS}g}"), low), high)


def _twice(node: yaml.Node, place: Place = ()) -> Iterator[tuple[Place, str, str]]:
    """A fault for every key that a mapping holds twice, of which YAML would take the last without a word."""
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _twice(child, (*place, index))
    elif isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        for at, (name, (_, child)) in enumerate(zip(names, node.value, strict=True)):
            if name in names[:at]:
                yield (*place, name), f"the key '{name}' stands there twice.", ""
            yield from _twice(child, (*place, name))


def _line(root: yaml.Node, place: Sequence[str | int]) -> int:
    """The line of the deepest part of a place that stands in the file, from 1."""
    node, line = root, 1
    for part in place:
        pairs: dict[Any, Any] = {}
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
        elif isinstance(node, yaml.SequenceNode):
            pairs = {index: (child, child) for index, child in enumerate(node.value)}
        if part not in pairs:
            break
        key, node = pairs[part]
        line = key.start_mark.line + 1
    return line
