"""A conversation in a terminal: questions, commands, the answers given, and what is kept of them."""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from affinage.answering import SIDES, Answerer, AnswerStream, Ending
from affinage.chat_template import columns_from, columns_of, prompt_of
from affinage.errors import AffinageError, Problem
from affinage.paths import display
from affinage.runs import json_line

BLOCK = '"""'
OPENING = re.compile(r'(/\w+\s+)?"""')
HELP = """\
Type a question, or several lines between two \"\"\". Each one is put to the model alone, in the prompt of training.
  /base /tuned /both   who answers
  /system text         a text that fills the first column of the prompt, the question the next (no text: none)
  /input text          a text for the column after the question (no text: none)
  /set name=value      how answers are drawn: {names}; name=default as in training
  /again               put the last question once more
  /save file           add the answers to a file of training rows (JSONL)
  /help /quit"""


class Drawing(BaseModel):
    """What `/set` takes. Lengths are in tokens; temperature 0 means the likeliest token, always."""

    model_config = ConfigDict(extra="forbid")

    temperature: float | None = Field(default=None, ge=0, le=5)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    max_new_tokens: int | None = Field(default=None, ge=1)
    repetition_penalty: float | None = Field(default=None, gt=0)
    no_repeat_ngram_size: int | None = Field(default=None, ge=0)
    num_beams: int | None = Field(default=None, ge=1, le=64)
    seed: int | None = Field(default=None, ge=0, lt=2**63)

    def changes(self) -> dict[str, Any]:
        """The settings given, by transformers' names."""
        return self.model_dump(exclude_none=True, exclude={"seed"})


@dataclass(frozen=True)
class Turn:
    """A question as the prompt's columns, the system text that one of them holds, and one side's answer."""

    columns: dict[str, str]
    system: str
    side: str
    ending: Ending


@dataclass(frozen=True)
class Reply:
    """What a line leads to: a text to show, a question to ask, or the end."""

    text: str = ""
    question: str = ""
    quit: bool = False


def entries(read: Callable[[bool], str | None]) -> Iterator[str]:
    """What was typed, blank lines left out and the lines between two \"\"\" as one.

    `read` gives a line, None at the end, and is told whether a \"\"\" is open. Raises AffinageError when one stays so.
    """
    while (line := read(False)) is not None:
        line = line.rstrip("\r\n")
        opening = OPENING.match(line)
        if opening:
            head, rest = opening.group(1) or "", line[opening.end() :]
            lines = [rest]
            while BLOCK not in lines[-1]:
                if (more := read(True)) is None:
                    raise AffinageError(Problem(BLOCK, "is not closed.", remedy=f"End the text with {BLOCK}."))
                lines.append(more.rstrip("\r\n"))
            line = head + "\n".join(lines).partition(BLOCK)[0].strip("\n")
        if line.strip():
            yield line


class Session:
    """What is set, asked and answered in one sitting; `sides` are those that answer, `folder` is where files go."""

    def __init__(self, answerer: Answerer, sides: tuple[str, ...] = ("tuned",), folder: Path = Path()) -> None:
        self.answerer, self.sides, self._folder = answerer, sides, folder
        self.system = self.input = ""
        self.drawing = Drawing()
        self.turns: list[Turn] = []
        self._question = ""
        self._saved: dict[Path, int] = {}  # turns that a file holds already
        self._commands: dict[str, Callable[[str], Reply]] = {
            **dict.fromkeys((*SIDES, "both"), self._answer_by),
            "system": self._set_system,
            "input": self._set_input,
            "set": self._set_drawing,
            "again": self._again,
            "save": self._save,
        }

    def take(self, line: str) -> Reply:
        """What a line leads to; `//` begins a question with a slash. Raises AffinageError for a wrong command."""
        if not line.startswith("/"):
            return Reply(question=line)
        if line.startswith("//"):
            return Reply(question=line[1:])
        name, _, argument = line[1:].partition(" ")
        if name in ("quit", "exit", "bye"):
            return Reply(quit=True)
        if name == "help":
            return Reply(HELP.format(names=", ".join(Drawing.model_fields)))
        if name not in self._commands:
            known = " ".join(f"/{command}" for command in (*self._commands, "help", "quit"))
            raise AffinageError(Problem(f"/{name}", "no such command.", known, "// begins a question with a slash."))
        return self._commands[name](name if name in (*SIDES, "both") else argument)

    def ask(self, question: str) -> Iterator[tuple[str, AnswerStream]]:
        """One stream for every side that answers, each to be read to its end before the next is asked for.

        Raises AffinageError for a prompt that leaves no room for an answer.
        """
        columns = self._columns(question)
        prompt = self.answerer.encode(prompt_of(self.answerer.config, columns))
        settings = self.answerer.settings(**self.drawing.changes())
        self._question = question
        for side in self.sides:
            stream = self.answerer.ask(side, prompt, settings, seed=self.drawing.seed)
            yield side, stream
            self.turns.append(Turn(columns, self.system, side, stream.ending))

    def notice(self, ending: Ending) -> str:
        """What to tell about an answer that did not end by itself; "" when it did."""
        if ending.stop == "cancelled":
            return "stopped"
        if ending.stop != "length":
            return ""
        limit = self.answerer.settings(**self.drawing.changes()).max_new_tokens
        if limit is None or ending.tokens < limit:
            return f"cut: the context of {self.answerer.context_length} tokens is full"
        return f"cut at the limit of {limit} tokens; /set max_new_tokens=... raises it"

    def _columns(self, question: str) -> dict[str, str]:
        columns = columns_from(self.answerer.config, question, self.system)
        if self.input:
            columns[columns_of(self.answerer.config)[len(columns)]] = self.input
        return columns

    def _answer_by(self, name: str) -> Reply:
        self.sides = SIDES if name == "both" else (name,)
        return Reply(f"{' and '.join(self.sides)} will answer")

    def _set_system(self, text: str) -> Reply:
        return self._set_texts(text.strip(), self.input)

    def _set_input(self, text: str) -> Reply:
        return self._set_texts(self.system, text.strip())

    def _set_texts(self, system: str, text: str) -> Reply:
        columns = columns_of(self.answerer.config)
        if text and len(columns) < 2 + bool(system):
            found = f"the prompt has no column for it: {', '.join(columns)}"
            remedy = "Take /system back first, with /system alone." if system else ""
            taken = ", which the system text and the question fill." if system else ", which the question fills."
            raise AffinageError(Problem("/input", found + taken, remedy=remedy))
        self.system, self.input = system, text
        texts = {"system text": system, "input": text}
        return Reply(", ".join(f"{name}: {value!r}" if value else f"no {name}" for name, value in texts.items()))

    def _set_drawing(self, text: str) -> Reply:
        self.drawing = drawing(text, self.drawing)
        given = self.drawing.model_dump(exclude_none=True)
        return Reply(" ".join(f"{name}={value}" for name, value in given.items()) or "as in training")

    def _again(self, text: str) -> Reply:
        if not self._question:
            raise AffinageError(Problem("/again", "nothing was asked yet."))
        return Reply(question=self._question)

    def _save(self, text: str) -> Reply:
        if not text.strip():
            raise AffinageError(Problem("/save", "names no file.", "/save file.jsonl"))
        path = (self._folder / Path(text.strip()).expanduser()).resolve()
        new = self.turns[self._saved.get(path, 0) :]
        whole = [turn for turn in new if turn.ending.stop == "end"]
        if whole:
            _append(path, "".join(json_line(training_row(self.answerer.config, turn)) for turn in whole))
        self._saved[path] = len(self.turns)
        left_out = f"; {len(new) - len(whole)} left out that did not end by themselves" if len(new) > len(whole) else ""
        return Reply(f"{display(path)}: {len(whole)} rows added{left_out}")


def drawing(text: str, before: Drawing) -> Drawing:
    """The settings with pairs such as "temperature=0.7 seed=1" changed. Raises AffinageError naming what is wrong."""
    given = before.model_dump(exclude_none=True)
    try:
        for pair in shlex.split(text):
            name, _, value = pair.partition("=")
            if not value:
                raise ValueError(f"'{pair}' gives no value")
            given[name] = None if value == "default" else yaml.safe_load(value)
        return Drawing(**given)
    except ValidationError as error:
        known = ", ".join(Drawing.model_fields)
        problems = (Problem(f"/set {e['loc'][0]}", f"{e['msg']}.", f"name=value, of {known}") for e in error.errors())
        raise AffinageError(*problems) from error
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise AffinageError(Problem(f"/set {text}", f"{error}.", "name=value name=value")) from error


def training_row(config: Any, turn: Turn) -> dict[str, str]:
    """The turn as a row that trains on the same prompt, with the system text and the side that answered beside it."""
    columns = dict.fromkeys(columns_of(config), "") | turn.columns
    return {**columns, config.output_features[0].column: turn.ending.text, "system": turn.system, "model": turn.side}


def _append(path: Path, text: str) -> None:
    """Adds lines to a file, all or none. Raises AffinageError where nothing can be written."""
    before = path.stat().st_size if path.is_file() else None
    try:
        with path.open("ab+") as file:
            if before:
                file.seek(-1, os.SEEK_END)
                text = text if file.read(1) == b"\n" else "\n" + text
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if path.is_file():
            path.unlink() if before is None else os.truncate(path, before)
        raise AffinageError(Problem(str(path), f"cannot be written: {error.strerror}.")) from error


def printable(text: str) -> str:
    """Text that does nothing to a terminal: control characters and those that reorder text become visible ones."""
    return text.translate(VISIBLE)


VISIBLE = {
    **{code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"},
    0x7F: "␡",
    **{code: f"<{code:02X}>" for code in range(0x80, 0xA0)},
    **{code: f"<{code:04X}>" for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}
