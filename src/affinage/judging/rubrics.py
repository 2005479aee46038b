"""Rubrics: Markdown files in evaluate/rubrics/ that say what a judge is to look at and what each level means."""

import difflib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import ROOT, display

RUBRICS = ROOT / "evaluate" / "rubrics"
LEVEL = re.compile(r"-\s+(\d+)\s*:\s*(.*)")
Kind = Literal["criterion", "score", "comparison"]
KINDS: dict[Kind, str] = {
    "criterion": "a rubric with the levels 1, 2, 3, 4 and 5",
    "score": "a rubric with levels from 0 to 100, these two among them",
    "comparison": "a rubric without levels",
}
EXAMPLE = "A heading '# Title', what to look at, then a line '- 1: what it means' for each level."


@dataclass(frozen=True)
class Rubric:
    """One rubric: `text` says what to look at, `levels` what each number means; `sha256` is that of its file."""

    name: str
    title: str
    text: str
    levels: dict[int, str]
    sha256: str

    @property
    def kind(self) -> Kind:
        """What it can be used for, by its levels."""
        if not self.levels:
            return "comparison"
        return "criterion" if set(self.levels) == {1, 2, 3, 4, 5} else "score"

    def described(self) -> str:
        """The rubric as a judge reads it, the lowest level first."""
        levels = [f"{level}: {meaning}" for level, meaning in sorted(self.levels.items())]
        return "\n".join([f"{self.title}. {self.text}", *levels])


def load_rubric(name: str, kind: Kind, folder: Path = RUBRICS) -> Rubric:
    """The rubric of that name. Raises AffinageError when there is none, or when it is none of that kind."""
    path = folder / f"{name}.md"
    if not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.md") if file.stem != "README")
        close = difflib.get_close_matches(name, known, 1)
        remedy = f"Did you mean '{close[0]}'?" if close else ""
        raise AffinageError(Problem(display(path), "no such rubric.", ", ".join(known), remedy))
    rubric = read_rubric(path)
    if rubric.kind != kind:
        raise AffinageError(Problem(display(path), f"is {KINDS[rubric.kind]}.", KINDS[kind]))
    return rubric


def read_rubric(path: Path) -> Rubric:
    """The rubric of one file. Raises AffinageError with everything that is wrong in it."""
    try:
        content = path.read_bytes()
        lines = content.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AffinageError(Problem(display(path), f"cannot be read: {error}.", "UTF-8 text", EXAMPLE)) from error
    title, text, levels, problems = "", list[str](), dict[int, str](), list[Problem]()
    last: int | None = None
    for number, line in enumerate(lines, 1):
        where, stripped = f"{display(path)}:{number}", line.strip()
        if found := LEVEL.fullmatch(stripped):
            last = int(found[1])
            if last in levels:
                problems.append(Problem(where, f"the level {last} stands there twice.", remedy="Keep one."))
            levels[last] = found[2]
        elif line.startswith("# ") and not title:
            title = stripped.removeprefix("# ")
        elif stripped and last is not None:
            levels[last] = f"{levels[last]} {stripped}".strip()
        elif stripped:
            text.append(stripped)
    rubric = Rubric(path.stem, title, " ".join(text), levels, hashlib.sha256(content).hexdigest())
    raise_all([*problems, *_faults(path, rubric)])
    return rubric


def _faults(path: Path, rubric: Rubric) -> Iterator[Problem]:
    where = display(path)
    if not rubric.title:
        yield Problem(where, "has no title.", remedy=EXAMPLE)
    if not rubric.text:
        yield Problem(where, "does not say what to look at.", remedy=EXAMPLE)
    for level, meaning in rubric.levels.items():
        if not meaning:
            yield Problem(where, f"the level {level} is not described.", remedy=EXAMPLE)
    found = set(rubric.levels)
    if found and found != {1, 2, 3, 4, 5} and not ({0, 100} <= found <= set(range(101))):
        shown = ", ".join(map(str, sorted(found)))
        yield Problem(where, f"has the levels {shown}.", "1 to 5, all of them; or 0, 100 and others between; or none")
