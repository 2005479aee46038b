"""What the verdicts say of each system, how sure that is, and what speaks against trusting the judge."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from affinage.scoring.measures import Array, mean_of
from affinage.scoring.score import PAIRS
from affinage.scoring.statistics import replicates, sign_test, units_of
from affinage.scoring.suite import Bootstrap

Lines = Sequence[Mapping[str, Any]]
BINS = 10  # of the histogram over 0..100, the last one closed


def estimate(values: Array, groups: Sequence[str], bootstrap: Bootstrap) -> dict[str, float | None]:
    """The mean of the values with its percentile bootstrap interval, None where there are too few.

    Whole groups are resampled where rows share one; `groups` has "" for a row without.
    """
    if not len(values):
        return {"value": None, "low": None, "high": None}
    units, mean = units_of(groups), float(np.mean(values))
    if int(units.max()) == 0:
        return {"value": mean, "low": None, "high": None}
    tail = 50 * (1 - bootstrap.confidence)
    low, high = np.nanpercentile(replicates([mean_of(values)], units, bootstrap)[0], [tail, 100 - tail])
    return {"value": mean, "low": float(low), "high": float(high)}


def coverage_of(ok: int, n: int) -> float:
    """The part of n that ended in a verdict, in 0..1; 1 of nothing."""
    return ok / n if n else 1.0


def systems_summary(lines: Lines, groups: Mapping[str, str], bootstrap: Bootstrap) -> dict[str, Any]:
    """For each system: coverage, mean over the items that are ok, and what failures could change."""
    return {
        system: _system([line for line in lines if line["system"] == system], groups, bootstrap)
        for system in dict.fromkeys(line["system"] for line in lines)
    }


def differences_summary(lines: Lines, groups: Mapping[str, str], bootstrap: Bootstrap) -> dict[str, Any]:
    """The paired differences on rows where both systems have a score, with sign test and win rate (ties count half)."""
    scores: dict[str, dict[str, float]] = {}
    for line in lines:
        if line["status"] == "ok":
            scores.setdefault(line["system"], {})[line["id"]] = line["score"]
    pairs = [pair for pair in PAIRS if set(pair) <= {line["system"] for line in lines}]
    return {
        f"{first} - {second}": difference(scores.get(first, {}), scores.get(second, {}), groups, bootstrap)
        for first, second in pairs
    }


def difference[Key: Hashable](
    first: Mapping[Key, float], second: Mapping[Key, float], groups: Mapping[Key, str], bootstrap: Bootstrap
) -> dict[str, Any]:
    """First minus second on the keys that both have: the mean with its interval, better, worse, equal, p, win rate."""
    ids = [key for key in first if key in second]
    if not ids:
        return {"n": 0, "value": None, "low": None, "high": None, "win_rate": None, "p": None}
    one, other = (np.array([scores[key] for key in ids], dtype=float) for scores in (first, second))
    of_group = [groups[key] for key in ids]
    signs = sign_test(one, other, True, units_of(of_group))
    rate = (signs["better"] + signs["equal"] / 2) / len(ids)
    return {"n": len(ids), **estimate(one - other, of_group, bootstrap), **signs, "win_rate": rate}


def verbosity(lines: Lines) -> dict[str, Any]:
    """Spearman's correlation of score and length in characters for each system, None where either is constant."""
    found = {}
    for system in dict.fromkeys(line["system"] for line in lines):
        ok = [line for line in lines if line["system"] == system and line["status"] == "ok" and not line["rule"]]
        found[system] = spearman([line["score"] for line in ok], [line["characters"][0] for line in ok])
    return found


def spearman(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's rank correlation, None for fewer than three pairs or where one side is constant."""
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    return float(spearmanr(first, second).statistic)


def flag_counts(lines: Lines) -> dict[str, int]:
    """How many items carry each flag, such as injection_suspect."""
    return dict(Counter(flag for line in lines for flag in line["flags"]))


def _system(lines: Lines, groups: Mapping[str, str], bootstrap: Bootstrap) -> dict[str, Any]:
    ok = [line for line in lines if line["status"] == "ok"]
    scores = np.array([line["score"] for line in ok], dtype=float)
    failed, n = len(lines) - len(ok), len(lines)
    return {
        "items": n,
        "ok": len(ok),
        "by_rule": dict(Counter(line["rule"] for line in ok if line["rule"])),
        "coverage": coverage_of(len(ok), n),
        "mean": estimate(scores, [groups[line["id"]] for line in ok], bootstrap),
        "median": float(np.median(scores)) if len(ok) else None,
        "standard_deviation": float(np.std(scores, ddof=1)) if len(ok) > 1 else None,
        "failures_at_0": float(scores.sum() / n) if n else None,
        "failures_at_100": float((scores.sum() + 100 * failed) / n) if n else None,
        "histogram": np.histogram(scores, bins=BINS, range=(0, 100))[0].tolist(),
        **_criteria(ok),
    }


def _criteria(ok: Lines) -> dict[str, Any]:
    """The mean level 1..5 of each criterion."""
    levels = [line["criteria"] for line in ok if "criteria" in line]
    return {"criteria": {name: float(np.mean([one[name] for one in levels])) for name in levels[0]}} if levels else {}
