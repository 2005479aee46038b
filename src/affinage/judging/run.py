"""Judges a file of predictions: controls first, then every item, then some of them once more."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from affinage import data
from affinage.control_tokens import ControlTokens
from affinage.errors import AffinageError, Problem
from affinage.judging.controls import controls_of
from affinage.judging.demo_server import DIGEST as DEMO_DIGEST
from affinage.judging.doubts import doubts_of
from affinage.judging.duels import duels_summary, with_outcomes
from affinage.judging.folders import SUMMARY, VERDICTS, folder_of
from affinage.judging.forms import Form
from affinage.judging.histogram import draw
from affinage.judging.items import Item, items_of, spread
from affinage.judging.settings import JudgeSettings
from affinage.judging.summary import coverage_of, differences_summary, flag_counts, systems_summary, verbosity
from affinage.ollama_batch import ask_all
from affinage.ollama_chat import Chat
from affinage.ollama_models import Model
from affinage.runs import write_jsonl
from affinage.scoring.predictions_file import Predictions
from affinage.scoring.score import write_metrics
from affinage.scoring.suite import Suite

VERSION = 1
OTHER_SEED = 1_000_000  # far from the seeds of second attempts


@dataclass(frozen=True)
class Judging:
    """What to judge and how: the predictions with their suite, `limit` rows of them, and who made the answers."""

    predictions: Predictions
    suite: Suite
    settings: JudgeSettings
    form: Form
    limit: int | None = None
    base_model: str = ""


@dataclass(frozen=True)
class Judged:
    """What came of it: the folder that was written, the content of summary.json and the lines of verdicts.jsonl."""

    folder: Path
    summary: dict[str, Any]
    lines: list[dict[str, Any]]


def judge(chat: Chat, judging: Judging) -> Judged:
    """Asks the judge about everything and writes verdicts.jsonl, histogram.png and summary.json.

    What was answered stays in the chat's cache, so that a run which was killed at any moment goes on where it was and
    ends with the same summary to the byte. Raises AffinageError when the server cannot go on, and for a judge that
    fails a control where the settings are strict.
    """
    judging = replace(judging, form=replace(judging.form, tokens=_tokens(chat)))
    controls, notes = _controls(chat, judging)
    predictions, form = judging.predictions, judging.form
    rows = spread(len(predictions), judging.limit)
    items = items_of(predictions, form, rows)
    lines = _verdicts(chat, form, items, judging.settings.concurrency, f"judging ({form.mode})")
    stability = _stability(chat, judging, items, lines)
    if form.mode == "pairwise":
        lines = with_outcomes(lines)
    summary = _head(chat, judging, len(rows)) | _results(judging, lines)
    summary |= {"controls": controls, "stability": stability, "flags": flag_counts(lines), "statuses": _statuses(lines)}
    summary["warnings"] = [*notes, *doubts_of(summary, judging.base_model)]
    folder = folder_of(predictions.path, form.mode, chat.name, None if len(rows) == len(predictions) else len(rows))
    write(folder, lines, summary)
    return Judged(folder, summary, lines)


def write(folder: Path, lines: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> None:
    """Writes the verdicts, the histogram and, last, the summary, which says that the others are complete."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = {"demo": True} if summary["demo"] else {}
    write_jsonl(folder / VERDICTS, [mark | dict(line) for line in lines])
    draw(summary, folder / "histogram.png")
    write_metrics(folder / SUMMARY, summary)


def _tokens(chat: Chat) -> ControlTokens:
    return ControlTokens(chat.model.control_tokens if chat.model else ())


def _verdicts(chat: Chat, form: Form, items: Sequence[Item], concurrency: int, title: str) -> list[dict[str, Any]]:
    """The line of every item, in order; those that a rule decides are not asked about."""
    asked = [item for item in items if not item.rule]
    replies = iter(ask_all(chat, [form.question(item.case, item.answers) for item in asked], concurrency, title))
    lines = []
    for item in items:
        if item.rule:
            lines.append(item.verdict(item.by_rule(form)))
        else:
            reply = next(replies)
            lines.append(item.verdict(form.read(reply), reply))
    return lines


def _controls(chat: Chat, judging: Judging) -> tuple[list[dict[str, Any]], list[str]]:
    form, settings = judging.form, judging.settings
    controls, notes = controls_of(judging.predictions.rows)
    items = [item for control in controls for item in control.items(form)]
    lines = _verdicts(chat, form, items, settings.concurrency, "controls")
    each = len(items) // max(1, len(controls))
    results = [control.result(lines[i * each : (i + 1) * each]) for i, control in enumerate(controls)]
    failed = [result for result in results if not result["passed"]]
    if failed and settings.controls == "strict":
        remedy = "Take a larger judge or a clearer rubric, or write 'controls: warn' in the suite."
        raise AffinageError(
            *(
                Problem(f"control {one['kind']}", f"the judge said {one['said']} ({one['status']}).", one["expected"])
                for one in failed
            ),
            remedy,
        )
    return results, notes


def _stability(
    chat: Chat, judging: Judging, items: Sequence[Item], lines: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Some of the items that are ok, evenly spread, asked again with another seed: at temperature 0 nothing changes."""
    key = "choice" if judging.form.mode == "pairwise" else "score"
    settled = [(item, line[key]) for item, line in zip(items, lines, strict=True) if line["status"] == "ok"]
    settled = [(item, said) for item, said in settled if not item.rule]
    probed = [settled[i] for i in spread(len(settled), judging.settings.stability)]
    options = chat.options.model_copy(update={"seed": (chat.options.seed + OTHER_SEED) % 2**31})
    questions = [replace(judging.form.question(item.case, item.answers), options=options) for item, _ in probed]
    replies = ask_all(chat, questions, judging.settings.concurrency, "once more") if questions else []
    again = [judging.form.read(reply).get(key) for reply in replies]
    same = sum(said == now for (_, said), now in zip(probed, again, strict=True))
    gaps = [abs(said - now) for (_, said), now in zip(probed, again, strict=True) if isinstance(now, int | float)]
    found: dict[str, Any] = {"asked": len(probed), "same": same, "rate": same / len(probed) if probed else None}
    return found | ({"largest_change": max(gaps)} if gaps else {})


def _head(chat: Chat, judging: Judging, n: int) -> dict[str, Any]:
    """What was judged, by whom and how; no time of day, so that the same work gives the same bytes."""
    model, bootstrap, settings = chat.model, judging.suite.bootstrap, judging.settings
    resampled = {"confidence": bootstrap.confidence, "bootstrap": bootstrap.n, "seed": bootstrap.seed}
    return {
        "version": VERSION,
        "demo": model is not None and model.digest == DEMO_DIGEST,
        "mode": judging.form.mode,
        "suite": judging.suite.name,
        "n": n,
        "rows": len(judging.predictions),
        "predictions_sha256": data.sha256(judging.predictions.path),
        "judge": {"endpoint": settings.endpoint.kind, **_facts(model)},
        "rubrics": dict(judging.form.rubrics),
        "weights": dict(judging.form.weights),
        "settings": {"options": chat.options.sent(), "think": chat.think, **resampled},
        "min_coverage": settings.min_coverage,
    }


def _facts(model: Model | None) -> dict[str, Any]:
    """What is known of the judge; of its control tokens, of which there may be a thousand, only how many."""
    return vars(model) | {"control_tokens": len(model.control_tokens)} if model else {}


def _results(judging: Judging, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    groups = {row["id"]: row.get("group", "") for row in judging.predictions.rows}
    bootstrap = judging.suite.bootstrap
    if judging.form.mode == "pairwise":
        duels = duels_summary(lines, groups, bootstrap)
        return {"pairwise": duels, "coverage": duels["coverage"]}
    return {
        "systems": systems_summary(lines, groups, bootstrap),
        "differences": differences_summary(lines, groups, bootstrap),
        "coverage": coverage_of(sum(line["status"] == "ok" for line in lines), len(lines)),
        "verbosity": {"spearman": verbosity(lines), **_length_ratio(lines)},
    }


def _length_ratio(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How much longer the tuned answers are than the base ones, as a ratio of characters."""
    total = {s: sum(line["characters"][0] for line in lines if line["system"] == s) for s in ("tuned", "base")}
    return {"tuned_to_base_length": total["tuned"] / total["base"]} if total["tuned"] and total["base"] else {}


def _statuses(lines: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """How many items ended in which status, by system or, in pairwise, by the order of the answers."""
    found: dict[str, Counter[str]] = {}
    for line in lines:
        who = " then ".join(line["order"]) if "order" in line else line["system"]
        found.setdefault(who, Counter())[line["status"]] += 1
    return {who: dict(counts) for who, counts in found.items()}
