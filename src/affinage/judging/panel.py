"""Several judges as one: the mean of their scores, and how far they agree."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from affinage.judging.duels import POINTS
from affinage.judging.folders import SUMMARY, folder_of
from affinage.judging.run import Judged, Judging
from affinage.judging.summary import coverage_of, difference, estimate, spearman
from affinage.scoring.score import PAIRS, write_metrics

Scores = dict[str, dict[str, float]]  # of each system, by the id of the row


def panel_of(judged: Sequence[Judged], judging: Judging) -> dict[str, Any]:
    """The panel's summary: means over the items that every judge scored (0..100), and the agreement of each two judges.

    In pairwise an item is a row, and its score what tuned gets: 100 for a win, 50 for a tie.
    """
    scores = {one.summary["judge"]["name"]: _scores(one.lines) for one in judged}
    groups = {row["id"]: row.get("group", "") for row in judging.predictions.rows}
    bootstrap, mean = judging.suite.bootstrap, _mean(list(scores.values()))
    systems = {
        system: {
            "ok": len(values),
            "mean": estimate(np.array(list(values.values())), [groups[key] for key in values], bootstrap),
        }
        for system, values in mean.items()
    }
    asked = sum(len({line["id"] for line in judged[0].lines if line["system"] == system}) for system in mean)
    return {
        "version": judged[0].summary["version"],
        "demo": any(one.summary["demo"] for one in judged),
        "mode": judging.form.mode,
        "judges": list(scores),
        **{key: judged[0].summary[key] for key in ("suite", "n", "rows", "predictions_sha256")},
        "coverage": coverage_of(sum(len(values) for values in mean.values()), asked),
        "systems": systems,
        "differences": {
            f"{first} - {second}": difference(mean[first], mean[second], groups, bootstrap)
            for first, second in PAIRS
            if first in mean and second in mean
        },
        "agreement": [_agreement(*pair, scores) for pair in combinations(scores, 2)],
    }


def write_panel(predictions: Path, panel: Mapping[str, Any]) -> Path:
    """Writes the panel's summary.json beside those of its judges; gives its path."""
    folder = folder_of(predictions, panel["mode"], "panel", None if panel["n"] == panel["rows"] else panel["n"])
    folder.mkdir(parents=True, exist_ok=True)
    write_metrics(folder / SUMMARY, panel)
    return folder / SUMMARY


def _scores(lines: Sequence[Mapping[str, Any]]) -> Scores:
    found: Scores = {}
    for line in lines:
        of_system = found.setdefault(line["system"], {})
        if line.get("outcome"):
            of_system[line["id"]] = 100 * POINTS[line["outcome"]]
        elif line["score"] is not None:
            of_system[line["id"]] = line["score"]
    return found


def _mean(judges: Sequence[Scores]) -> Scores:
    means: Scores = {}
    for system, first in judges[0].items():
        ids = [key for key in first if all(key in scores[system] for scores in judges)]
        means[system] = {key: float(np.mean([scores[system][key] for scores in judges])) for key in ids}
    return means


def _agreement(first: str, second: str, scores: Mapping[str, Scores]) -> dict[str, Any]:
    """On the items that both scored: Spearman's correlation, and the second's scores minus the first's on average."""
    pairs = [
        (value, scores[second][system][key])
        for system, values in scores[first].items()
        for key, value in values.items()
        if key in scores[second][system]
    ]
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    gaps = np.array(other, dtype=float) - np.array(one, dtype=float)
    found = {"judges": [first, second], "n": len(pairs), "spearman": spearman(one, other)}
    if not pairs:
        return found | {"bias": None, "mean_distance": None}
    return found | {"bias": float(gaps.mean()), "mean_distance": float(np.abs(gaps).mean())}
