"""The pages in docs/recipes/: each tells of a project and holds the commands that rehearse it at tiny scale.

A block of shell commands that opens with "```sh run" is what `make recipe` runs; other blocks are for people to type.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from affinage.errors import AffinageError, Problem
from affinage.paths import ROOT, display

PAGES = ROOT / "docs" / "recipes"
BLOCK = re.compile(r"^```sh[ \t]*(run)?[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
# A comment opens with a # outside quotes, at the start of a line or after white space.
LINE = re.compile(r"""((?:"[^"]*"|'[^']*'|(?<=\S)#|[^#"'])*)(#.*)?""")
TAKES_RESULTS = re.compile(r"make (?!.*\bRESULTS=)")


@dataclass(frozen=True)
class Page:
    """One page: the commands that are run here, in order, and those for people with a GPU, the network or a judge."""

    path: Path
    run: tuple[str, ...]
    shown: tuple[str, ...]


def names() -> list[str]:
    """The recipes there are."""
    return sorted(path.stem for path in PAGES.glob("*.md") if "." not in path.stem and path.stem != "README")


def read_page(name: str, language: str = "") -> Page:
    """The page of a recipe, in English or in the `language` given ("fr").

    Raises AffinageError when there is none, when it has nothing to run, or when a quote in a command is not closed.
    """
    path = PAGES / (f"{name}.{language}.md" if language else f"{name}.md")
    if name not in names() or not path.is_file():
        raise AffinageError(Problem("NAME", f"there is no recipe '{name}'.", ", ".join(names())))
    blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
    commands = {
        marked: tuple(command for kind, text in blocks if bool(kind) == marked for command in _commands(text, path))
        for marked in (True, False)
    }
    if not commands[True]:
        raise AffinageError(Problem(display(path), "has no commands to run: no block opens with '```sh run'."))
    return Page(path, commands[True], commands[False])


def _commands(text: str, path: Path) -> Iterator[str]:
    """One command a line; a backslash at the end of a line joins it with the next, and comments go."""
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        found = LINE.fullmatch(line)
        if not found:
            raise AffinageError(Problem(display(path), f"a quote is not closed: {line.strip()}"))
        if command := found[1].strip():
            yield command


def with_results(command: str, results: Path) -> str:
    """A make command that keeps its runs in a folder of their own, unless it names one."""
    return f"{command} RESULTS={shlex.quote(display(results))}" if TAKES_RESULTS.match(command) else command
