"""The scores that people gave, read from their sheets; what is wrong in any of them is reported at once."""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from affinage import data
from affinage.calibration.evaluation import Entry, Evaluation, Item, read_key
from affinage.calibration.sheet import guarded, read_lines, unguarded
from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import display
from affinage.reviews import SCORES, read_reviews

NUMBER = re.compile(r"-?\d+(?:[.,]\d+)?")
ALLOWED = "a number from 0 to 100 (a decimal comma is fine), or nothing"
OTHERS = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True)
class Annotator:
    """One person's scores (0..100) by item.

    Of the other lines of the sheet `empty` counts those without a score, `outdated` those whose answer has been made
    again since and is another one now. `elsewhere` counts thumbs about answers that are none of the evaluation's.
    """

    name: str
    sha256: str
    scores: dict[Item, float]
    empty: int = 0
    outdated: int = 0
    elsewhere: int = 0


def read_annotators(paths: Sequence[Path], evaluation: Evaluation) -> list[Annotator]:
    """What each sheet, or file of thumbs (.jsonl), holds.

    Raises AffinageError with everything that is wrong, in all of them, with line numbers.
    """
    key = read_key(evaluation)
    if not key and not all(map(_is_thumbs, paths)):
        where, run = display(evaluation.annotation_folder), evaluation.run.folder.name
        raise AffinageError(Problem(where, "no sheet was made for this run.", remedy=f"make annotate RUN={run}"))
    annotators, problems = [], list[Problem | str]()
    for path, name in zip(paths, _names(paths), strict=True):
        try:
            read = _read_thumbs(path, name, evaluation) if _is_thumbs(path) else _read(path, name, evaluation, key)
            annotators.append(read)
        except AffinageError as error:
            problems += error.problems
    raise_all([*problems, *_same(annotators)])
    return annotators


def _is_thumbs(path: Path) -> bool:
    return path.suffix.lower() == ".jsonl"


def _read_thumbs(path: Path, name: str, evaluation: Evaluation) -> Annotator:
    """Thumbs that were given in the application, about answers that it gave word for word as the evaluation has them.

    An up counts 100 and a down 0. Only questions that were asked first in a conversation were asked as the evaluation
    asks them.
    """
    rows = read_reviews(path)
    known = {
        (row.get("prompt"), system, row[system]): (row["id"], system)
        for row in evaluation.predictions.rows
        for system in evaluation.predictions.systems
    }
    asked = evaluation.predictions.has("prompt")
    items = [known.get((row.prompt, row.model, row.answer)) if asked and row.prompt else None for row in rows]
    scores = {item: SCORES[row.thumb] for item, row in zip(items, rows, strict=True) if item}
    if not scores:
        found = f"none of its {len(rows)} thumbs is about an answer of this evaluation."
        remedy = "In the application (make app), ask questions of the test set, drawn as the run draws."
        raise AffinageError(Problem(display(path), found, remedy=remedy))
    return Annotator(name, data.sha256(path), scores, elsewhere=items.count(None))


def _names(paths: Sequence[Path]) -> list[str]:
    """The names of the files without their endings, or their whole paths where two are the same."""
    stems = [path.stem for path in paths]
    return stems if len(stems) == len(set(stems)) else [display(path) for path in paths]


def _same(annotators: Sequence[Annotator]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for annotator in annotators:
        if annotator.sha256 in first:
            found = f"the same scores as {first[annotator.sha256]}: they would count as two people who always agree."
            yield Problem(annotator.name, found, remedy="Name each sheet once.")
        first.setdefault(annotator.sha256, annotator.name)


def _read(path: Path, name: str, evaluation: Evaluation, key: Mapping[str, Entry]) -> Annotator:
    lines, digests = read_lines(path), evaluation.digests()
    current = {code: entry.item for code, entry in key.items() if digests.get(entry.item) == entry.digest}
    problems = list(_problems(path, lines, evaluation, key, current))
    scores = {_code(line): line["score"].strip() for _, line in lines}
    empty = sum(not score for score in scores.values())
    outdated = sum(bool(score) and code not in current for code, score in scores.items())
    if not problems and empty + outdated == len(scores):
        since = f" of an answer that is still the same; {outdated} were made again since" if outdated else ""
        found = f"no line has a score{since}." if lines else "holds no line."
        problems.append(Problem(display(path), found, remedy="Fill in the column score."))
    raise_all(problems)
    numbers = {code: float(score.replace(",", ".")) for code, score in scores.items() if score}
    given = {current[code]: number for code, number in numbers.items() if code in current}
    return Annotator(name, data.sha256(path), given, empty, outdated)


def _problems(
    path: Path,
    lines: Sequence[tuple[int, dict[str, str]]],
    evaluation: Evaluation,
    key: Mapping[str, Entry],
    current: Mapping[str, Item],
) -> Iterator[Problem]:
    codes, answers = {_code(line) for _, line in lines}, evaluation.answers()
    if codes and not codes & current.keys():
        yield _foreign(path, bool(codes & key.keys()))
        return
    letters = {code: _letters(unguarded(guarded(answers[item]))) for code, item in current.items()}
    others, first = set(letters.values()), dict[str, int]()
    for number, line in lines:
        code, where = _code(line), f"{display(path)}:{number}"
        earlier = first.setdefault(code, number)
        if earlier != number:
            yield Problem(where, f"the code '{code}' stood on line {earlier} before.", remedy="Keep one of the two.")
        if code in current:
            yield from _moved(where, line, letters[code], others)
        elif code not in key:
            found = f"the code '{code}' is on no sheet of this run." if code else "a line without a code."
            yield Problem(where, found, remedy="Take the code from the sheet as it was made.")
        yield from _wrong_score(where, line["score"].strip())


def _foreign(path: Path, older: bool) -> Problem:
    if older:
        found = "was made for earlier answers: the run's predictions have been made again since."
        return Problem(display(path), found, remedy="Make a new sheet with make annotate.")
    found = "none of its codes is of this run: a sheet of another run or suite."
    return Problem(display(path), found, remedy="Name the run that the sheet was made for with RUN=.")


def _code(line: Mapping[str, str]) -> str:
    return line["item"].strip().casefold()


def _moved(where: str, line: Mapping[str, str], own: str, others: Set[str]) -> Iterator[Problem]:
    """A sheet that was sorted by one column alone has its scores beside the answers of other lines.

    What a spreadsheet makes of an answer such as 1/2, which it takes for a date, is no such thing.
    """
    found = _letters(line.get("answer", ""))
    if found and found != own and found in others:
        remedy = "Was one column sorted or moved without the others? Put the lines back as they were."
        yield Problem(where, f"the answer is not that of '{_code(line)}' but that of another line.", remedy=remedy)


def _letters(text: str) -> str:
    """What every encoding keeps of a text."""
    return OTHERS.sub("", text)


def _wrong_score(where: str, score: str) -> Iterator[Problem]:
    if not score:
        return
    if not NUMBER.fullmatch(score):
        yield Problem(where, f"the score '{score}' is no number.", ALLOWED)
    elif not 0 <= float(score.replace(",", ".")) <= 100:
        yield Problem(where, f"the score {score} is out of range.", ALLOWED)
