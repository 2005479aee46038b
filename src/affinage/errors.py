"""The one error for what a person can mend; imports nothing heavy."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing to mend: where it is, what was found there, what is allowed, what to do."""

    where: str
    found: str
    allowed: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.found}"
        if self.allowed:
            text += f" Allowed: {self.allowed}."
        if self.remedy:
            text += f" {self.remedy}"
        return text


class AffinageError(Exception):
    """Everything a person must mend before the command can go on, reported at once.

    Scripts print it without a traceback and exit with code 2 (see `affinage.console`).
    """

    def __init__(self, *problems: Problem | str) -> None:
        if not problems:
            raise ValueError("an AffinageError names at least one problem")
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


def raise_all(problems: Iterable[Problem | str]) -> None:
    """Raises one AffinageError that holds every problem; returns when there is none."""
    found = tuple(problems)
    if found:
        raise AffinageError(*found)
