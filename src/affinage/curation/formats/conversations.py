"""Rows from conversations: one for each turn of the assistant, with all that was said before it as input."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from affinage.curation.formats.json_values import kind_of
from affinage.curation.formats.records import Place
from affinage.curation.rows import Row

ROLES = {
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "gpt", "chatgpt", "model", "function_call", "tool_call"),
    "system": ("system", "developer"),
    "tool": ("tool", "function", "observation", "function_response", "tool_response"),
}
ROLE_OF = {name: role for role, names in ROLES.items() for name in names}
CALLS = ("tool_calls", "function_call", "tool_call")
SPEAKERS = {"user": "User", "assistant": "Assistant", "system": "System"}


@dataclass(frozen=True)
class Turn:
    """One turn: whose it is, its text, or why it cannot be read."""

    role: str
    text: str = ""
    fault: str = ""
    detail: str = ""


def conversation_rows(column: str, record: dict[str, Any], place: Place) -> Iterator[Row]:
    """The rows of one conversation, whose turns are a list in `column` ("messages" or "conversations").

    The instruction is the last turn of the user; the input holds the system text and the earlier turns. A turn out of
    order costs the row it belongs to. A turn that cannot be read costs every row from there on, because the model
    would see a conversation with a hole. Each lost answer, and a last question without one, is counted.
    """
    others = {name: value for name, value in record.items() if name != column}
    raw = record.get(column)
    if not isinstance(raw, list) or not raw:
        place.drop("conversation without turns", kind_of(raw))
        return
    turns = [_turn(part, place) for part in raw]
    if isinstance(others.get("system"), str):
        turns.insert(0, Turn("system", others.pop("system")))
    own = others.pop("id", None)
    name = place.source if own in (None, "") else str(own)
    group, label = others.pop("group", None) or name, others.pop("label", None)
    for n, before, answer in _answers(turns, place):
        texts = {"instruction": before[-1].text, "input": _readable(before[:-1]), "output": answer.text}
        row = place.row(texts, f"{name}/{n}", group, label, others)
        if row:
            yield row


def _turn(part: Any, place: Place) -> Turn:
    if not isinstance(part, dict):
        return Turn("", fault="turn that is no object", detail=kind_of(part))
    said = part.get("role", part.get("from"))
    role = ROLE_OF.get(said.strip().casefold(), "") if isinstance(said, str) else ""
    if not role:
        return Turn("", fault="unknown role", detail=str(said)[:80])
    if role == "tool" or said in CALLS or any(part.get(call) for call in CALLS):
        return Turn(role, fault="tool turn", detail=str(said))
    content = part.get("content", part.get("value"))
    text = _parts_text(content) if isinstance(content, list) else place.text(role, content)
    if text is None:
        return Turn(role, fault="turn with something else than text", detail=str(said))
    if not text.strip() and role != "system":
        return Turn(role, fault="turn without text", detail=str(said))
    return Turn(role, text)


def _parts_text(parts: list[Any]) -> str | None:
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    found = [text for text in texts if isinstance(text, str)]
    return "\n".join(found) if len(found) == len(parts) else None


def _answers(turns: list[Turn], place: Place) -> Iterator[tuple[int, list[Turn], Turn]]:
    """Each answer that has its question before it, its number, and the turns up to that question."""
    answers = 0
    hole: Turn | None = None
    open_end = True  # something was said that no row, kept or counted, accounts for
    for n, turn in enumerate(turns):
        hole = hole or (turn if turn.fault else None)
        if turn.role != "assistant":
            open_end = open_end or turn.role == "user" or bool(turn.fault)
            continue
        answers += 1
        open_end = False
        fault = hole.fault if hole else _out_of_order(turns[:n])
        if fault:
            place.drop(fault, hole.detail if hole else "")
        else:
            yield answers, turns[:n], turn
    if open_end:
        place.drop(hole.fault if hole else "question without an answer", hole.detail if hole else "")


def _out_of_order(before: list[Turn]) -> str:
    """Why the turns before an answer do not end with one question; "" when they do."""
    roles = [turn.role for turn in before]
    if set(roles) <= {"system"}:
        return "starts with the assistant"
    if roles[-1] != "user":
        return f"{roles[-1]} turn right before an answer"
    return "two user turns in a row" if roles[-2:] == ["user", "user"] else ""


def _readable(turns: list[Turn]) -> str:
    """The turns as text, each with its speaker, but for a system text that comes first."""
    texts = [f"{SPEAKERS[turn.role]}: {turn.text}" for turn in turns]
    if turns and turns[0].role == "system":
        texts[0] = turns[0].text
    return "\n\n".join(text for text in texts if text.strip())
