"""The base and the tuned side of one loaded model, as two speakers that take turns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from affinage.answering import Answerer, AnswerStream
from affinage.chat import Drawing
from affinage.chat_template import conversation_text
from affinage.speaker import Message
from affinage.speakers.speech import patiently


@dataclass
class LocalSpeaker:
    """One side of a loaded model. Conversations are put to it in the prompt of training; `name` is shown to people."""

    answerer: Answerer
    side: str
    name: str
    context_length: int = field(init=False)

    def __post_init__(self) -> None:
        self.context_length = min(self.answerer.context_length, self.answerer.tokenizer.model_max_length)

    @property
    def usual(self) -> Drawing:
        """How the run's own answers were drawn."""
        settings = self.answerer.settings()
        sampled = {"temperature": settings.temperature, "top_p": settings.top_p} if settings.do_sample else {}
        return Drawing(**({"temperature": 0.0, "top_p": 1.0} | sampled), max_new_tokens=settings.max_new_tokens)

    def count(self, text: str) -> int:
        """The tokens of a text."""
        return self.answerer.count(text)

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that a conversation becomes."""
        return conversation_text(self.answerer.config, messages, self.answerer.tokenizer.eos_token)

    def length(self, messages: Sequence[Message]) -> int:
        """The tokens of a whole conversation in the prompt of training."""
        return self.count(self.prompt(messages))

    def ask(self, messages: Sequence[Message], drawing: Drawing) -> AnswerStream:
        """The answer to a conversation. Raises AffinageError for one that leaves no room for an answer."""
        settings = self.answerer.settings(**drawing.changes())
        ids = self.answerer.encode(self.prompt(messages))
        return self.answerer.ask(self.side, ids, settings, seed=drawing.seed)

    def stream(self, messages: Sequence[Message], max_new_tokens: int = 256) -> Iterator[str]:
        """The pieces of an answer, drawn as the run's own were; "" while none comes."""
        yield from patiently(self.ask(messages, Drawing(max_new_tokens=max_new_tokens)))
