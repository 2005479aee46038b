"""Writes the card of a dataset, a README.md for people and for the Hub, from its rows, its manifest and a check.

.venv/bin/python tools/make_card.py --task voix-passive --licence cc0-1.0
"""

import argparse
import os
import shlex
from pathlib import Path

from affinage.console import next_command, run_script, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import CONFIGS, DATASETS, ROOT, display

WORDS = {
    "licence": 'licences: "cc-by-4.0" of the dataset, "mails.txt=cc0-1.0" of a source, or several of these',
    "language": "ISO 639 codes (default: what the answers look like)",
    "task-category": "words of the Hub (default: text-generation)",
    "annotations-creators": "words of the Hub, such as expert-generated",
    "source-datasets": "ids on the Hub, or original",
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, help="the dataset is datasets/<task>/; the card goes beside it")
    parser.add_argument("--dataset", default="", help="the folder of the rows, and of the card, instead")
    parser.add_argument("--name", default="", help="the title (default: the task as words)")
    for name, explained in WORDS.items():
        parser.add_argument(f"--{name}", default="", help=explained)
    parser.add_argument("--replace", action="store_true", help="write over a README.md that a person wrote or edited")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    folder = Path(arguments.dataset).resolve() if arguments.dataset else DATASETS / arguments.task
    if not folder.is_dir():
        remedy = "Make it with make data, or name its folder with DATASET=."
        raise AffinageError(Problem(display(folder), "is no folder, and the card goes beside the rows.", "", remedy))
    os.chdir(ROOT)
    from affinage.curation.card import Given, card_text, read_manifest, refuse_to_overwrite, write_card
    from affinage.curation.checkup import check_dataset

    given = Given(arguments.name, *(words(arguments, name) for name in WORDS))
    if not arguments.replace:
        refuse_to_overwrite(folder)  # before the rows are looked at, which may take a while
    manifest = read_manifest(folder)
    checkup = check_dataset(arguments.task, str(folder))
    path = write_card(card_text(checkup, manifest, given), folder, arguments.replace)
    for missing in unknown(manifest, given):
        stdout.print(f"[yellow]not known:[/] {missing}")
    stdout.print(f"Card: {display(path)}, {sum(checkup.rows.values()):,} rows", markup=False)
    next_command(what_next(arguments))


def words(arguments: argparse.Namespace, name: str) -> list[str]:
    text = getattr(arguments, name.replace("-", "_"))
    try:
        return shlex.split(text)
    except ValueError as error:
        raise AffinageError(Problem(f"--{name} {text}", f"{error}.", remedy="Close the quote.")) from error


def unknown(manifest: dict, given) -> list[str]:
    """What the card says nobody told, and how to tell it."""
    found = []
    if not any("=" not in word for word in given.licences):
        found.append('the licence; name it with LICENCE="cc-by-4.0"')
    if not manifest:
        found.append("how the rows were made: no manifest.json comes with them (make data writes one)")
    return found


def what_next(arguments: argparse.Namespace) -> str:
    given = f" DATASET={shlex.quote(arguments.dataset)}" if arguments.dataset else ""
    configs = sorted((CONFIGS / arguments.task).glob("*.yaml"))
    if configs:
        return f"make check CONFIG={display(configs[0])}{given}"
    return f"make check-data TASK={arguments.task}{given}"


if __name__ == "__main__":
    raise SystemExit(run_script(main))
