"""The error for what a person can mend."""

import subprocess
import sys

import pytest

from affinage.errors import AffinageError, Problem, raise_all


def test_a_problem_reads_as_place_finding_choices_and_remedy() -> None:
    problem = Problem("a.yaml: adaptr", "unknown key.", allowed="adapter, trainer", remedy="Did you mean 'adapter'?")
    assert str(problem) == "a.yaml: adaptr: unknown key. Allowed: adapter, trainer. Did you mean 'adapter'?"


def test_a_problem_leaves_out_the_parts_it_lacks() -> None:
    assert str(Problem("a.yaml", "is empty.")) == "a.yaml: is empty."


def test_the_error_holds_every_problem_on_its_own_line() -> None:
    error = AffinageError(Problem("a.yaml", "is empty."), "no token is set")
    assert str(error).splitlines() == ["a.yaml: is empty.", "no token is set"]
    assert len(error.problems) == 2


def test_an_error_without_a_problem_is_a_bug() -> None:
    with pytest.raises(ValueError, match="at least one problem"):
        AffinageError()


def test_raise_all_reports_all_problems_at_once() -> None:
    with pytest.raises(AffinageError) as caught:
        raise_all(f"problem {number}" for number in range(3))
    assert caught.value.problems == ("problem 0", "problem 1", "problem 2")


def test_raise_all_returns_when_nothing_is_wrong() -> None:
    raise_all([])


def test_importing_the_errors_loads_nothing_heavy() -> None:
    code = "import sys, affinage.errors; print(sorted({'torch', 'ludwig', 'rich', 'yaml'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
