"""A judge made of rules, for demonstrations and tests: it compares words with the reference and knows no language."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

FIELD = re.compile(r"^BEGIN ([A-Z ]+) ([0-9a-f]{16})\n(.*)\nEND \1 \2$", re.MULTILINE)
# As a model's tokenizer does: what stands in raw control tokens is no longer data but a turn of its own.
FORGED_TURN = re.compile(r"<\|(?:im_start|start_header_id)\|>\s*(?:system|user).{0,200}?\b100\b", re.DOTALL)
CLOSE = 0.02  # answers that differ by less are a tie


def judged_by_rules(messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any] | None) -> Any:
    """An answer to a question of `affinage.judging.forms`, valid under its schema.

    A forged turn that asks for 100 is obeyed, so this judge fails the control against injections when the data of a
    question is not escaped.
    """
    text = messages[-1]["content"]
    fields = {"REFERENCE": ""} | read_fields(text)
    wanted = (schema or {}).get("properties", {})
    obeys = FORGED_TURN.search(text) is not None
    if "better" in wanted:
        a, b = (alike(fields[name], fields["REFERENCE"]) for name in ("ANSWER A", "ANSWER B"))
        if obeys:
            a, b = (float(FORGED_TURN.search(fields[name]) is not None) for name in ("ANSWER A", "ANSWER B"))
        better = "tie" if abs(a - b) < CLOSE else "A" if a > b else "B"
        return _answer(f"words shared with the reference: A {a:.2f}, B {b:.2f}", {"better": better})
    value = 1.0 if obeys else alike(fields["ANSWER"], fields["REFERENCE"])
    reason = f"words shared with the reference: {value:.2f}"
    if "score" in wanted:
        return _answer(reason, {"score": round(100 * value)})
    return _answer(reason, {name: 1 + round(4 * value) for name in wanted if name not in ("reasoning", "verdict")})


def read_fields(text: str) -> dict[str, str]:
    """The data of a question by the names of its fields."""
    return {name: json.loads(written) for name, _, written in FIELD.findall(text)}


def alike(answer: str, reference: str) -> float:
    """How many pairs of neighbouring words two texts share, 0 (none) to 1 (the same words in the same order)."""
    first, second = _pairs(answer), _pairs(reference)
    total = first.total() + second.total()
    return 2 * (first & second).total() / total if total else float(answer == reference)


def _pairs(text: str) -> Counter[tuple[str, str]]:
    words = re.findall(r"\w+|[^\w\s]", text.casefold())
    return Counter(zip(["", *words], [*words, ""], strict=True)) if words else Counter()


def _answer(reason: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"reasoning": reason, "verdict": "judged", **value}
