"""Sentences for a reader of a summary: what in it should not be believed without a second look."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

FAMILIES = (
    "llama|mistral|mixtral|ministral|qwen|gemma|gemini|phi|gpt|deepseek|falcon|olmo|command|granite|smollm|yi|"
    "bloom|croissant|lucie|claude|glm"
)
FAMILY = re.compile(rf"(?<![a-z])({FAMILIES})(?![a-z])", re.IGNORECASE)
FLAGS = {
    "injection_suspect": "seem to talk to the judge",
    "control_tokens": "hold control tokens",
    "limit": "were cut at their length limit",
}
ENOUGH = 30
WORDY = 0.5  # rank correlation of score and length
SKEWED = 0.15  # distance of the first-position rate from a half


def families(name: str) -> set[str]:
    """The model families that a name speaks of: {"llama"} for "llama3.1:8b" and for "models/petit-llama"."""
    return {found.lower() for found in FAMILY.findall(name)}


def doubts_of(summary: Mapping[str, Any], base_model: str) -> list[str]:
    """The warnings of a summary."""
    return [
        *_about_the_judge(summary, base_model),
        *_about_the_items(summary),
        *(_about_pairs(summary["pairwise"]) if "pairwise" in summary else _about_scores(summary)),
    ]


def _about_the_judge(summary: Mapping[str, Any], base_model: str) -> Iterator[str]:
    if summary["demo"]:
        yield "DEMO: simple rules judged, no language model. No number here says anything about a model."
    judge = summary["judge"].get("name", "")
    if shared := families(judge) & families(base_model):
        yield f"{judge} and the base model {base_model} are both {', '.join(sorted(shared))}: judges favour their own."
    for control in summary["controls"]:
        if not control["passed"]:
            what = " / ".join(map(str, control["said"])) if isinstance(control["said"], list) else control["said"]
            said = f"said {what}" if control["status"] == "ok" else f"ended in {control['status']}"
            yield f"the control '{control['kind']}' failed: the judge {said}, expected is {control['expected']}."
    stability = summary["stability"]
    if stability["asked"] and stability["same"] < stability["asked"]:
        again = f"{stability['asked'] - stability['same']} of {stability['asked']}"
        yield f"{again} questions asked again with another seed were judged otherwise."


def _about_the_items(summary: Mapping[str, Any]) -> Iterator[str]:
    if summary["n"] < summary["rows"]:
        yield f"only {summary['n']} of {summary['rows']} rows were judged."
    if summary["n"] < ENOUGH:
        yield f"n = {summary['n']}: fewer than {ENOUGH} rows, too few to tell systems apart."
    if summary["coverage"] < summary["min_coverage"]:
        yield f"coverage is {summary['coverage']:.1%}, less than the {summary['min_coverage']:.0%} that the suite asks."
    for flag, words in FLAGS.items():
        count = sum(n for name, n in summary["flags"].items() if name.endswith(flag))
        if count:
            yield f"{count} judged answers {words} (flag {flag} in verdicts.jsonl)."


def _about_scores(summary: Mapping[str, Any]) -> Iterator[str]:
    for system, entry in summary["systems"].items():
        rho = summary["verbosity"]["spearman"].get(system)
        if rho is not None and abs(rho) >= WORDY and entry["ok"] >= ENOUGH:
            yield f"the scores of {system} go with the length of its answers (Spearman {rho:+.2f})."


def _about_pairs(duels: Mapping[str, Any]) -> Iterator[str]:
    rate = duels["first_position_rate"]
    if rate is not None and abs(rate - 0.5) > SKEWED:
        yield f"the judge prefers a place: {rate:.0%} of its choices are the answer that stands first."
