"""Talks with a run's model in the terminal, as it was before training or after, in the prompt of training.

.venv/bin/python tools/chat.py --run last
.venv/bin/python tools/chat.py --run last --ask "Mets la phrase au pluriel." --input "Le chat dort."
.venv/bin/python tools/chat.py --adapter user/name --config ludwig_configs/alpaca/mistral-7b-qlora.yaml

Without a terminal, every line of standard input is a question, and only answers go to standard output.
"""

import argparse
import contextlib
import io
import os
import sys
from pathlib import Path

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, ROOT, display, full_dataset
from affinage.runs import newest_or_named


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", help="a run's id or folder, or last, the newest one")
    what.add_argument(
        "--adapter", default="", help="a folder in PEFT format, or an id on the Hugging Face Hub; needs --config"
    )
    parser.add_argument("--config", type=Path, help="with --adapter: the YAML that names base model, prompt and data")
    parser.add_argument("--dataset", default="", help="with --adapter: other rows than those of the config's task")
    parser.add_argument("--side", choices=("base", "tuned", "both"), default="tuned", help="who answers first")
    parser.add_argument("--system", default="", help="as /system: fills the first column, the question the next")
    parser.add_argument("--input", default="", help="as /input: fills the column after the question")
    parser.add_argument("--set", default="", help='as /set: "temperature=0.7 max_new_tokens=200 seed=1"')
    parser.add_argument("--ask", default="", help="one question: print its answer and end")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    arguments = parser.parse_args(argv)
    if arguments.adapter and not arguments.config:
        raise AffinageError(Problem("--adapter", "needs the YAML that names its base model.", remedy="Add CONFIG=."))
    return arguments


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    results, config = arguments.results.resolve(), arguments.config and arguments.config.resolve()
    dataset, here = full_dataset(arguments.dataset), Path.cwd()
    adapter = str(Path(arguments.adapter).resolve()) if Path(arguments.adapter).is_dir() else arguments.adapter
    os.chdir(ROOT)
    quiet_libraries()
    run = newest_or_named(arguments.run, results) if arguments.run else None
    stderr.print(f"[dim]{display(run.folder) if run else adapter}: loading (about 10 s)[/]")
    from affinage.answering import SIDES, Answerer
    from affinage.chat import Session, drawing
    from affinage.subjects import open_adapter

    if run:
        answerer = Answerer.of_run(run)
    else:
        subject = open_adapter(adapter, config, dataset, results)
        answerer = Answerer(subject.llm, subject.config)
    session = Session(answerer, SIDES if arguments.side == "both" else (arguments.side,), here)
    session.drawing = drawing(arguments.set, session.drawing)
    for command, text in (("system", arguments.system), ("input", arguments.input)):
        if text:
            session.take(f"/{command} {text}")
    if arguments.ask:
        answer(session, arguments.ask, alone=True)
    elif sys.stdin.isatty():
        converse(session)
        next_command(f"make serve RUN={run.folder.name}" if run else "make list")
    else:
        answer_all(session)


def answer_all(session) -> None:
    """Answers the lines of standard input; the first mistake in them ends the program."""
    from affinage.chat import entries

    lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8")
    try:
        for line in entries(lambda inside: next(lines, None)):
            if not heed(session, line, alone=True):
                return
    except UnicodeDecodeError as error:
        raise AffinageError(Problem("standard input", f"is not UTF-8 text: {error.reason}.")) from error


def converse(session) -> None:
    """Asks for questions until /quit or Ctrl-D; a mistake is shown, and Ctrl-C stops no more than an answer."""
    from affinage.chat import entries

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  arrow keys and history in input()
    stderr.print(f"[dim]{' and '.join(session.sides)} will answer. /help lists the commands.[/]")
    while True:
        try:
            for line in entries(typed):
                if not heed(session, line):
                    return
            return
        except AffinageError as error:
            for problem in error.problems:
                stderr.print(f"error: {problem}", style="red", markup=False)
        except KeyboardInterrupt:
            stderr.print("\n[dim]/quit or Ctrl-D ends[/]")


def typed(inside: bool) -> str | None:
    try:
        return input("... " if inside else ">>> ")
    except EOFError:
        return None


def heed(session, line: str, alone: bool = False) -> bool:
    """Does what a line says; False when it says to end. With `alone`, all but answers goes to standard error."""
    reply = session.take(line)
    if reply.text:
        stderr.print(reply.text, style="dim", markup=False)
    if reply.question:
        answer(session, reply.question, alone)
    return not reply.quit


def answer(session, question: str, alone: bool = False) -> None:
    """Shows the answer of every side while it is made; Ctrl-C ends the one that is being made."""
    from affinage.chat import printable

    several = len(session.sides) > 1
    for side, stream in session.ask(question):
        if several:
            stdout.out(f"{side}: ", end="", highlight=False)
        try:
            for piece in stream:
                stdout.out(printable(piece), end="", highlight=False)
        except KeyboardInterrupt:
            stream.cancel()
            for piece in stream:
                stdout.out(printable(piece), end="", highlight=False)
            if alone:
                raise
        stdout.out("", highlight=False)
        if told := session.notice(stream.ending):
            stderr.print(f"[dim]({told})[/]")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
