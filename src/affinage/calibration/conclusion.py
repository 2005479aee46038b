"""What a reader may conclude from the agreement of a judge with people: one level and sentences, from the figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from affinage.calibration.agreement import Agreement, mean_agreement

Level = Literal["demo", "too few", "undefined", "disagrees", "unsure", "ranks", "calibrated"]
Grade = Literal["passes", "unsure", "fails"]


@dataclass(frozen=True)
class Thresholds:
    """What is asked of a judge. The bounds of the intervals count, so that a few lucky answers are not enough.

    `units`: with 30 independent answers a Spearman of 0.7 has a 95 % interval from about 0.45 to 0.85 (Fisher's z);
    with fewer it says little. `spearman`: from 0.5 on a correlation is large (Cohen 1988). `weighted_kappa`: above 0.4
    agreement is more than fair (Landis and Koch 1977). `bias`: 10 points are half of one of the five bins; more would
    move the typical answer to the next one.
    """

    units: int = 30
    spearman: float = 0.5
    weighted_kappa: float = 0.4
    bias: float = 10.0


THRESHOLDS = Thresholds()
HEADLINES: dict[Level, str] = {
    "demo": "DEMO: simple rules scored, no language model. There is no judge here to compare with people.",
    "too few": "too few to call the judge calibrated ({units} independent rows or groups, {needed} are needed).",
    "undefined": "no rank correlation is defined. Have answers of different quality scored.",
    "disagrees": "the judge does not rank answers as people do. Do not rely on it; try a larger one, or a rubric "
    "that says more clearly what counts.",
    "unsure": "not sure yet. A figure that is high enough has an interval that is not: score more answers, it narrows.",
    "ranks": "the judge ranks answers as people do, but its scores are not theirs. Compare systems with it, and do "
    "not read its means as marks.",
    "calibrated": "calibrated. The judge ranks answers as people do and gives scores like theirs.",
}


def conclude(judge: Agreement, demo: bool = False, thresholds: Thresholds = THRESHOLDS) -> tuple[Level, str]:
    """The level and its sentence. `judge` is the agreement of the judge (first) with people (second)."""
    level = _level(judge, demo, thresholds)
    sentence = HEADLINES[level].format(units=judge["units"], needed=thresholds.units)
    return level, sentence if level == "demo" else f"n = {judge['n']}: {sentence}"


def grades(judge: Agreement, thresholds: Thresholds = THRESHOLDS) -> dict[str, Grade]:
    """How the judge does in each figure: passes when the whole interval does, unsure when only the value does."""
    found = {name: _at_least(judge[name], getattr(thresholds, name)) for name in ("spearman", "weighted_kappa")}
    return found | {"bias": _within(judge["bias"], thresholds.bias)}


def remarks(judge: Agreement) -> list[str]:
    """Why a figure is missing, in sentences."""
    who = [name for name, same in zip(("the judge", "people"), judge["constant"], strict=True) if same]
    constant = [f"{name} gave every answer the same score: no rank correlation is defined." for name in who]
    few = judge["n"] < 3 and not who
    return [*constant, *(["fewer than three answers: no rank correlation is defined."] if few else [])]


def ceiling(with_people: Sequence[Agreement], between_people: Sequence[Agreement]) -> str:
    """How the judge's agreement with one person compares with that of two people; empty for a single person."""
    judge, people = (mean_agreement(pairs, "spearman") for pairs in (with_people, between_people))
    if not between_people:
        return ""
    if people is None or judge is None:
        return "Agreement between people: undefined, because somebody gave the same score to every answer."
    said = f"Two people agree at Spearman {people:.2f}, the judge with one person at {judge:.2f}. "
    if min(pair["units"] for pair in (*with_people, *between_people)) < THRESHOLDS.units:
        return said + f"With fewer than {THRESHOLDS.units} answers in common that is a first impression."
    if people < THRESHOLDS.spearman:
        return said + "People do not agree with one another: make the rubric clearer first, no judge can be right."
    if judge >= people:
        return said + "The judge agrees with a person as well as another person does; more cannot be asked of it."
    return said + "What people do to one another is the most that can be asked of a judge."


def _level(judge: Agreement, demo: bool, thresholds: Thresholds) -> Level:
    if demo:
        return "demo"
    if judge["units"] < thresholds.units:
        return "too few"
    if judge["spearman"]["value"] is None:
        return "undefined"
    graded = grades(judge, thresholds)
    order, scores = graded["spearman"], {graded["weighted_kappa"], graded["bias"]}
    if order == "fails":
        return "disagrees"
    if "fails" in scores and order == "passes":
        return "ranks"
    return "calibrated" if {order, *scores} == {"passes"} else "unsure"


def _at_least(entry: Mapping[str, Any], least: float) -> Grade:
    if entry["value"] is None or entry["value"] < least:
        return "fails"
    return "passes" if entry["low"] is not None and entry["low"] >= least else "unsure"


def _within(entry: Mapping[str, Any], most: float) -> Grade:
    if abs(entry["value"]) > most:
        return "fails"
    return "passes" if entry["low"] is not None and max(-entry["low"], entry["high"]) <= most else "unsure"
