"""Makes a dataset with a language model on an Ollama server: cut, label, filter, rebalance, augment.

What to do stands in datasets/<task>/curate.yaml. Answers are kept: run the same command again to go on.

python tools/curate.py --task archives-demo --sample 20
"""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from affinage.console import next_command, run_script, stderr, stdout
from affinage.paths import DATASETS, RESULTS, display

if TYPE_CHECKING:
    from affinage.curation.rows import Counts
    from affinage.curation.steps.pipeline import Curated, Places, Sampled
    from affinage.ollama_models import Model


HINTS = {
    "overflow": "raise options.num_ctx in curate.yaml, or lower max_chars of the segment step",
    "length": "raise num_predict",
    "no_agreement": "say more precisely in the prompt what each label means",
    "not_in_source": "the model rewrote the text: ask for copies in the prompt, or take a larger model",
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, help="the folder in datasets/ that holds curate.yaml")
    parser.add_argument("--sample", type=_positive, help="try that many texts or rows and write a sheet to mark")
    parser.add_argument("--model", default="", help="a model on the server (default: the one in curate.yaml)")
    parser.add_argument("--host", default="", help="the Ollama server (default: OLLAMA_HOST, else this machine)")
    parser.add_argument("--pull", action="store_true", help="get the model when the server has not got it")
    parser.add_argument("--concurrency", type=_positive, help="questions at a time (default: the one in curate.yaml)")
    parser.add_argument("--retry-failed", action="store_true", help="ask again what had no valid answer")
    parser.add_argument("--replace", action="store_true", help="replace the curated data that is there")
    parser.add_argument("--datasets", type=Path, default=DATASETS, help="where tasks are (default: datasets/)")
    parser.add_argument("--output", type=Path, help="folder for the rows (default: curated/ beside curate.yaml)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where answers are kept (default: results/)")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a whole number of at least 1")
    return number


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    from affinage.answer_cache import AnswerCache
    from affinage.curation.steps.pipeline import Places, curate, run_sample
    from affinage.curation.steps.recipe_file import read_recipe
    from affinage.ollama_chat import Chat

    folder = arguments.datasets / arguments.task
    file = read_recipe(folder / "curate.yaml", arguments.model)
    if arguments.concurrency:
        file.recipe.concurrency = arguments.concurrency
    kept = arguments.results / "data" / arguments.task / "curation"
    unparsed = kept / ("sample-unparsed.jsonl" if arguments.sample else "unparsed.jsonl")
    places = Places(arguments.output or folder / "curated", unparsed, kept / "review.csv")
    cache = AnswerCache(kept / "answers.jsonl", retry=arguments.retry_failed)
    stderr.print(f"[dim]answers are kept in {shown(cache.path)}: an interrupted run goes on where it stopped[/]")
    with Chat(arguments.host, file.recipe.model, file.recipe.options, think=file.recipe.think, cache=cache) as chat:
        show_model(chat.preflight(arguments.pull), chat.server.url)
        arguments.host = arguments.host and chat.server.url  # from here on it is shown, without a password in it
        if arguments.sample:
            show_sample(run_sample(file, chat, places, arguments.sample), places, arguments)
        else:
            show_dataset(curate(file, chat, places, arguments.replace), places, arguments)


def shown(path: Path) -> str:
    return escape(display(path))


def show_model(model: "Model", url: str) -> None:
    facts = ", ".join(filter(None, (model.parameter_size, model.quantization, f"digest {model.digest[:12]}")))
    stdout.print(f"[bold]{escape(model.name)}[/] ({facts}) on {url}, Ollama {model.server_version}")


def show_steps(counts: "Counts") -> None:
    from rich.table import Table

    from affinage.curation.manifest import steps

    table = Table(title="\nSteps", title_justify="left")
    for heading in ("step", "in", "out", "n", "what"):
        table.add_column(heading, justify="right" if heading in ("in", "out", "n") else "left", overflow="fold")
    entries = steps(counts)
    idle = [entry["step"] for entry in entries if not entry["reasons"] and entry["in"] == entry["out"]]
    for entry in entries:
        if entry["step"] in idle:
            continue
        numbers = ["" if entry[name] is None else f"{entry[name]:,}" for name in ("in", "out")]
        lines = [(f"{count['rows']:,}", reason) for reason, count in entry["reasons"].items()]
        for i, (n, reason) in enumerate(lines):
            first = [entry["step"], *numbers] if i == 0 else ["", "", ""]
            table.add_row(*first, n, escape(reason), end_section=i == len(lines) - 1)
    stdout.print(table)
    if idle:
        stdout.print(f"[dim]changed nothing: {escape(', '.join(idle))}[/]")


def show_unparsed(unparsed: dict[str, int], places: "Places") -> None:
    if unparsed:
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in unparsed.items())
        stdout.print(f"[yellow]{sum(unparsed.values()):,} answers not used[/] ({reasons}): {shown(places.unparsed)}")
    for reason, hint in HINTS.items():
        if reason in unparsed:
            stdout.print(f"  {reason}: {hint}")


def show_precision(result: "Curated | Sampled", places: "Places") -> None:
    for step, precision in result.precision.items():
        stdout.print(f"precision of [bold]{step}[/], from the marks in {shown(places.sheet)}: {precision}")
    if result.stale_marks:
        stdout.print(f"{result.stale_marks} marks are of an earlier prompt or model and do not count")


def show_sample(result: "Sampled", places: "Places", arguments: argparse.Namespace) -> None:
    show_steps(result.counts)
    show_unparsed(result.unparsed, places)
    show_precision(result, places)
    if result.set_aside:
        stdout.print(f"Marks of other answers are kept in {shown(result.set_aside)}")
    stdout.print(f"\n{result.lines} decisions to mark: {shown(places.sheet)}")
    if result.precision:
        next_command(command(arguments))
        return
    stdout.print("Write yes or no (oui, non) into its column 'correct'; then run this command again.")
    next_command(command(arguments, f"SAMPLE={arguments.sample}"))


def show_dataset(result: "Curated", places: "Places", arguments: argparse.Namespace) -> None:
    from rich.table import Table

    show_steps(result.counts)
    table = Table(title="\nRows by split", title_justify="left")
    for heading in ("", *result.manifest["sizes"]["rows"]):
        table.add_column(heading, justify="right" if heading else "left")
    for name, rows in (("split asked", result.split.asked), ("split got", result.split.got)):
        table.add_row(name, *(f"{n:,}" for n in rows.values()))
    for label, rows in sorted(result.manifest["sizes"]["labels"].items()):
        table.add_row(f"written: {escape(label or 'no label')}", *(f"{n:,}" for n in rows.values()))
    table.add_row("written", *(f"{n:,}" for n in result.manifest["sizes"]["rows"].values()), style="bold")
    stdout.print(table)
    for note in result.manifest["notes"]:
        stdout.print(f"note: {escape(note)}")
    for warning in result.manifest["warnings"]:
        stdout.print(f"[yellow]warning:[/] {escape(warning)}")
    show_unparsed(result.unparsed, places)
    show_precision(result, places)
    stdout.print(f"\n{shown(places.target)}: train, validation, test and manifest.json")
    where = shlex.quote(display(places.target))
    next_command(f"make check-data TASK={shlex.quote(arguments.task)} DATASET={where}")


def command(arguments: argparse.Namespace, *others: str) -> str:
    """The make line for the same task, model and server."""
    given = {"TASK": arguments.task, "MODEL": arguments.model}
    words = [f"{name}={shlex.quote(value)}" for name, value in given.items() if value]
    server = [f"OLLAMA_HOST={shlex.quote(arguments.host)}"] if arguments.host else []
    return " ".join([*server, "make curate", *words, *others])


if __name__ == "__main__":
    raise SystemExit(run_script(main))
