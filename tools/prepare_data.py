"""Makes datasets/<task>/ from a file, a folder or a dataset elsewhere: reads, cleans, splits, and says what it did.

.venv/bin/python tools/prepare_data.py --source questions.csv --task questions
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.paths import DATASETS, display

MOST_REASONS = 6
OPTIONS = {
    "source": "a file, a folder, hf://user/name[:config][@revision] or ludwig://name",
    "task": "the name of the dataset: it is made in datasets/<task>/",
    "format": "auto (default), or the name of a format, such as csv or sharegpt",
    "columns": "which column of the source is which of ours: 'instruction=question output=\"ma réponse\"'",
    "unanswerable": "the answer for questions that have none (SQuAD); without it they are dropped",
    "split": "parts such as 0.8/0.1/0.1, or given (default: the source's own splits, 0.8/0.1/0.1 for other rows)",
    "by": "group (default): rows of a group stay together; or row",
    "stratify": "label: each split gets the labels in the proportions of the whole",
    "seed": "a whole number that decides every draw (default: 42)",
    "sample": "keep only so many rows, drawn before the split",
    "near": "drop rows that are so similar to an earlier one, such as 0.8 (default: exact duplicates only)",
    "exact-duplicates": "true (default) to drop rows that repeat an earlier one, or false",
    "near-leaks": "report questions of two splits that are so similar, or off (default: as --near, else 0.8)",
    "on-leak": "drop_from_train (default), error or warn: what to do when splits share questions or long answers",
    "pii": "report (default), mask, drop or error: what to do with personal data",
    "languages": "the languages expected, such as fr,en",
    "language-action": "report (default) or drop rows in other languages",
    "html": "strip (default), report or keep what is left of HTML",
    "control-characters": "strip (default), report or keep control and invisible characters",
    "tokenizer": "a folder or hub id: its special tokens are looked for in the texts",
    "special-tokens": "report (default), strip, or drop the rows that hold one",
    "min-output-chars": "drop rows with a shorter answer (default: 1)",
    "max-chars": "drop rows with more characters in all",
    "min-words": "drop rows with fewer words in all",
    "max-words": "drop rows with more words in all",
    "balance": "cap=N, downsample, downsample=N, upsample or upsample=N: evens out the labels of the training rows",
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, explained in OPTIONS.items():
        parser.add_argument(f"--{name}", help=explained)
    parser.add_argument("--replace", action="store_true", help="make the dataset again when it is there already")
    parser.add_argument("--datasets", type=Path, default=DATASETS, help="where datasets are (default: datasets/)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    typed = {name: value for name, value in vars(parse(argv)).items() if value is not None}
    datasets = typed.pop("datasets")
    quiet_libraries()
    from affinage.curation.build import build
    from affinage.curation.options import read_options

    options = read_options(typed)
    stderr.print(f"[dim]reading {options.source}[/]")
    built = build(options, datasets)
    show_source(built.manifest)
    show_steps(built.manifest["steps"])
    show_dropped(built.manifest["steps"])
    show_splits(built.manifest)
    show_balance(built.manifest["balance"])
    show_leaks(built.manifest)
    for warning in built.manifest["warnings"]:
        say("warning: ", "yellow", warning)
    show_files(built.folder, built.manifest["files"])
    next_command(f"make check-data TASK={options.task}")


def say(start: str, style: str, text: str) -> None:
    """One line whose text, which may come from the data, is shown as it is."""
    from rich.text import Text

    stdout.print(Text(start, style) + Text(text, "not bold"))


def show_source(manifest: dict[str, Any]) -> None:
    source, files = manifest["source"], manifest["source"]["files"]
    many = f", {len(files):,} files" if len(files) > 1 else ""
    size = f", {sum(file['bytes'] for file in files):,} bytes" if files else ""
    say("Recognised: ", "bold", f"{source['name']} as {source['format']}{many}{size}")
    for note in manifest["notes"]:
        say("  ", "", note)


def show_steps(steps: list[dict[str, Any]]) -> None:
    """The steps that did something; those that found nothing to do share one line."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="\nSteps", title_justify="left")
    for heading in ("step", "rows in", "rows out", "what happened"):
        table.add_column(heading, justify="right" if heading.startswith("rows") else "left", overflow="fold")
    idle = [step["step"] for step in steps[1:] if not reason_lines(step)]
    for step in steps:
        if step["step"] not in idle:
            happened = "\n".join(reason_lines(step)) or "nothing to mend"
            table.add_row(step["step"], f"{step['in']:,}", f"{step['out']:,}", Text(happened))
    stdout.print(table)
    if idle:
        stdout.print(f"Nothing to do in: {', '.join(idle)}.")


def reason_lines(step: dict[str, Any]) -> list[str]:
    """Each reason of a step with its rows, those of rows that were dropped first."""
    reasons = {
        reason: n["rows"] for reason, n in step["reasons"].items() if step["step"] != "leaks" or "dropped" in reason
    }
    rank = {reason: (not reason.startswith("dropped"), -rows) for reason, rows in reasons.items()}
    shown = sorted(reasons, key=rank.__getitem__)
    lines = [f"{reasons[reason]:,} {reason}" for reason in shown[:MOST_REASONS]]
    return lines + ([f"and {len(shown) - MOST_REASONS} more"] if len(shown) > MOST_REASONS else [])


def show_dropped(steps: list[dict[str, Any]]) -> None:
    """Every reason for which rows went, with examples."""
    dropped = [(step["step"], *found) for step in steps for found in reasons_of(step, "dropped: ")]
    if any(count["examples"] for _, _, count in dropped):
        stdout.print("\n[bold]Examples of what was dropped[/]")
    for step, reason, count in dropped:
        for example in count["examples"][:1]:
            say(f"  {step}, {reason}: ", "bold", example.replace("\n", " ⏎ "))


def reasons_of(step: dict[str, Any], start: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for reason, count in step["reasons"].items():
        if reason.startswith(start):
            yield reason.removeprefix(start), count


def show_splits(manifest: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="\nSplits, in rows", title_justify="left")
    table.add_column("split")
    for heading in ("asked", "got", "written", *(escape(label) or "no label" for label in shown_labels(manifest))):
        table.add_column(heading, justify="right")
    for name, written in manifest["sizes"]["rows"].items():
        labels = [manifest["sizes"]["labels"][label][name] for label in shown_labels(manifest)]
        numbers = (manifest["split"]["asked"][name], manifest["split"]["got"][name], written, *labels)
        table.add_row(name, *(f"{number:,}" for number in numbers))
    stdout.print(table)


def shown_labels(manifest: dict[str, Any]) -> list[str]:
    """The labels that fit on a line: the most frequent ones, none when there is but one."""
    labels = manifest["sizes"]["labels"]
    frequent = sorted(labels, key=lambda label: -sum(labels[label].values()))
    return frequent[:6] if len(labels) > 1 else []


def show_balance(balance: dict[str, tuple[int, int]]) -> None:
    if balance:
        stdout.print("\n[bold]Training rows by label[/], before and after balancing")
    for label, (before, after) in balance.items():
        say(f"  {before:>9,} → {after:<9,} ", "bold", label or "no label")


def show_leaks(manifest: dict[str, Any]) -> None:
    [step] = [step for step in manifest["steps"] if step["step"] == "leaks"]
    stdout.print("\n[bold]Leaks between splits[/]")
    for severity, style in (("error", "red"), ("warning", "yellow"), ("note", "dim")):
        for what, count in reasons_of(step, f"{severity}: "):
            say(f"  {severity}: ", style, f"{count['rows']:,} {what}")
    if manifest["leaks"]["near_threshold"] is None:
        stdout.print("  near matches were not looked for")
    if not manifest["leaks"]["leaks"]:
        stdout.print("  none found")
    if lost := step["in"] - step["out"]:
        stdout.print(f"  {lost:,} rows were dropped for them, each from the split that is farther from the test")


def show_files(folder: Path, files: list[dict[str, Any]]) -> None:
    stdout.print("\n[bold]Written[/]")
    for file in (*files, {"name": "manifest.json"}):
        size = f"{file['bytes']:,} bytes" if "bytes" in file else "everything above, and the hashes of all files"
        say(f"  {display(folder / file['name'])}  ", "", size)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
