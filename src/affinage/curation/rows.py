"""The row every part of data preparation passes on, and the book of what was changed and dropped."""

from collections import Counter
from typing import Any

Row = dict[str, Any]

TEXTS = ("instruction", "input", "output")
LEADING = (*TEXTS, "id", "group", "label", "source")


def ordered(row: Row) -> Row:
    """The row with its canonical columns first, its own columns next, and `split` last."""
    first = {name: row[name] for name in LEADING if name in row}
    others = {name: value for name, value in row.items() if name not in first and name != "split"}
    return first | others | ({"split": row["split"]} if "split" in row else {})


class Counts:
    """How many rows came in, went out, were changed or dropped, by step and reason, with a few examples of each.

    Steps keep the order in which they were first counted. `examples` holds at most three texts for each reason.
    """

    EXAMPLES = 3

    def __init__(self) -> None:
        self.steps: dict[str, Counter[str]] = {}
        self.examples: dict[tuple[str, str], list[str]] = {}

    def add(self, step: str, reason: str, n: int = 1, example: str = "") -> None:
        """Counts `n` rows for a reason ("read", "dropped: empty answer"...) of a step; keeps a short example."""
        if step not in self.steps:
            self.steps[step] = Counter()
        self.steps[step][reason] += n
        if example:
            shown = self.examples.setdefault((step, reason), [])
            if len(shown) < self.EXAMPLES:
                shown.append(example if len(example) <= 200 else example[:199] + "…")

    def of(self, step: str, reason: str) -> int:
        """The count of one reason of one step, 0 when it never occurred."""
        return self.steps.get(step, Counter())[reason]

    def to_json(self) -> dict[str, Any]:
        """Everything counted, ready for a manifest: {step: {reason: {"rows": n, "examples": [...]}}}."""
        return {
            step: {
                reason: {"rows": n, "examples": self.examples.get((step, reason), [])} for reason, n in reasons.items()
            }
            for step, reasons in self.steps.items()
        }
