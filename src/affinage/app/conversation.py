"""A conversation with memory: what was asked and answered, what of it the model still sees, what is kept of it."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from affinage.chat import Drawing
from affinage.chat_template import columns_from, columns_of
from affinage.runs import json_line
from affinage.speaker import Message
from affinage.speakers.local import LocalSpeaker
from affinage.speakers.speech import Converser

SHARE = 4  # at least a quarter of the context is kept free for an answer, however long one may become
ANSWER = "output"


@dataclass
class Given:
    """One side's answer: its text so far and why it stopped ("end", "length", "cancelled", or "" while it is made).

    `error` says why the model failed; `forgotten` is how many earlier turns no longer fitted into the context.
    """

    text: str = ""
    stop: str = ""
    error: str = ""
    forgotten: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    drawing: dict[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def said(self) -> str:
        """Its text as the conversation goes on with it; "" where the model failed."""
        return "" if self.error else self.text

    @property
    def is_whole(self) -> bool:
        """Whether it ended by itself, so that it can be learnt from."""
        return self.stop == "end"


@dataclass
class Turn:
    """A question, the instruction (system text) it was asked with, and each side's answer."""

    question: str
    instruction: str = ""
    answers: dict[str, Given] = field(default_factory=dict)
    alone: bool = False  # asked without memory

    def answer_of(self, side: str) -> str:
        """What a side said, or what the other one did where it said nothing; "" without any answer."""
        answers = [self.answers[side], *self.answers.values()] if side in self.answers else self.answers.values()
        return next((answer.said for answer in answers if answer.said), "")


def earlier(turns: Sequence[Turn], instruction: str) -> list[Turn]:
    """The turns that a question with this instruction follows on: those since the instruction was changed.

    A turn that nobody answered is none of them.
    """
    since = next((n for n in range(len(turns), 0, -1) if turns[n - 1].instruction != instruction), 0)
    return [turn for turn in turns[since:] if any(answer.said for answer in turn.answers.values())]


def messages_of(turns: Sequence[Turn], side: str, instruction: str, question: str) -> list[Message]:
    """The conversation as a side sees it, with the question last."""
    messages = [{"role": "system", "content": instruction}] if instruction else []
    for turn in turns:
        messages.append({"role": "user", "content": turn.question})
        messages.append({"role": "assistant", "content": turn.answer_of(side)})
    return [*messages, {"role": "user", "content": question}]


def fitting(
    speaker: Converser, turns: Sequence[Turn], side: str, turn: Turn, max_new_tokens: int | None
) -> tuple[list[Message], int]:
    """The messages that leave room for an answer, and how many of the oldest turns had to go for that."""
    room = min(max_new_tokens or speaker.context_length, max(1, speaker.context_length // SHARE))
    for left_out in range(len(turns)):
        messages = messages_of(turns[left_out:], side, turn.instruction, turn.question)
        if speaker.length(messages) + room <= speaker.context_length:
            return messages, left_out
    return messages_of([], side, turn.instruction, turn.question), len(turns)


def training_row(speaker: Converser, turns: Sequence[Turn], turn: Turn, side: str) -> dict[str, Any]:
    """A turn as a row that `make data` and `make train` read.

    The first question of a conversation stands in the columns of the run's prompt. A later one says nothing without
    what was said before, so that the whole conversation is its prompt: the earlier turns stand before the question.
    """
    before = [] if turn.alone else earlier(turns, turn.instruction)
    question = _with(before, side, turn.question)
    given = turn.answers[side]
    about = {"system": turn.instruction, "model": side, "turns_before": len(before), "id": given.id}
    if isinstance(speaker, LocalSpeaker):
        config = speaker.answerer.config
        columns = dict.fromkeys(columns_of(config), "") | columns_from(config, question, turn.instruction)
        return {**columns, config.output_features[0].column: given.text, **about}
    texts = (turn.instruction, question) if turn.instruction else (question, "")
    return {**dict(zip(("instruction", "input"), texts, strict=True)), ANSWER: given.text, **about}


def _with(before: Sequence[Turn], side: str, question: str) -> str:
    said = [f"User: {turn.question}\n\nAssistant: {turn.answer_of(side)}" for turn in before]
    return "\n\n".join([*said, f"User: {question}"]) if said else question


def training_rows(speakers: Mapping[str, Converser], turns: Sequence[Turn]) -> tuple[list[dict[str, Any]], int]:
    """A row for every answer that ended by itself, and how many others there are."""
    rows = [
        training_row(speakers[side], turns[:n], turn, side)
        for n, turn in enumerate(turns)
        for side, given in turn.answers.items()
        if given.is_whole and given.text.strip()
    ]
    return rows, sum(len(turn.answers) for turn in turns) - len(rows)


def as_jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as lines of JSON."""
    return "".join(map(json_line, rows))


def saved(turns: Sequence[Turn], model: str) -> dict[str, Any]:
    """The whole conversation for keeping: every question, every answer, how each was drawn and how it ended."""
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    return {"model": model, "saved": moment, "turns": [asdict(turn) for turn in turns]}


def chosen(drawing: Drawing) -> dict[str, Any]:
    """The settings of a drawing that were given."""
    return drawing.model_dump(exclude_none=True)
