"""Runs a recipe: raw text or rows in, a split dataset with its manifest out; or a sample of it, for review."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affinage.curation import manifest
from affinage.curation.balancing import balance, repeat
from affinage.curation.build import with_unique_ids
from affinage.curation.cleaning import clean
from affinage.curation.formats.files import SourceFile
from affinage.curation.leaks import LeakReport, apply_leak_policy, find_leaks
from affinage.curation.personal_data import scan
from affinage.curation.rows import Counts, Row, ordered
from affinage.curation.sources import open_source
from affinage.curation.splitting import Split, sample, split_rows
from affinage.curation.staging import staged
from affinage.curation.steps.asking import Work
from affinage.curation.steps.augment import augment
from affinage.curation.steps.filtering import keep_where
from affinage.curation.steps.label import label
from affinage.curation.steps.recipe import Augment, Filter, Label, ModelStep, Rebalance, Recipe, Segment
from affinage.curation.steps.recipe_file import RecipeFile
from affinage.curation.steps.review import Precision, key_start, precisions, read_sheet, write_sheet
from affinage.curation.steps.segment import Document, read_documents, segment
from affinage.data import SPLITS
from affinage.demo_server import is_demo
from affinage.errors import AffinageError, Problem
from affinage.ollama_chat import Chat
from affinage.paths import display
from affinage.runs import write_jsonl

Splits = dict[str, list[Row]]
DEMO = "DEMO: rules stood in for a language model. These rows show how curation works and are no material to train on."
PROVENANCE_ENDS = ("_model", "_digest", "_prompt_sha256")


@dataclass(frozen=True)
class Material:
    """What a recipe starts from: documents of raw text, or rows; the files they are in; what was guessed."""

    format: str
    documents: list[Document]
    rows: list[Row]
    files: list[SourceFile]
    notes: list[str]


@dataclass(frozen=True)
class Places:
    """Where a recipe's results go: the dataset, answers that could not be used, the review sheet."""

    target: Path
    unparsed: Path
    sheet: Path


@dataclass(frozen=True)
class Curated:
    """What a full run made; `unparsed` counts answers not used by reason, `precision` is by step."""

    manifest: dict[str, Any]
    counts: Counts
    split: Split
    unparsed: dict[str, int]
    precision: dict[str, Precision]
    stale_marks: int


@dataclass(frozen=True)
class Sampled:
    """What a sample run made: lines on the sheet, an old sheet that was set aside, precision from the marks so far."""

    lines: int
    set_aside: Path | None
    counts: Counts
    unparsed: dict[str, int]
    precision: dict[str, Precision] = field(default_factory=dict)
    stale_marks: int = 0


def read_material(file: RecipeFile, counts: Counts) -> Material:
    """Reads the whole source; raises AffinageError when it cannot be read or lacks a column that the recipe names."""
    recipe = file.recipe
    source = _source(file)
    first = recipe.steps[0]
    if isinstance(first, Segment):
        file.check_columns(())
        documents, files, notes = read_documents(Path(source), first, counts)
        return Material("text", documents, [], files, notes)
    opened = open_source(source, recipe.format, recipe.columns or None)
    rows = [ordered(row | {"parent_id": "", "synthetic": False} | row) for row in opened.rows(counts)]
    file.check_columns({name for row in rows for name in row})
    return Material(opened.format, [], rows, opened.files, opened.notes)


def curate(file: RecipeFile, chat: Chat, places: Places, replace: bool = False) -> Curated:
    """Runs every step and writes train, validation and test with their manifest into `places.target`, whole or not.

    Raises AffinageError when the target holds data and `replace` is false, when a source is broken, when the server
    cannot go on; answers so far are in the chat's cache then.
    """
    work = Work(file.recipe, chat)
    material = read_material(file, work.counts)
    with staged(places.target, replace, [source.path for source in material.files]) as partial:
        rows = list(_cleaned(_before_split(material, work), work))
        _write_unparsed(places.unparsed, work)
        if not rows:
            remedy = "Look at the answers listed there, at the prompts and the filters."
            raise AffinageError(Problem(display(places.unparsed), "no row is left after the steps.", remedy=remedy))
        split, splits, notes = _split(rows, file.recipe)
        splits = _without_leaks(splits, work)
        splits["train"] = _after_split(splits, work)
        sizes = _write(partial, splits)
        precision, stale = _precision(places.sheet, work)
        entries = _entries(file, work, material) | {
            "split": {"asked": split.asked, "got": split.got},
            "warnings": [*split.warnings, *_demo_warning(chat)],
            "notes": [*material.notes, *notes],
            "leaks": manifest.shortened(_leaks(splits, file.recipe).to_json()),
            "sizes": sizes.to_json(),
            "precision": {step: found.to_json() for step, found in precision.items()},
            "files": [manifest.file_entry(path) for path in sorted(partial.glob("*.jsonl"))],
        }
        _write_unparsed(places.unparsed, work)
        made = manifest.write(partial, entries)
    return Curated(made, work.counts, split, work.reasons(), precision, stale)


def run_sample(file: RecipeFile, chat: Chat, places: Places, n: int) -> Sampled:
    """Runs every step that asks a model on `n` texts or rows, drawn with the split's seed, and writes the review sheet.

    Marks that the sheet has already are kept, and give the precision. The dataset is left alone.
    """
    work = Work(file.recipe, chat)
    before = read_sheet(places.sheet)
    rows = _before_split(read_material(file, work.counts), work, n)
    for step in file.recipe.steps:
        if isinstance(step, Augment):
            rows = augment(_some(rows, n, file.recipe), [], step, work)
    set_aside = write_sheet(places.sheet, work.decisions, before)
    _write_unparsed(places.unparsed, work)
    precision, stale = _precision(places.sheet, work)
    return Sampled(len(work.decisions), set_aside, work.counts, work.reasons(), precision, stale)


def _before_split(material: Material, work: Work, n: int | None = None) -> list[Row]:
    """The rows after segment, label and filter; with `n`, each model is asked about at most that many."""
    rows = material.rows
    for step in work.recipe.steps:
        match step:
            case Segment():
                rows = segment(_some(material.documents, n, work.recipe), step, work)
            case Label():
                rows = label(_some(rows, n, work.recipe), step, work)
            case Filter():
                rows = keep_where(rows, step.keep, work.counts, step.name)
    return rows


def _some[Item](items: list[Item], n: int | None, recipe: Recipe) -> list[Item]:
    return items if n is None else [items[i] for i in sample(len(items), n, recipe.split.seed)]


def _cleaned(rows: Iterable[Row], work: Work) -> Iterator[Row]:
    """The rows cleaned, each with an id of its own, and with personal data as the recipe wants it."""
    cleaned = clean(with_unique_ids(rows, set(), work.counts), work.recipe.clean, work.counts)
    for row in scan(map(_shielded, cleaned), work.recipe.personal_data, work.counts):
        yield {name: value[0] if isinstance(value, _Shield) else value for name, value in row.items()}


class _Shield(tuple[str]):
    """A hash or a name that is not searched for personal data: its digits can look like a phone number."""


def _shielded(row: Row) -> Row:
    return {name: _Shield((value,)) if name.endswith(PROVENANCE_ENDS) else value for name, value in row.items()}


def _split(rows: Sequence[Row], recipe: Recipe) -> tuple[Split, Splits, list[str]]:
    """The rows by split, and a note when some keep the split that the source names."""
    given = [SPLITS.index(row["split"]) if row.get("split") in SPLITS else -1 for row in rows]
    kept = len(set(given) - {-1}) > 1
    notes = [f"{sum(part >= 0 for part in given):,} rows keep the split that the source names"] if kept else []
    rules = recipe.split
    meta = [(row["group"], row.get("label", "")) for row in rows]
    split = split_rows(meta, rules.ratios, rules.seed, rules.by, rules.stratify, given if kept else None)
    splits: Splits = {name: [] for name in SPLITS}
    for row, part in zip(rows, split.of_row, strict=True):
        splits[SPLITS[part]].append(row)
    return split, splits, notes


def _leaks(splits: Splits, recipe: Recipe) -> LeakReport:
    """What the splits share; rows of a group may part where the recipe splits by row."""
    if recipe.split.by == "row":
        return find_leaks({name: [row | {"group": ""} for row in rows] for name, rows in splits.items()})
    return find_leaks(splits)


def _without_leaks(splits: Splits, work: Work) -> Splits:
    kept = apply_leak_policy(splits, _leaks(splits, work.recipe), work.recipe.on_leak, work.counts)
    return {name: list(rows) for name, rows in kept.items()}


def _after_split(splits: Mapping[str, list[Row]], work: Work) -> list[Row]:
    """The training rows after rebalance and augment."""
    train, held_out = splits["train"], [*splits["validation"], *splits["test"]]
    for step in work.recipe.steps:
        match step:
            case Rebalance():
                balanced = balance([row.get("label", "") for row in train], step.rule, step.seed)
                ids = [row["id"] for row in (*train, *held_out)]
                train = list(repeat(zip(train, balanced.copies.tolist(), strict=True), ids, work.counts))
            case Augment():
                train = augment(train, held_out, step, work)
    return train


def _write(folder: Path, splits: Mapping[str, list[Row]]) -> manifest.Sizes:
    """Writes a file for each split that has rows; raises AffinageError when train has none."""
    sizes = manifest.Sizes()
    if not splits["train"]:
        raise AffinageError(Problem("train", "no row is left.", remedy="Split otherwise, or set on_leak to warn."))
    for name, rows in splits.items():
        for row in rows:
            sizes.add(name, row)
        if rows:
            write_jsonl(folder / f"{name}.jsonl", [ordered(row | {"split": name}) for row in rows])
    return sizes


def _write_unparsed(path: Path, work: Work) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, work.unparsed)


def _precision(sheet: Path, work: Work) -> tuple[dict[str, Precision], int]:
    found = read_sheet(sheet)
    current = {d.step: key_start(d.prompt_sha256, d.digest) for d in work.decisions}
    return precisions(found, current) if found else ({}, 0)


def _entries(file: RecipeFile, work: Work, material: Material) -> dict[str, Any]:
    recipe, model = file.recipe, work.chat.model
    asked = {step.name: step for step in recipe.steps if isinstance(step, ModelStep)}
    steps = manifest.steps(work.counts, private=recipe.personal_data != "report")
    for entry in steps:
        if step := asked.get(entry["step"]):
            entry |= {"kind": "language model", "options": recipe.options_of(step).sent()}
    name = manifest.name_of(_source(file))
    return {
        "task": file.path.parent.name,
        "recipe": manifest.file_entry(file.path),
        "source": {
            "name": name,
            "format": material.format,
            "files": [{"name": one.path.name, "sha256": one.sha256, "bytes": one.bytes} for one in material.files],
        },
        "model": vars(model) if model else {},
        "options": recipe.model_dump(mode="json", exclude={"steps"}) | {"source": name},
        "steps": steps,
        "unparsed": work.reasons(),
    }


def _demo_warning(chat: Chat) -> list[str]:
    return [DEMO] if chat.model and is_demo(chat.model.name, chat.model.digest) else []


def _source(file: RecipeFile) -> str:
    source = file.recipe.source
    return source if "://" in source else str(file.path.parent / source)
