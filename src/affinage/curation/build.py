"""Makes a dataset from a source: read, clean, look for personal data, sample, split, mend leaks, balance, write."""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from affinage.console import progress_bar_options
from affinage.curation import balancing, manifest, personal_data
from affinage.curation.cleaning import clean
from affinage.curation.leaks import LeakReport, apply_leak_policy, find_leaks
from affinage.curation.options import GIVEN, Options
from affinage.curation.rows import Counts, Row, ordered
from affinage.curation.sources import Source, open_source
from affinage.curation.splitting import RATIOS, Split, sample, split_rows
from affinage.curation.staging import staged
from affinage.curation.waiting_rows import NOWHERE, WaitingRows
from affinage.data import SPLITS
from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import DATASETS, display
from affinage.runs import json_line

Splits = dict[str, Iterator[Row]]


@dataclass(frozen=True)
class Built:
    """A dataset that was made: its folder, and its manifest, which says everything about it."""

    folder: Path
    manifest: dict[str, Any]


def build(options: Options, datasets: Path = DATASETS) -> Built:
    """Makes datasets/<task>/ from a source; the same source, options and versions give the same files.

    The folder appears whole or not at all. Rows wait on disk, beside it, so a million need less than 1.5 GB of
    memory. Raises AffinageError for a source that cannot be used, a dataset that is there already, a split that
    cannot be made, leaks or personal data that the options forbid, and when no training row is left.
    """
    source = open_source(options.source, options.format, options.source_columns())
    options = _with_special_tokens(options)
    folder = datasets / options.task
    with staged(folder, options.replace, [file.path for file in source.files]) as partial:
        made = manifest.write(partial, _about(source, options) | _fill(partial, source, options))
    return Built(folder, made)


def _about(source: Source, options: Options) -> dict[str, Any]:
    """What the manifest says of where the rows come from and what was asked for."""
    top = Path(source.name) if Path(source.name).is_dir() else Path(source.name).parent
    files = [
        {"name": file.path.relative_to(top).as_posix(), "sha256": file.sha256, "bytes": file.bytes}
        for file in source.files
    ]
    return {
        "task": options.task,
        "source": {"name": manifest.name_of(source.name), "format": source.format, "files": files},
        "options": options.to_json(),
        "command": options.command(),
        "seed": options.seed,
    }


def _fill(folder: Path, source: Source, options: Options) -> dict[str, Any]:
    """Writes the splits into the folder; what the manifest says of how."""
    counts, ids, work = Counts(), set[str](), folder / "work"
    work.mkdir()
    waiting = WaitingRows(work / "rows.jsonl", _cleaned(source, options, ids, counts))
    _check_some(len(waiting), options.source, counts)
    split, notes = _split(waiting, options, counts)
    report, splits = _without_leaks(waiting, options, counts)
    table = _balance(splits, work / "train.jsonl", options, ids, counts)
    sizes = _write(folder, splits)
    shutil.rmtree(work)
    return {
        "steps": manifest.steps(counts, private=options.pii != "report", folder=_folder(options.source)),
        "split": {"asked": split.asked, "got": split.got},
        "sizes": sizes.to_json(),
        "balance": table,
        "leaks": manifest.shortened(report.to_json()),
        "notes": [*source.notes, *notes],
        "warnings": [*split.warnings, *_emptied(split, sizes)],
        "files": [manifest.file_entry(path) for path in sorted(folder.glob("*.jsonl"))],
    }


def special_tokens(tokenizer: str) -> list[str]:
    """The special tokens of a base model's tokenizer, a folder or a hub id; raises AffinageError without one."""
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
    except Exception as error:  # whatever the network, the hub or the tokenizer's files raised
        reason = str(error).strip().splitlines() or [type(error).__name__]
        found = f"'{tokenizer}' cannot be loaded: {reason[0]}"
        raise AffinageError(Problem("--tokenizer", found, "a folder with a tokenizer, or a hub id")) from error
    added = {token.content for token in loaded.added_tokens_decoder.values() if token.special}
    return sorted(added.union(loaded.all_special_tokens))


def with_unique_ids(rows: Iterable[Row], used: set[str], counts: Counts) -> Iterator[Row]:
    """The rows, each with an id of its own and a group; the ids are put among the `used` ones.

    A row without an id is called after its place in the stream, from 1; the second row called "a" becomes "a~2".
    """
    for place, row in enumerate(rows, start=1):
        counts.add("ids", "seen")
        name = str(row.get("id") or f"row-{place}")
        if not row.get("id"):
            counts.add("ids", "changed: no id")
        if name in used:
            counts.add("ids", "changed: id in use already", example=name)
            name = balancing.unused(name, 2, used)
        used.add(name)
        yield row | {"id": name, "group": str(row.get("group") or name)}


def _with_special_tokens(options: Options) -> Options:
    if not options.tokenizer:
        return options
    rules = options.rules.model_copy(update={"special_tokens": special_tokens(options.tokenizer)})
    return options.model_copy(update={"rules": rules})


def _cleaned(source: Source, options: Options, ids: set[str], counts: Counts) -> Iterator[Row]:
    rows = tqdm(source.rows(counts), "Reading", source.total_hint, unit=" rows", **progress_bar_options())
    return with_unique_ids(personal_data.scan(clean(rows, options.rules, counts), options.pii, counts), ids, counts)


def _check_some(rows: int, source: str, counts: Counts) -> None:
    if rows:
        return
    dropped = [
        f"{n:,} in the step '{step}' ({reason})"
        for step, reasons in counts.steps.items()
        for reason, n in reasons.items()
        if reason.startswith("dropped:")
    ]
    raise AffinageError(
        Problem(source, f"no row is left: {'; '.join(dropped)}.", remedy="Loosen these options, or mend the data.")
    )


def _split(waiting: WaitingRows, options: Options, counts: Counts) -> tuple[Split, list[str]]:
    """Draws the sample, splits it, and sets where each row goes; with sentences about splits that the source names."""
    drawn = sample(len(waiting), options.sample or len(waiting), options.seed)
    if options.sample:
        counts.add("sample", "seen", len(waiting))
        counts.add("sample", "dropped: not drawn", len(waiting) - len(drawn))
    given, notes = _given(waiting, options)
    split = split_rows(
        ((waiting.groups[place], waiting.labels[place]) for place in drawn.tolist()),
        options.split if isinstance(options.split, dict) else RATIOS,
        options.seed,
        options.by,
        options.stratify,
        None if given is None else given[drawn],
    )
    waiting.to[drawn] = split.of_row
    return split, notes


def _given(waiting: WaitingRows, options: Options) -> tuple[np.ndarray | None, list[str]]:
    """The splits that the source names, where they are to be kept, and a sentence about them."""
    without = int((waiting.given == NOWHERE).sum())
    named = len(waiting) - without + waiting.unknown.total()
    if isinstance(options.split, dict):
        return None, [f"the splits that the source names for {named:,} rows are not kept"] if named else []
    remedy = "Mend the column, or give parts: --split 0.8/0.1/0.1."
    problems = [
        Problem("the column 'split'", f"holds '{value}' in {n:,} rows.", ", ".join(SPLITS), remedy)
        for value, n in waiting.unknown.most_common(5)
    ]
    if options.split == GIVEN and without and not problems:
        problems.append(Problem("--split given", f"{without:,} rows name no split.", remedy=remedy))
    raise_all(problems)
    kept = [SPLITS[code] for code in np.unique(waiting.given) if code != NOWHERE]
    if not kept:
        return None, []
    if options.split is None and len(kept) == 1 and not without:
        return None, [f"all of the source is {kept[0]}, so it was split anew"]
    rest = f"; the other {without:,} are split" if without else ""
    return waiting.given, [f"{named:,} rows keep the split that the source names{rest}"]


def _without_leaks(waiting: WaitingRows, options: Options, counts: Counts) -> tuple[LeakReport, Splits]:
    """What the splits share, and the splits as the policy leaves them; rows of a group may part where --by row says."""
    looked_at = {name: waiting.going_to(name) for name in SPLITS}
    if options.by == "row":
        looked_at = {name: (row | {"group": ""} for row in rows) for name, rows in looked_at.items()}
    report = find_leaks(looked_at, options.leak_threshold())
    near = options.rules.near_duplicates is not None  # whoever drops near duplicates wants none between splits
    splits = {name: waiting.going_to(name) for name in SPLITS}
    return report, apply_leak_policy(splits, report, options.on_leak, counts, near)


def _balance(splits: Splits, path: Path, options: Options, ids: set[str], counts: Counts) -> dict[str, tuple[int, int]]:
    """Balances the training rows, which wait in `path`; the rows of each label before and after, {} without a rule."""
    if not options.balance:
        return {}
    train = WaitingRows(path, splits["train"])
    train.to[:] = SPLITS.index("train")
    balanced = balancing.balance(train.labels, options.balance, options.seed)
    rows = zip(train.going_to("train"), balanced.copies.tolist(), strict=True)
    splits["train"] = balancing.repeat(rows, ids, counts)
    for name in SPLITS[1:]:
        splits[name] = _passed(splits[name], counts)
    return balanced.table


def _passed(rows: Iterator[Row], counts: Counts) -> Iterator[Row]:
    for row in rows:
        counts.add(balancing.STEP, "seen")
        yield row


def _write(folder: Path, splits: Splits) -> manifest.Sizes:
    """Writes a file for each split that has rows; raises AffinageError when train has none."""
    sizes = manifest.Sizes()
    for name, rows in splits.items():
        path = folder / f"{name}.jsonl"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for row in tqdm(rows, f"Writing {name}", unit=" rows", delay=2, **progress_bar_options()):
                sizes.add(name, row)
                file.write(json_line(ordered(row | {"split": name})))
        if not sizes.rows[name]:
            path.unlink()
    if not sizes.rows["train"]:
        remedy = "Look at what was dropped with --on-leak error, or split otherwise."
        raise AffinageError(Problem("train", "no row is left.", remedy=remedy))
    return sizes


def _folder(source: str) -> str:
    """The folder of a source, as messages about its files begin."""
    path = Path(source)
    return "" if "://" in source else display(path if path.is_dir() else path.parent)


def _emptied(split: Split, sizes: manifest.Sizes) -> list[str]:
    """A warning for each split that lost all its rows as leaks."""
    lost = [name for name, rows in split.got.items() if rows and not sizes.rows[name]]
    return [f"All rows of {name} were in a split nearer to the test, so none is left." for name in lost]
