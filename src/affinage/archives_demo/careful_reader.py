"""What a careful reader of the made-up mailbox answers, by rule: the stand-in for a language model in curation."""

from collections.abc import Mapping, Sequence
from typing import Any

from affinage.archives_demo.mailbox import Exchange, make_threads

DEMO_READER = "demo-reader:latest"
LEAD = "Pourriez-vous me renseigner sur ce point précis : "


class CarefulReader:
    """Answers the questions of datasets/archives-demo/curate.yaml; it knows the exchanges that the mails were made of.

    A question that it has no rule for gets an empty object, which no schema of a step allows.
    """

    def __init__(self, seed: int = 1) -> None:
        self.exchanges = [one for thread in make_threads(seed) for one in thread.exchanges]

    def __call__(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any] | None) -> dict[str, Any]:
        asked = " ".join(messages[-1]["content"].partition("\n\nJSON schema: ")[0].split())
        match sorted((schema or {}).get("properties", {})):
            case ["exchanges"]:
                found = [one for one in self.exchanges if one.question in asked and one.answer in asked]
                return {"exchanges": [{"question": e.question, "context": "", "answer": e.answer} for e in found]}
            case ["label"]:
                return self._label(asked)
            case ["instruction"]:
                return {"instruction": LEAD + asked.rpartition("Question : ")[2]}
        return {}

    def _label(self, asked: str) -> dict[str, Any]:
        """The topic of the longest question in what was asked: a short one can be a part of a longer one."""
        found: list[Exchange] = sorted((one for one in self.exchanges if one.question in asked), key=_length)
        return {"label": found[-1].label} if found else {}


def _length(exchange: Exchange) -> int:
    return len(exchange.question)
