"""What language models said of the answers, for a card; rules that stand in for a judge are never among them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from affinage.comparison.verdicts import p_value
from affinage.data import sha256
from affinage.judging.demo_server import DEMO_JUDGE
from affinage.judging.demo_server import DIGEST as DEMO_DIGEST
from affinage.publishing.card_results import DASH, NAMES, Evaluation, is_number, read_json

MODES = {"score": "a score from 0 to 100", "rubric": "named criteria, as a score from 0 to 100", "pairwise": "a choice"}


class Judgement(NamedTuple):
    """One judge's verdicts: `facts` about how it judged and `figures` of what it said, each with a name."""

    facts: dict[str, str]
    figures: dict[str, str]
    warnings: list[str]


def judgements(evaluation: Evaluation) -> tuple[list[Judgement], int]:
    """The judgements of these answers, and how many were left out because they are of other answers."""
    if evaluation.folder is None:
        return [], 0
    found = [read_json(path) for path in sorted(evaluation.folder.glob("judge/*/summary.json"))]
    real = [summary for summary in found if "coverage" in summary and not _is_demo(summary)]
    if not real:
        return [], 0
    answers = _sha256(evaluation.folder / "predictions.jsonl")
    kept = [summary for summary in real if summary.get("predictions_sha256", answers) == answers]
    return [_judgement(summary) for summary in kept], len(real) - len(kept)


def _sha256(path: Path) -> str:
    return sha256(path) if path.exists() else ""


def _is_demo(summary: Mapping[str, Any]) -> bool:
    judge = summary.get("judge", {})
    judges = [judge.get("name"), *summary.get("judges", [])]
    return summary.get("demo") is not False or judge.get("digest") == DEMO_DIGEST or DEMO_JUDGE in judges


def _judgement(summary: Mapping[str, Any]) -> Judgement:
    return Judgement(_facts(summary), _figures(summary), summary.get("warnings", []))


def _facts(summary: Mapping[str, Any]) -> dict[str, str]:
    judge, panel = summary.get("judge", {}), summary.get("judges", [])
    rows, n = summary.get("rows"), summary["n"]
    controls = summary.get("controls", [])
    facts = {
        "judge": f"the mean of {', '.join(panel)}" if panel else judge.get("name", ""),
        "digest": "" if panel else judge.get("digest") or "not known",
        "quantization": "" if panel else judge.get("quantization") or "not known",
        "size": judge.get("parameter_size", ""),
        "asked for": MODES.get(summary["mode"], summary["mode"]),
        "rubric": ", ".join(f"{name} (SHA-256 {digest[:12]})" for name, digest in summary.get("rubrics", {}).items()),
        "rows judged": f"{n:,}" + (f" of {rows:,}" if rows not in (None, n) else ""),
        "coverage": f"{summary['coverage']:.1%} of the items ended in a verdict",
        "controls": f"{sum(one['passed'] for one in controls)} of {len(controls)} passed" if controls else "",
    }
    return {name: text for name, text in facts.items() if text}


def _figures(summary: Mapping[str, Any]) -> dict[str, str]:
    figures = {
        f"mean score, {NAMES.get(system, system)}": _interval(entry["mean"])
        for system, entry in summary.get("systems", {}).items()
    }
    for pair, entry in summary.get("differences", {}).items():
        words = " minus ".join(NAMES.get(word, word) for word in pair.split(" - "))
        figures[words] = f"{_interval(entry)}, p {_p(entry.get('p'))}, n = {entry['n']:,}"
    duels = summary.get("pairwise")
    if duels:
        figures["wins of the fine-tuned model"] = f"{duels['wins']['tuned']:,} of {duels['decided']:,}"
        figures["wins of the base model"] = f"{duels['wins']['base']:,}, ties {duels['ties']:,}"
        figures["win rate (ties count half)"] = f"{_interval(duels['win_rate'], 3)}, p {_p(duels.get('p'))}"
    return figures


def _interval(entry: Mapping[str, Any], digits: int = 1) -> str:
    value, low, high = (entry.get(key) for key in ("value", "low", "high"))
    if not is_number(value):
        return DASH
    if not (is_number(low) and is_number(high)):
        return f"{value:.{digits}f} (no interval)"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _p(p: Any) -> str:
    return p_value(p) if is_number(p) else DASH
