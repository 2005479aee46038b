"""Reads what judges said of a run's answers: their summaries, and their verdict on each row."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from affinage import data
from affinage.comparison.answers import Answers, RowKey
from affinage.errors import AffinageError, Problem
from affinage.judging.folders import VERDICTS, summaries
from affinage.paths import display

OUTDATED = "{} judged other answers than these: ask it again with make judge."


class Said(NamedTuple):
    """What one judge said of one answer: `value` is 0 to 100, or of a duel 1, 0.5 or 0; None without a verdict.

    `note` says in words what the value does not: how a duel ended, the levels of criteria, why there is no verdict.
    """

    value: float | None
    note: str
    reason: str


class Judged(NamedTuple):
    """One judge's work on one run: the summary, and what it said by row and kind of system ("tuned")."""

    summary: dict[str, Any]
    said: dict[tuple[RowKey, str], Said]

    @property
    def judge(self) -> str:
        """The judge's name; of a panel, how many judges it has."""
        summary = self.summary
        return f"panel of {len(summary['judges'])}" if "judges" in summary else str(summary["judge"].get("name", ""))

    @property
    def identity(self) -> str:
        """The same for two runs exactly when the same weights judged both by the same rules."""
        summary = self.summary
        parts = ("mode", "judge", "judges", "rubrics", "weights", "settings")
        facts = {part: summary.get(part) for part in parts}
        if facts["judge"]:
            facts["judge"] = {key: facts["judge"].get(key) for key in ("endpoint", "name", "digest", "control_tokens")}
        return json.dumps(facts, sort_keys=True)


def judged_of(answers: Answers) -> tuple[list[Judged], list[str]]:
    """What each judge said of these answers, and the names of those that judged others, in words for a reader.

    Of two summaries of one judge the one about more rows counts. Raises AffinageError for a file that is broken.
    """
    path = answers.predictions.path
    found, notes = dict[tuple[str, str], Judged](), list[str]()
    if answers.by_train:
        return [], []
    sha256, rows = data.sha256(path), {row.id: row for row in answers.rows}
    for folder, summary in summaries(path).items():
        if summary.get("predictions_sha256") != sha256:
            notes.append(OUTDATED.format(f"{folder.parent.name}/{folder.name}"))
            continue
        one = Judged(summary, {} if "judges" in summary else _said(folder / VERDICTS, summary["mode"], rows))
        key = (summary["mode"], one.judge)
        if key not in found or found[key].summary["n"] < summary["n"]:
            found[key] = one
    return list(found.values()), notes


def _said(path: Path, mode: str, rows: Mapping[str, RowKey]) -> dict[tuple[RowKey, str], Said]:
    grouped: dict[tuple[RowKey, str], list[dict[str, Any]]] = {}
    try:
        for line in filter(None, path.read_text(encoding="utf-8").split("\n")):
            verdict = json.loads(line)
            grouped.setdefault((rows[verdict["id"]], verdict["system"]), []).append(verdict)
        return {key: _duel(lines) if mode == "pairwise" else _score(lines[0]) for key, lines in grouped.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "Run make judge again: what was answered is kept."
        raise AffinageError(Problem(display(path), f"cannot be used: {error!r}.", remedy=remedy)) from error


def _score(line: Mapping[str, Any]) -> Said:
    if line["status"] != "ok":
        return Said(None, f"no score: {line['status'].replace('_', ' ')}", line["reason"])
    levels = ", ".join(f"{name} {level}" for name, level in line.get("criteria", {}).items())
    return Said(line["score"], "empty answer, by rule" if line["rule"] else levels, line["reason"])


def _duel(lines: Sequence[Mapping[str, Any]]) -> Said:
    """A duel is two verdicts, one in each order of the answers."""
    failed = [line["status"].replace("_", " ") for line in lines if line["status"] != "ok"]
    reasons = [f"{line['order'][0]} first: {line['reason']}" for line in lines if line["reason"]]
    outcome = lines[0]["outcome"]
    if outcome is None:
        return Said(None, f"duel with {lines[0]['against']}: no verdict ({', '.join(failed)})", "\n".join(reasons))
    value = {lines[0]["system"]: 1.0, "tie": 0.5}.get(outcome, 0.0)
    words = {1.0: "won in both orders", 0.0: "lost in both orders"}.get(value) or _tie(lines)
    return Said(value, f"duel with {lines[0]['against']}: {words}", "\n".join(reasons))


def _tie(lines: Sequence[Mapping[str, Any]]) -> str:
    if lines[0]["rule"]:
        return "tie, the same answer"
    return "tie" if len({line["prefers"] for line in lines}) == 1 else "tie, each order another verdict"
