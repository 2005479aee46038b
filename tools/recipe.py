"""Runs a recipe at tiny scale, offline: every command of the page docs/recipes/<name>.md that is marked for it.

.venv/bin/python tools/recipe.py --name quizz
"""

import argparse
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from affinage.console import run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, ROOT, display
from affinage.recipe_pages import names, read_page, with_results


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="", help="a page in docs/recipes/")
    parser.add_argument(
        "--results", type=Path, help="folder for its runs (default: results/recipes/<name>, emptied first)"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    results = arguments.results and arguments.results.resolve()
    os.chdir(ROOT)
    if not arguments.name:
        raise AffinageError(Problem("NAME", "is missing.", ", ".join(names())))
    page = read_page(arguments.name)
    if results is None:
        results = RESULTS / "recipes" / arguments.name
        shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for number, command in enumerate(page.run, 1):
        stderr.print(f"\n[bold]{number}/{len(page.run)}[/]  {time.monotonic() - started:4.0f} s")
        if code := perform(with_results(command, results)):
            stderr.print(f"[bold red]stopped:[/] command {number} of {len(page.run)} ended with exit code {code}")
            return code
    seconds = time.monotonic() - started
    stdout.print(f"\n{len(page.run)} commands in {seconds:.0f} s; runs and pages: {display(results)}", markup=False)
    stdout.print(f"At full scale: {display(page.path)}")
    return 0


def perform(command: str) -> int:
    """Shows a command and runs it as a person would; its exit code."""
    stdout.print(f"$ {command}", style="bold", markup=False)
    stdout.file.flush()
    # `make recipe NAME=...` would hand its variables down to the make commands
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    process = subprocess.Popen(shlex.split(command), env=environment)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()  # Ctrl-C reached it too, and it may be saving a checkpoint
        raise


if __name__ == "__main__":
    raise SystemExit(run_script(main))
