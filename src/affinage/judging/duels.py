"""Pairwise verdicts: a system wins a row only when it is preferred in both orders."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from affinage.judging.items import PAIR
from affinage.judging.summary import Lines, coverage_of, estimate
from affinage.scoring.statistics import sign_test, units_of
from affinage.scoring.suite import Bootstrap

POINTS = {PAIR[0]: 1.0, "tie": 0.5, PAIR[1]: 0.0}


def with_outcomes(lines: Lines) -> list[dict[str, Any]]:
    """The lines with the `outcome` of their row: the winner, "tie" or, where an order has no verdict, None."""
    decided = []
    for _, group in groupby(lines, key=lambda line: line["id"]):
        both = list(group)
        decided += [dict(line) | {"outcome": _outcome(both)} for line in both]
    return decided


def duels_summary(lines: Lines, groups: Mapping[str, str], bootstrap: Bootstrap) -> dict[str, Any]:
    """Wins, ties and losses of tuned against base, and what the order in which answers stand does to the judge.

    `win_rate` (0..1, ties count half) has a bootstrap interval; `p` is that of the sign test without ties.
    `first_position_rate` is the part of all choices of A or B that are A: near 0.5 for a judge without that bias.
    """
    outcomes = {line["id"]: line["outcome"] for line in lines if line["outcome"]}
    rows = {line["id"] for line in lines}
    points = np.array([POINTS[outcome] for outcome in outcomes.values()])
    of_group = [groups[key] for key in outcomes]
    signs = sign_test(points, np.full(len(points), 0.5), True, units_of(of_group)) if len(points) else {"p": None}
    return {
        "rows": len(rows),
        "decided": len(outcomes),
        "coverage": coverage_of(len(outcomes), len(rows)),
        "wins": {system: sum(outcome == system for outcome in outcomes.values()) for system in PAIR},
        "ties": sum(outcome == "tie" for outcome in outcomes.values()),
        "win_rate": estimate(points, of_group, bootstrap),
        "p": signs["p"],
        **_consistency(lines),
    }


def _outcome(both: Sequence[Mapping[str, Any]]) -> str | None:
    if any(line["status"] != "ok" for line in both):
        return None
    preferred = {line["prefers"] for line in both}
    return preferred.pop() if len(preferred) == 1 else "tie"


def _consistency(lines: Lines) -> dict[str, Any]:
    """Over what the judge itself said; what a rule decided shows nothing about it."""
    asked = [line for line in lines if not line["rule"]]
    choices = [line["choice"] for line in asked if line["status"] == "ok" and line["choice"] != "tie"]
    preferred: dict[str, list[str]] = {}
    for line in asked:
        if line["outcome"]:
            preferred.setdefault(line["id"], []).append(line["prefers"])
    same = sum(len(set(both)) == 1 for both in preferred.values())
    return {
        "ties_by_rule": len({line["id"] for line in lines if line["rule"]}),
        "inconsistent": len(preferred) - same,
        "consistency_rate": same / len(preferred) if preferred else None,
        "first_position_rate": choices.count("A") / len(choices) if choices else None,
        "longer_wins_rate": _longer(lines),
    }


def _longer(lines: Lines) -> float | None:
    """Among rows that one side won with answers of unequal length, how often the longer one did."""
    won = [line for line in lines if line["outcome"] in PAIR and len(set(line["characters"])) == 2]
    longer = [line["order"][int(np.argmax(line["characters"]))] == line["outcome"] for line in won]
    return sum(longer) / len(longer) if longer else None
