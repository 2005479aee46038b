"""What a conversation, a question on documents and a summary need of a model, whatever stands behind it."""

from collections.abc import Iterator, Sequence
from typing import Protocol

Message = dict[str, str]  # role (system, user or assistant) and content


class Speaker(Protocol):
    """A model that answers a conversation."""

    name: str  # as shown to people
    context_length: int  # tokens that a question and its answer may have together

    def count(self, text: str) -> int:
        """The tokens of a text, or an estimate that is not too low where only the server can tell."""
        ...

    def stream(self, messages: Sequence[Message], max_new_tokens: int = 256) -> Iterator[str]:
        """The pieces of an answer. Raises AffinageError for a conversation that does not fit the context."""
        ...
