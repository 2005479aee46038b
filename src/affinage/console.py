"""Results to stdout, progress to stderr, and the one place that turns an AffinageError into exit code 2."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from affinage.errors import AffinageError

stdout = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 120)
stderr = Console(stderr=True, soft_wrap=True, highlight=False)


def run_script(main: Callable[[], int | None]) -> int:
    """Exit code of `main`: 2 with the problems listed for an AffinageError, 130 after Ctrl-C.

    Any other exception is a bug and keeps its traceback.
    """
    try:
        return main() or 0
    except AffinageError as error:
        for problem in error.problems:
            stderr.print(f"[bold red]error:[/] {escape(str(problem))}")
        return 2
    except KeyboardInterrupt:
        stderr.print("[bold]interrupted[/]")
        return 130


def progress_bar_options() -> dict[str, Any]:
    """How every tqdm bar behaves: on a terminal as wide as it, in a file or a log one line in ten seconds."""
    if sys.stderr.isatty():
        return {"dynamic_ncols": True}
    return {"ncols": 110, "mininterval": 10, "maxinterval": 10}


def quiet_libraries() -> None:
    """Keeps libraries from talking over our own output while they are imported and set up; errors still show."""
    warnings.simplefilter("ignore")
    for name in ("bitsandbytes", "httpx", "httpx2", "kernels", "ludwig", "torchao", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def next_command(command: str) -> None:
    """Prints the command a person would type next, as the last line of a script."""
    stdout.print(f"\nNext: [bold]{escape(command)}[/]")
    sys.stdout.flush()


@contextmanager
def library_log(path: Path) -> Iterator[None]:
    """Inside, what the libraries log, warn and print goes to a file; our own progress stays on screen."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("ludwig", "transformers", "py.warnings")]
    before = [(logger.level, logger.propagate, logger.handlers) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        with path.open("a", encoding="utf-8") as log, redirect_stdout(log):
            yield
    finally:
        logging.captureWarnings(False)
        handler.close()
        for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate, logger.handlers = propagate, handlers
