"""A dataset as its repository on the Hub will be: the rows, their card and the manifest of how they were made."""

import json
import re
from pathlib import Path

import yaml
from huggingface_hub import DatasetCard

from affinage.data import dataset_files
from affinage.errors import AffinageError, Problem
from affinage.paths import DATASETS, display
from affinage.publishing.checks import LICENCES, personal_data_problems
from affinage.publishing.layout import Contents, dumped, write_folder
from affinage.publishing.safety import sanitised

TASK = re.compile(r"\w[\w.-]*")
CARD, MANIFEST = "README.md", "manifest.json"


def files_of(task: str) -> list[Path]:
    """The files of rows in datasets/<task>/. Raises AffinageError for a task without any."""
    if not TASK.fullmatch(task):
        raise AffinageError(Problem(f"TASK {task}", "is no name of a folder.", "letters, digits, - _ and ."))
    return dataset_files(task)


def dataset_problems(task: str) -> list[Problem]:
    """A card that is missing, has no licence or names other files, and personal data in the rows.

    Raises AffinageError when the rows cannot be read.
    """
    return card_problems(DATASETS / task, files_of(task)) + personal_data_problems(files_of(task))


def card_problems(folder: Path, files: list[Path]) -> list[Problem]:
    """What is wrong with the card beside the rows."""
    card, remedy = folder / CARD, f"Write it with make card TASK={folder.name} LICENCE=cc-by-4.0"
    if not card.is_file():
        return [Problem(display(card), "no such file, and a dataset is published with its card.", remedy=remedy)]
    try:
        about = DatasetCard(card.read_text(encoding="utf-8")).data.to_dict()
    except (ValueError, yaml.YAMLError) as error:
        return [Problem(display(card), f"its metadata cannot be read: {error}.", remedy=remedy)]
    problems = []
    if not about.get("license"):
        problems.append(Problem(display(card), "names no licence.", LICENCES, remedy))
    missing = sorted(set(_named_files(about)) - {path.name for path in files})
    if missing:
        found = f"names files that are not there: {', '.join(missing)}."
        problems.append(Problem(display(card), found, remedy=remedy))
    return problems


def _named_files(about: dict) -> list[str]:
    """The files of rows that the metadata lists; patterns are left out."""
    names = []
    for part in about.get("configs") or []:
        listed = part.get("data_files") or []
        listed = [listed] if isinstance(listed, str) else listed
        names += [entry if isinstance(entry, str) else entry.get("path") for entry in listed]
    return [name for name in names if isinstance(name, str) and "*" not in name]


def stage_dataset(task: str, folder: Path, edited_card: str = "") -> Path:
    """Makes `folder` as the repository will be, in one step; returns it.

    Raises AffinageError for a card that was edited there instead of in datasets/<task>/.
    """
    source = DATASETS / task
    if edited_card:
        remedy = f"Make the change in {display(source / CARD)}, and delete this file."
        raise AffinageError(Problem(display(folder / CARD), "was edited here.", remedy=remedy))
    contents: Contents = {path.name: path for path in (*files_of(task), source / CARD)}
    contents |= {path.name: path for pattern in ("LICENSE*", "LICENCE*", "NOTICE*") for path in source.glob(pattern)}
    if (source / MANIFEST).is_file():
        manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
        contents[MANIFEST] = dumped(sanitised(manifest, {}))
    return write_folder(folder, contents)


def sources(task: str) -> dict[str, Path]:
    """Rows, card and manifest by name, those that are there."""
    paths = [*files_of(task), DATASETS / task / CARD, DATASETS / task / MANIFEST]
    return {path.name: path for path in paths if path.is_file()}
