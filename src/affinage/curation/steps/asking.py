"""What every step that asks a model shares: questions, provenance, and the list of answers that cannot be used."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from affinage.control_tokens import ControlTokens
from affinage.curation.rows import Counts, Row
from affinage.curation.steps.recipe import ModelStep, Recipe
from affinage.curation.steps.templates import fill
from affinage.ollama_batch import Question, ask_all
from affinage.ollama_chat import Chat
from affinage.ollama_replies import Reply, Schema


@dataclass(frozen=True)
class Decision:
    """What a model did with one row or text, as a reviewer sees it."""

    step: str
    id: str
    source: str
    text: str
    result: str
    prompt_sha256: str
    digest: str


@dataclass
class Work:
    """One run of a recipe: the model, the book of counts, what the model did, and what could not be used."""

    recipe: Recipe
    chat: Chat
    counts: Counts = field(default_factory=Counts)
    unparsed: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def ask(
        self, step: ModelStep, values: Sequence[Mapping[str, Any]], schema: Schema, seed_offsets: Sequence[int] = (0,)
    ) -> list[list[Reply]]:
        """The replies to the step's prompt filled with each of `values`, one for each seed."""
        options = [self.recipe.options_of(step, offset) for offset in seed_offsets]
        tokens = ControlTokens(self.chat.model.control_tokens if self.chat.model else ())
        asked = [messages(step, value, schema, tokens) for value in values]
        questions = [Question(message, schema, drawn) for message in asked for drawn in options]
        replies = ask_all(self.chat, questions, self.recipe.concurrency, step.name)
        n = len(options)
        return [replies[i : i + n] for i in range(0, len(replies), n)]

    def provenance(self, step: ModelStep, schema: Schema) -> dict[str, str]:
        """The columns that say which weights and which prompt made a row what it is."""
        model = self.chat.model
        return {
            f"{step.name}_model": self.chat.name,
            f"{step.name}_digest": model.digest if model else "",
            f"{step.name}_prompt_sha256": prompt_sha256(step, schema),
        }

    def reject(self, step: str, reason: str, item: Mapping[str, Any], reply: Reply | None = None, **facts: Any) -> None:
        """Lists an answer that cannot be used, with its raw text; `item` has the `id` and `source` it is about."""
        entry = {"step": step, "id": item["id"], "source": item.get("source", ""), "reason": reason, **facts}
        if reply is not None:
            entry |= {"status": str(reply.status), "detail": reply.detail, "raw": reply.content}
            entry |= {"attempts": list(reply.attempts)}
        self.unparsed.append(entry)

    def reasons(self) -> dict[str, int]:
        """How many answers could not be used, by reason, the most frequent first."""
        return dict(Counter(entry["reason"] for entry in self.unparsed).most_common())

    def decide(self, step: ModelStep, schema: Schema, item: Mapping[str, Any], text: str, result: str) -> None:
        """Keeps what the model did with one item, for the review sheet."""
        sha, digest = prompt_sha256(step, schema), self.chat.model.digest if self.chat.model else ""
        source = str(item.get("source", ""))
        self.decisions.append(Decision(step.name, str(item["id"]), source, text, result, sha, digest))


def messages(step: ModelStep, values: Mapping[str, Any], schema: Schema, tokens: ControlTokens) -> list[dict[str, str]]:
    """The step's prompt for one row; the schema stands at its end, because a model that sees it keeps to it better.

    Control tokens in the row are escaped: in a raw mail they would begin a turn of their own.
    """
    values = {name: tokens.escaped(str(value)) for name, value in values.items()}
    user = fill(step.prompt, values).rstrip() + "\n\nJSON schema: " + json.dumps(schema, ensure_ascii=False)
    system = [{"role": "system", "content": fill(step.system, values)}] if step.system.strip() else []
    return [*system, {"role": "user", "content": user}]


def prompt_sha256(step: ModelStep, schema: Schema) -> str:
    """A hash of everything a step asks that is not the row itself."""
    asked = json.dumps([step.system, step.prompt, schema], ensure_ascii=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def object_schema(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def filled_columns(rows: Iterable[Row]) -> Callable[[Row], Row]:
    """A function that gives a row every column that any of the rows has, as an empty text where it lacks it."""
    columns = dict.fromkeys((name for row in rows for name in row), "")
    return lambda row: columns | row
