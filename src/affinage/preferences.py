"""A dataset of preferences from a judge's pairwise verdicts: what won is to be learnt, what lost is rejected.

Only verdicts that both orders of the answers agree on count. The rows of a test split are never taken: who trains on
them has nothing left to be measured on.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from affinage.curation.splitting import RATIOS, split_rows
from affinage.curation.staging import MANIFEST, staged
from affinage.data import SPLITS, sha256
from affinage.errors import AffinageError, Problem
from affinage.judging.folders import VERDICTS, summaries
from affinage.judging.items import PAIR
from affinage.paths import DATASETS, display
from affinage.runs import Run, write_json, write_jsonl
from affinage.scoring.predictions_file import predictions_of, read_predictions

FORMS = ("pairs", "kto")
SAME, TIE, DISAGREE, FAILED = "same answer", "a tie", "the two orders disagree", "no verdict"
EMPTY, CUT = "the preferred answer is empty", "the preferred answer was cut at its length limit"
NO_REJECTED = "the rejected answer is empty"


@dataclass(frozen=True)
class Wanted:
    """What to make: the task's name, `form` (one of FORMS), the judge (needed where several have judged), the suite
    whose predictions were judged, the parts of the splits and the seed that deals the rows.
    """

    task: str
    suite: str
    form: str = "pairs"
    judge: str = ""
    ratios: Mapping[str, float] | None = None
    seed: int = 42
    replace: bool = False


@dataclass(frozen=True)
class Made:
    """The dataset's folder and its manifest, with every judged row in one of its counts."""

    folder: Path
    manifest: dict[str, Any]


def make(run: Run, wanted: Wanted, datasets: Path = DATASETS) -> Made:
    """Writes datasets/<task>/ with a file for each split and manifest.json; whole or not at all.

    Rows: instruction, input, output (what won), rejected, and source (the run), judge, verdict (which system won). With
    form "kto", each answer has a row of its own, with the other of the two columns empty. Rows of a group share a
    split. Raises AffinageError without verdicts on these very predictions, for those of a test split, for a dataset
    that is there already, and where no row is left.
    """
    predictions = predictions_of(run, wanted.suite)
    _refuse_test(predictions, run)
    folder, summary = _judged(predictions, wanted.judge)
    rows = {row["id"]: row for row in read_predictions(predictions).rows}
    lines = [json.loads(line) for line in (folder / VERDICTS).read_text(encoding="utf-8").splitlines()]
    left_out: Counter[str] = Counter()
    about = {"source": run.folder.name, "judge": summary["judge"]["name"]}
    made = list(_rows(lines, rows, wanted.form, about, left_out))
    if not made:
        found = f"none of {summary['n']} judged rows gives a preference: {_counted(left_out)}."
        raise AffinageError(Problem(display(folder / VERDICTS), found))
    ratios = wanted.ratios or RATIOS
    of_row = split_rows(((row["group"], "") for row in made), ratios, wanted.seed).of_row
    splits = {name: [row for row, of in zip(made, of_row, strict=True) if SPLITS[of] == name] for name in SPLITS}
    manifest = {
        "made_by": "make preferences",
        **about,
        "demo": summary["demo"],
        "form": wanted.form,
        "suite": wanted.suite,
        "predictions_sha256": summary["predictions_sha256"],
        "judged_rows": summary["n"],
        "left_out": dict(left_out),
        "won": dict(Counter(line["outcome"] for line in lines[::2] if line["outcome"] in PAIR)),
        "rows": {name: len(part) for name, part in splits.items()},
        "ratios": dict(ratios),
        "seed": wanted.seed,
    }
    with staged(datasets / wanted.task, wanted.replace) as partial:
        for name, part in splits.items():
            if part:
                write_jsonl(partial / f"{name}.jsonl", part)
        write_json(partial / MANIFEST, manifest)
    return Made(datasets / wanted.task, manifest)


def _refuse_test(predictions: Path, run: Run) -> None:
    path = predictions.with_name("generation.json")
    split = json.loads(path.read_text(encoding="utf-8"))["split"] if path.exists() else "test"
    if split == "test":
        raise AffinageError(
            Problem(
                display(predictions),
                "these are answers to test rows: preferences from them would be trained on and spoil the test.",
                "the train or the validation split",
                f"Answer other rows (make evaluate RUN={run.folder.name} SPLIT=train), judge them, and come back.",
            )
        )


def _judged(predictions: Path, judge: str) -> tuple[Path, dict[str, Any]]:
    """The folder and the summary of the pairwise verdicts; those on all rows rather than on some."""
    found = {folder: one for folder, one in summaries(predictions).items() if one["mode"] == "pairwise"}
    named = {f: one for f, one in found.items() if not judge or one.get("judge", {}).get("name") == judge}
    complete = {folder: one for folder, one in named.items() if one["n"] == one["rows"]} or named
    where, judges = display(predictions.parent), ", ".join(sorted({one["judge"]["name"] for one in found.values()}))
    if not complete:
        raise AffinageError(
            Problem(
                where,
                "no pairwise verdicts" + (f" of '{judge}'." if judge else "."),
                judges,
                "make judge MODE=pairwise",
            )
        )
    if len(complete) > 1:
        names = ", ".join(folder.name for folder in complete)
        raise AffinageError(Problem(where, f"verdicts in several folders: {names}.", judges, "Name one with JUDGE=."))
    [(folder, summary)] = complete.items()
    if summary["predictions_sha256"] != sha256(predictions):
        found_there = "is about other answers than those that stand there now."
        raise AffinageError(Problem(display(folder), found_there, remedy="Judge them again: make judge MODE=pairwise"))
    return folder, summary


def _rows(
    lines: Sequence[Mapping[str, Any]],
    rows: Mapping[str, Mapping[str, Any]],
    form: str,
    about: Mapping[str, str],
    left_out: Counter[str],
) -> Iterator[dict[str, Any]]:
    """The rows of the dataset; why others are left out is added to `left_out`."""
    for key, group in groupby(lines, key=lambda line: line["id"]):
        row, both = rows[key], list(group)
        reason = _undecided(both) or _unusable(row, both[0]["outcome"])
        if reason:
            left_out[reason] += 1
            continue
        won = both[0]["outcome"]
        lost = PAIR[1 - PAIR.index(won)]
        asked = {"instruction": row.get("instruction") or row.get("prompt", ""), "input": row.get("input", "")}
        common = asked | {"group": row.get("group") or key, **about, "verdict": won}
        if form == "kto":
            yield {"id": f"{key}-{won}", **common, "output": row[won], "rejected": ""}
            if row[lost].strip():
                yield {"id": f"{key}-{lost}", **common, "output": "", "rejected": row[lost]}
        elif row[lost].strip():
            yield {"id": key, **common, "output": row[won], "rejected": row[lost]}
        else:
            left_out[NO_REJECTED] += 1


def _undecided(both: Sequence[Mapping[str, Any]]) -> str:
    """Why the two verdicts on a row name no winner, or ""."""
    outcome = both[0]["outcome"]
    if outcome is None:
        return FAILED
    if outcome in PAIR:
        return ""
    if both[0]["rule"]:
        return SAME
    return TIE if {line["prefers"] for line in both} == {"tie"} else DISAGREE


def _unusable(row: Mapping[str, Any], won: str) -> str:
    if not row[won].strip():
        return EMPTY
    return CUT if row.get(f"{won}_stop") == "length" else ""


def _counted(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in left_out.items()) or "there is none"
