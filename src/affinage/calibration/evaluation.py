"""The answers of one evaluation, the key that tells whose they are, and the verdicts of its judges."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from affinage import data
from affinage.errors import AffinageError, Problem
from affinage.judging.items import case_of
from affinage.paths import display
from affinage.runs import Run, write_json
from affinage.scoring import Predictions, Suite, load_suite, predictions_of, read_predictions

VERSION = 1
# No vowel and no digit: no word, and nothing that a spreadsheet takes for a number, a date or TRUE.
LETTERS, LENGTH = "bcdfghjklmnpqrstvwxz", 7
SCORED = ("score", "rubric")  # the modes that give scores; pairwise gives none

Item = tuple[str, str]  # the id of a row and the system that answered


@dataclass(frozen=True)
class Evaluation:
    """The predictions of a run for one suite, with the hash of their file."""

    run: Run
    suite: Suite
    predictions: Predictions
    sha256: str

    @property
    def folder(self) -> Path:
        """Where the predictions are."""
        return self.predictions.path.parent

    @property
    def annotation_folder(self) -> Path:
        """Where the key is, and sheets when no other place is named."""
        return self.folder / "annotation"

    def answers(self) -> dict[Item, str]:
        """Every answer by its item, row by row."""
        rows, systems = self.predictions.rows, self.predictions.systems
        return {(row["id"], system): row[system] for row in rows for system in systems}

    def digests(self) -> dict[Item, str]:
        """What changes with an answer, or with what was asked: a hash of both by item."""
        rows, found = {row["id"]: row for row in self.predictions.rows}, {}
        for item, answer in self.answers().items():
            case = case_of(rows[item[0]])
            told = json.dumps([*item, case.instruction, case.input, case.reference, answer])
            found[item] = hashlib.sha256(told.encode()).hexdigest()
        return found

    def units(self) -> dict[str, str]:
        """What a row (by id) is resampled with: its group, or itself without one."""
        return {row["id"]: row.get("group") or f"row {row['id']}" for row in self.predictions.rows}


@dataclass(frozen=True)
class Judge:
    """What one judge said in one mode: its folder, its summary and its verdicts by item."""

    folder: Path
    summary: dict[str, Any]
    verdicts: dict[Item, dict[str, Any]]

    @property
    def name(self) -> str:
        return self.summary["judge"]["name"]


def open_evaluation(run: Run, suite_name: str = "") -> Evaluation:
    """The evaluation of a run for a suite, by default the task's. Raises AffinageError without predictions."""
    suite = load_suite(run.manifest["task"], suite_name)
    path = predictions_of(run, suite.name)
    return Evaluation(run, suite, read_predictions(path), data.sha256(path))


def judges_of(evaluation: Evaluation) -> tuple[list[Judge], list[str]]:
    """The judges that scored these very answers, and a note about each folder that does not count.

    Raises AffinageError for verdicts that cannot be read.
    """
    judges, notes = [], []
    for path in sorted(evaluation.folder.glob("judge/*/summary.json")):
        summary = _read_json(path)
        if not path.with_name("verdicts.jsonl").is_file():  # a panel has no verdicts of its own
            continue
        if summary.get("mode") not in SCORED:
            notes.append(f"{path.parent.name}: pairwise verdicts are no scores and are not compared with people's.")
        elif summary.get("predictions_sha256") != evaluation.sha256:
            notes.append(f"{path.parent.name}: judged other answers; the predictions have been made again since.")
        else:
            judges.append(Judge(path.parent, summary, _verdicts(path.with_name("verdicts.jsonl"))))
    return judges, notes


def chosen_judges(evaluation: Evaluation, name: str = "") -> tuple[list[Judge], list[str]]:
    """Like `judges_of`, for the judge of that name or folder alone when one is given.

    Raises AffinageError when there is none.
    """
    judges, notes = judges_of(evaluation)
    chosen = [judge for judge in judges if name in ("", judge.name, judge.name.removesuffix(":latest"))]
    chosen = chosen or [judge for judge in judges if name == judge.folder.name]
    if chosen:
        return chosen, notes
    where, run = display(evaluation.folder / "judge"), evaluation.run.folder.name
    if judges:
        known = ", ".join(dict.fromkeys(judge.name for judge in judges))
        raise AffinageError(Problem(where, f"no scores of a judge called {name}.", known, "Name one with --judge."))
    remedy = f"Let one judge with make judge RUN={run}{f' JUDGE={name}' if name else ''} MODE=score"
    raise AffinageError(*notes, Problem(where, "no judge has scored these answers.", remedy=remedy))


@dataclass(frozen=True)
class Entry:
    """What a code on a sheet stands for: an item, and the digest of its answer when the sheet was made."""

    id: str
    system: str
    digest: str

    @property
    def item(self) -> Item:
        return self.id, self.system


def read_key(evaluation: Evaluation) -> dict[str, Entry]:
    """What the codes of all sheets of this evaluation stand for; empty before the first sheet."""
    path = evaluation.annotation_folder / "key.json"
    if not path.is_file():
        return {}
    try:
        return {code: Entry(**entry) for code, entry in _read_json(path)["codes"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise AffinageError(Problem(display(path), "is no key of sheets.", remedy="Put the old one back.")) from error


def add_to_key(evaluation: Evaluation, items: Iterable[Item]) -> dict[Item, str]:
    """Gives each item its code, the same as long as its answer is, and writes the key of all sheets so far."""
    key, digests = read_key(evaluation), evaluation.digests()
    known, codes = {entry: code for code, entry in key.items()}, dict[Item, str]()
    for item in items:
        entry = Entry(*item, digests[item])
        codes[item] = known.get(entry) or next(code for code in _codes(entry.digest) if code not in key)
        key[codes[item]] = entry
    evaluation.annotation_folder.mkdir(parents=True, exist_ok=True)
    content = {"codes": {code: asdict(key[code]) for code in sorted(key)}, "version": VERSION}
    write_json(evaluation.annotation_folder / "key.json", content)
    return codes


def _codes(digest: str) -> Iterator[str]:
    for attempt in itertools.count():
        drawn = hashlib.sha256(f"{digest} {attempt}".encode()).digest()
        yield "".join(LETTERS[byte % len(LETTERS)] for byte in drawn[:LENGTH])


def _verdicts(path: Path) -> dict[Item, dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {(line["id"], line["system"]): line for line in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AffinageError(Problem(display(path), f"cannot be read: {error}.", remedy="Judge again.")) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AffinageError(Problem(display(path), f"cannot be read: {error}.", remedy="Make it again.")) from error
    return content if isinstance(content, dict) else {}
