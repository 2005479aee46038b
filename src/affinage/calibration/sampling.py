"""Which answers people are asked to score: as many good as bad ones, from rows that do not depend on each other."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from affinage.calibration.evaluation import Evaluation, Item, Judge

STRATA = 10  # of the judge's scores from 0 to 100, the last one closed
EMPTY, NO_VERDICT = "empty answers", "answers without a judge's score"


@dataclass(frozen=True)
class Sample:
    """The chosen items in the order of the sheet; `strata` counts them, `left_out` those that could not be chosen."""

    items: list[Item]
    strata: dict[str, int]
    left_out: dict[str, int]


def sample(evaluation: Evaluation, judges: Sequence[Judge], n: int, seed: int) -> Sample:
    """n items, or all when there are fewer, the same for the same seed.

    With judges, spread evenly over the range of their mean score, so that rare scores are seen too (a demo counts only
    where no model judged); without, over systems and labels. Of two answers the one whose row or group is not on the
    sheet yet is taken.
    """
    answers = evaluation.answers()
    items = [item for item, answer in answers.items() if answer.strip()]
    left_out = {EMPTY: len(answers) - len(items)}
    judges = spread_by(judges)
    if judges:
        scores = {item: score for item in items if (score := _mean_score(item, judges)) is not None}
        left_out[NO_VERDICT] = len(items) - len(scores)
        of_item = {item: _stratum(score) for item, score in scores.items()}
    else:
        labels = {row["id"]: row.get("label", "") for row in evaluation.predictions.rows}
        of_item = {item: " ".join(filter(None, (item[1], labels[item[0]]))) for item in items}
    chosen = _spread(of_item, evaluation.units(), n, random.Random(seed))
    counted = Counter(of_item[item] for item in chosen)
    return Sample(chosen, dict(sorted(counted.items())), {why: count for why, count in left_out.items() if count})


def spread_by(judges: Sequence[Judge]) -> list[Judge]:
    """The judges whose scores a sample is spread over: the models, or the demos where there are only these."""
    return [judge for judge in judges if not judge.summary["demo"]] or list(judges)


def _mean_score(item: Item, judges: Sequence[Judge]) -> float | None:
    """The mean of the scores that judges gave; None without any."""
    lines = [judge.verdicts[item] for judge in judges if item in judge.verdicts]
    scores = [line["score"] for line in lines if line["status"] == "ok"]
    return sum(scores) / len(scores) if scores else None


def _stratum(score: float) -> str:
    width = 100 // STRATA
    place = min(int(score // width), STRATA - 1)
    return f"{place * width:02d} to {place * width + width:02d}"


def _spread(of_item: Mapping[Item, str], units: Mapping[str, str], n: int, generator: random.Random) -> list[Item]:
    strata: dict[str, list[Item]] = {}
    for item, stratum in of_item.items():
        strata.setdefault(stratum, []).append(item)
    waiting = list(strata.values())
    for items in waiting:
        generator.shuffle(items)
    generator.shuffle(waiting)
    chosen, seen = list[Item](), set[str]()
    while waiting and len(chosen) < n:
        items = waiting.pop(0)
        fresh = next((item for item in items if units[item[0]] not in seen), items[0])
        items.remove(fresh)
        seen.add(units[fresh[0]])
        chosen.append(fresh)
        if items:
            waiting.append(items)
    generator.shuffle(chosen)
    return chosen
