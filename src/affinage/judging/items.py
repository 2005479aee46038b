"""What is judged: each answer of each system, or in pairwise each row's two answers in both orders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affinage.control_tokens import ControlTokens
from affinage.errors import AffinageError, Problem
from affinage.judging.forms import Case, Form
from affinage.judging.prompts import looks_like_injection
from affinage.ollama_replies import Reply, Status
from affinage.paths import display
from affinage.scoring.predictions_file import Predictions

PAIR = ("tuned", "base")
EMPTY, SAME = "empty_answer", "same_answers"


@dataclass(frozen=True)
class Item:
    """One thing to judge. `order` names the systems of `answers`; `rule` is why no judge need be asked, or empty."""

    id: str
    order: tuple[str, ...]
    case: Case
    answers: tuple[str, ...]
    flags: tuple[str, ...] = ()
    rule: str = ""

    def verdict(self, read: Mapping[str, Any], reply: Reply | None = None) -> dict[str, Any]:
        """The line of verdicts.jsonl about this item; `seconds` is how long the judge took when it was asked."""
        line: dict[str, Any] = {"id": self.id, "system": self.order[0], **read, "rule": self.rule}
        if len(self.order) == 2:
            preferred = {"A": self.order[0], "B": self.order[1], "tie": "tie"}.get(read.get("choice", ""))
            line |= {"system": PAIR[0], "against": PAIR[1], "order": list(self.order), "prefers": preferred}
        line |= {"flags": list(self.flags), "characters": [len(answer) for answer in self.answers]}
        facts = reply or Reply(Status.OK)
        line |= {"attempts": list(facts.attempts), "seconds": facts.seconds}
        return line | {"prompt_tokens": facts.prompt_tokens, "answer_tokens": facts.answer_tokens}

    def by_rule(self, form: Form) -> dict[str, Any]:
        """What the rule says: an empty answer gets nothing, two that are the same are a tie."""
        said = {"status": "ok", "score": None, "reason": "", "detail": ""}
        if self.rule == SAME:
            return said | {"choice": "tie"}
        criteria = {"criteria": dict.fromkeys(form.weights, 1)} if form.mode == "rubric" else {}
        return said | {"score": 0} | criteria


def spread(n: int, limit: int | None) -> list[int]:
    """The numbers of `limit` of n rows, evenly spread over all of them; of all rows without a limit."""
    return list(range(n)) if limit is None or limit >= n else [i * n // limit for i in range(limit)]


def items_of(predictions: Predictions, form: Form, rows: Sequence[int]) -> list[Item]:
    """The items of these rows, in their order. Raises AffinageError in pairwise when one of the two is missing."""
    if form.mode != "pairwise":
        return [_single(predictions.rows[i], system, form.tokens) for i in rows for system in predictions.systems]
    missing = [system for system in PAIR if system not in predictions.systems]
    if missing:
        found = f"no answers of {' and '.join(missing)}, and pairwise compares base with tuned."
        raise AffinageError(Problem(display(predictions.path), found, remedy="Judge in mode score or rubric."))
    return [_pair(predictions.rows[i], order, form.tokens) for i in rows for order in (PAIR[::-1], PAIR)]


def case_of(row: Mapping[str, Any]) -> Case:
    """What a row asks; where it has no instruction, the prompt that the model saw."""
    asked = row.get("instruction") or ("" if row.get("input") else row.get("prompt", ""))
    return Case(asked, row.get("input", ""), row["reference"])


def _single(row: Mapping[str, Any], system: str, tokens: ControlTokens) -> Item:
    answer, flags = row[system], _flags(row, system, tokens)
    return Item(row["id"], (system,), case_of(row), (answer,), flags, "" if answer.strip() else EMPTY)


def _pair(row: Mapping[str, Any], order: tuple[str, ...], tokens: ControlTokens) -> Item:
    answers = tuple(row[system] for system in order)
    flags = tuple(f"{system}: {flag}" for system in order for flag in _flags(row, system, tokens))
    rule = SAME if answers[0].strip() == answers[1].strip() else ""
    return Item(row["id"], order, case_of(row), answers, flags, rule)


def _flags(row: Mapping[str, Any], system: str, tokens: ControlTokens) -> tuple[str, ...]:
    """What generation said of the answer, and what in it is meant for a judge rather than for a reader."""
    answer = row[system]
    found = {"control_tokens": tokens.found_in(answer), "injection_suspect": looks_like_injection(answer)}
    return (*row.get(f"{system}_flags", ()), *(flag for flag, holds in found.items() if holds))
