"""Models that follow a rule, for tests of what is asked of a model and not of what it answers."""

import re
from collections.abc import Callable, Sequence


class RuleSpeaker:
    """Answers by a function of the last message, at most `max_new_tokens` words; a token is a word or a sign.

    Like a real one it refuses what does not fit its context, where a chat template puts 8 tokens around a message.
    """

    def __init__(self, rule: Callable[[str], str], context_length: int = 2048) -> None:
        self.rule, self.context_length, self.name = rule, context_length, "rule"
        self.asked: list[Sequence[dict[str, str]]] = []

    def count(self, text: str) -> int:
        return len(re.findall(r"\w+|[^\w\s]", text))

    def stream(self, messages, max_new_tokens=256):
        self.asked.append(messages)
        used = sum(self.count(message["content"]) + 8 for message in messages)
        assert used + max_new_tokens <= self.context_length, f"{used} + {max_new_tokens} > {self.context_length}"
        assert max_new_tokens > 0
        for word in self.rule(messages[-1]["content"]).split()[:max_new_tokens]:
            yield word + " "
