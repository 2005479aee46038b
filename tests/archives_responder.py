"""Answers the questions of datasets/archives-demo/curate.yaml by rule: what a careful reader finds in the mailbox."""

from collections.abc import Mapping
from typing import Any

from affinage.archives_demo.mailbox import Exchange, make_threads

LEAD = "Pourriez-vous me renseigner sur ce point précis : "


class ArchivesResponder:
    """A responder for `ollama_server.OllamaServer`; it knows the exchanges that the mailbox was made from."""

    def __init__(self, seed: int = 1) -> None:
        self.exchanges = [one for thread in make_threads(seed) for one in thread.exchanges]

    def __call__(self, messages: list[dict[str, str]], schema: Mapping[str, Any] | None) -> Any:
        asked = " ".join(messages[-1]["content"].partition("\n\nJSON schema: ")[0].split())
        wanted = set((schema or {}).get("properties", {}))
        if wanted == {"exchanges"}:
            return {"exchanges": [self._copied(one) for one in self.exchanges if self._is_answered_in(asked, one)]}
        if wanted == {"label"}:
            return {"label": max((one for one in self.exchanges if one.question in asked), key=_length).label}
        if wanted == {"instruction"}:
            return {"instruction": LEAD + asked.rpartition("Question : ")[2]}
        raise AssertionError(f"no rule for {wanted}")

    def _is_answered_in(self, asked: str, exchange: Exchange) -> bool:
        return exchange.question in asked and exchange.answer in asked

    def _copied(self, exchange: Exchange) -> dict[str, str]:
        return {"question": exchange.question, "context": "", "answer": exchange.answer}


def _length(exchange: Exchange) -> int:
    return len(exchange.question)
