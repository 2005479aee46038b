"""Compares a judge's scores with those of people on the same answers, and writes what came of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from affinage import data
from affinage.calibration.agreement import LABELS, Agreement, agreement
from affinage.calibration.annotators import Annotator
from affinage.calibration.conclusion import THRESHOLDS, ceiling, conclude, grades, remarks
from affinage.calibration.evaluation import Evaluation, Item, Judge
from affinage.calibration.scatter import draw
from affinage.errors import AffinageError, Problem
from affinage.paths import display
from affinage.scoring import write_metrics

VERSION = 1
FILE, PICTURE = "calibration.json", "calibration.png"
Scores = Mapping[Item, float]


@dataclass(frozen=True)
class Calibration:
    """What came of it: the folder that was written and the content of calibration.json."""

    folder: Path
    content: dict[str, Any]


def calibrate(evaluation: Evaluation, judge: Judge, annotators: Sequence[Annotator]) -> Calibration:
    """Writes calibration.json and calibration.png into the judge's folder.

    People's score of an item is the mean of those who scored it. Raises AffinageError when no item has both that and
    a score that the judge itself gave.
    """
    people = _mean(annotators)
    scores, left_out = _own_scores(judge, people)
    if not scores:
        found = f"none of the {len(people)} answers that people scored has a score of {judge.name}"
        reasons = ", ".join(f"{why} {n}" for why, n in left_out.items())
        raise AffinageError(Problem(display(judge.folder), f"{found} ({reasons}).", remedy="Let it judge these rows."))
    whole = _agreement(evaluation, scores, people)
    of_judge, of_people = _pairs(evaluation, judge, scores, annotators)
    level, sentence = conclude(whole, bool(judge.summary["demo"]))
    content = _head(evaluation, judge, annotators) | {
        "judge_people": whole,
        "pairs": of_judge + of_people,
        "left_out": left_out,
        "level": level,
        "sentence": sentence,
        "grades": grades(whole),
        "remarks": remarks(whole),
        "ceiling": ceiling(of_judge, of_people),
    }
    draw(content, [(people[item], score) for item, score in scores.items()], judge.folder / PICTURE)
    write_metrics(judge.folder / FILE, content)
    return Calibration(judge.folder, content)


def _mean(annotators: Sequence[Annotator]) -> dict[Item, float]:
    given: dict[Item, list[float]] = {}
    for annotator in annotators:
        for item, score in annotator.scores.items():
            given.setdefault(item, []).append(score)
    return {item: float(np.mean(scores)) for item, scores in given.items()}


def _own_scores(judge: Judge, people: Scores) -> tuple[dict[Item, float], dict[str, int]]:
    """The judge's own scores of these items; what has none is counted by its reason, a status or a rule."""
    scores, left_out = dict[Item, float](), Counter[str]()
    for item in people:
        line = judge.verdicts.get(item)
        if line is None:
            left_out["not judged"] += 1
        elif line["status"] != "ok" or line["rule"]:
            left_out[line["rule"] or line["status"]] += 1
        else:
            scores[item] = line["score"]
    return scores, dict(left_out)


def _agreement(evaluation: Evaluation, first: Scores, second: Scores) -> Agreement:
    units, items = evaluation.units(), [item for item in first if item in second]
    of_items = [units[item[0]] for item in items]
    one, other = ([scores[item] for item in items] for scores in (first, second))
    return agreement(one, other, of_items, evaluation.suite.bootstrap)


def _pairs(
    evaluation: Evaluation, judge: Judge, scores: Scores, annotators: Sequence[Annotator]
) -> tuple[list[Agreement], list[Agreement]]:
    """The agreement of the judge with each annotator, then of each two annotators, on the items that both scored."""
    name = f"judge {judge.name}"
    raters = {name: scores} | {one.name: one.scores for one in annotators}
    found: tuple[list[Agreement], list[Agreement]] = ([], [])
    for first, second in combinations(raters, 2):
        if raters[first].keys() & raters[second].keys():
            pair = {"raters": [first, second]} | _agreement(evaluation, raters[first], raters[second])
            found[first != name].append(pair)
    return found


def _head(evaluation: Evaluation, judge: Judge, annotators: Sequence[Annotator]) -> dict[str, Any]:
    """What was compared with what; no time of day, so that the same sheets give the same bytes."""
    bootstrap = evaluation.suite.bootstrap
    counts = [
        {"scored": len(one.scores), "empty": one.empty, "outdated": one.outdated, "elsewhere": one.elsewhere}
        for one in annotators
    ]
    sheets = [
        {"name": one.name, "sha256": one.sha256} | counted for one, counted in zip(annotators, counts, strict=True)
    ]
    return {
        "version": VERSION,
        "demo": bool(judge.summary["demo"]),
        "suite": evaluation.suite.name,
        "judge": judge.summary["judge"],
        "mode": judge.summary["mode"],
        "rubrics": judge.summary["rubrics"],
        "predictions_sha256": evaluation.sha256,
        "verdicts_sha256": data.sha256(judge.folder / "verdicts.jsonl"),
        "sheets": sheets,
        "bins": LABELS,
        "thresholds": asdict(THRESHOLDS),
        "settings": {"confidence": bootstrap.confidence, "bootstrap": bootstrap.n, "seed": bootstrap.seed},
    }
