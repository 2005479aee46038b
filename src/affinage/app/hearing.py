"""A model listened to by a page: every piece is shown as it comes, and the page can be left between two of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import streamlit as st

from affinage.app.opened import Opened
from affinage.app.words import say
from affinage.speaker import Message, Speaker


@dataclass
class Overheard:
    """A speaker that tells `heard` of every piece it says; "" is a piece too, while it says nothing."""

    speaker: Speaker
    heard: Callable[[str], None]
    name: str = ""
    context_length: int = 0

    def __post_init__(self) -> None:
        self.name, self.context_length = self.speaker.name, self.speaker.context_length

    def count(self, text: str) -> int:
        """As the speaker counts."""
        return self.speaker.count(text)

    def stream(self, messages: Sequence[Message], max_new_tokens: int = 256) -> Iterator[str]:
        """What the speaker says, told piece by piece."""
        for piece in self.speaker.stream(messages, max_new_tokens):
            self.heard(piece)
            yield piece


def choose_one(opened: Opened, key: str) -> Speaker:
    """Lets the visitor choose who answers, where there are several; gives that one."""
    sides = list(opened.speakers)
    if len(sides) == 1:
        return opened.speakers[sides[0]]
    chosen = st.segmented_control(
        say("who"),
        sides,
        default=sides[-1],
        format_func=lambda side: say(f"side_{side}"),
        key=key,
        required=True,
        persist_state="session",
    )
    return opened.speakers[chosen]
