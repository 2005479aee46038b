"""Whether a repeated run gave what the first one gave."""

import json
from dataclasses import dataclass
from pathlib import Path

TOLERANCE = 1e-6  # nats: beyond it two runs on one machine are not the same run


@dataclass(frozen=True)
class Comparison:
    """How the losses of two runs differ, step by step; `first_step` is the first that differs at all."""

    steps: int
    largest: float
    first_step: int | None

    @property
    def same(self) -> bool:
        """Whether every loss agrees within 1e-6."""
        return self.steps > 0 and self.largest <= TOLERANCE

    def __str__(self) -> str:
        if self.first_step is None and self.steps:
            return f"all {self.steps} losses are identical"
        if not self.steps:
            return "the first run recorded no step, so there is nothing to compare"
        return (
            f"over {self.steps} steps the losses differ by at most {self.largest:.2e}, first at step {self.first_step}"
        )


def losses(folder: Path) -> dict[int, float]:
    """The training loss of each step of a run, from its history.jsonl."""
    history = folder / "history.jsonl"
    records = map(json.loads, history.read_text(encoding="utf-8").splitlines()) if history.exists() else ()
    return {record["step"]: record["loss"] for record in records if "lr" in record and record["loss"] is not None}


def compare(first: Path, second: Path) -> Comparison:
    """Compares the loss of every step of the first run with the second's; a step missing there differs by infinity."""
    before, after = losses(first), losses(second)
    gaps = {step: abs(loss - after[step]) if step in after else float("inf") for step, loss in sorted(before.items())}
    return Comparison(
        len(gaps), max(gaps.values(), default=0.0), next((step for step, gap in gaps.items() if gap), None)
    )
