"""Exit codes and streams of every script, each claim checked in a process of its own."""

import subprocess
import sys

SCRIPT = """
from affinage.console import next_command, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem

def main():
    {body}

raise SystemExit(run_script(main))
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SCRIPT.format(body=body)], capture_output=True, text=True)


def test_a_script_that_returns_nothing_succeeds() -> None:
    assert run("return None").returncode == 0


def test_a_script_keeps_the_exit_code_it_returns() -> None:
    assert run("return 3").returncode == 3


def test_what_a_person_can_mend_exits_2_without_a_traceback() -> None:
    finished = run("raise AffinageError(Problem('a.yaml', 'is empty.'), 'no [token] is set')")
    assert finished.returncode == 2
    assert finished.stderr.splitlines() == ["error: a.yaml: is empty.", "error: no [token] is set"]
    assert finished.stdout == ""


def test_ctrl_c_exits_130_with_one_word() -> None:
    finished = run("raise KeyboardInterrupt")
    assert (finished.returncode, finished.stderr) == (130, "interrupted\n")


def test_a_bug_keeps_its_traceback() -> None:
    finished = run("raise ZeroDivisionError('a bug')")
    assert finished.returncode == 1
    assert "Traceback" in finished.stderr
    assert "ZeroDivisionError: a bug" in finished.stderr


def test_results_go_to_stdout_and_progress_to_stderr() -> None:
    finished = run("stdout.print('result'); stderr.print('progress')")
    assert (finished.stdout, finished.stderr) == ("result\n", "progress\n")


def test_long_lines_are_not_cut_or_wrapped() -> None:
    assert run("stdout.print('x' * 400)").stdout == "x" * 400 + "\n"


def test_the_last_line_names_the_next_command_as_typed() -> None:
    finished = run("next_command('make train SET=\"a=[1]\"')")
    assert finished.stdout.splitlines()[-1] == 'Next: make train SET="a=[1]"'
