"""One loaded model that answers as the base or as the tuned one, a piece of text at a time."""

import copy
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from ludwig.api import LudwigModel
from transformers import GenerationConfig, StoppingCriteriaList

from affinage.before_after import base_is_in
from affinage.errors import AffinageError, Problem
from affinage.generation import generation_config, is_encoder_decoder, room
from affinage.ludwig_ext import register
from affinage.model_types import refuse_encoder
from affinage.prompts import encode
from affinage.runs import Run

SIDES = ("base", "tuned")
UNFINISHED = "\ufffd"  # what bytes that are not yet a character are decoded to


@dataclass(frozen=True)
class Ending:
    """A whole answer: its text and tokens without the end token, and why it stopped.

    `stop` is "end" (by itself), "length" (at the limit), "stop" (at a text asked for) or "cancelled".
    """

    text: str
    stop: str
    prompt_tokens: int
    tokens: int


class Answerer:
    """The base and the tuned model on one set of weights; one answer is generated at a time, others wait.

    `llm` is Ludwig's model and `config` its resolved config.
    """

    def __init__(self, llm: Any, config: Any) -> None:
        self.config, self.tokenizer, self.context_length = config, llm.tokenizer, llm.context_len
        self._llm, self._other_base = llm, None
        self._lock = threading.Lock()
        self._tokenizing = threading.Lock()  # a tokenizer that is told to truncate must not be in use elsewhere
        llm.model.eval()

    @classmethod
    def of_run(cls, run: Run) -> "Answerer":
        """The model that a run left behind; its data is not needed. Raises AffinageError when it left none."""
        refuse_encoder(run, "answer in words")
        if not any(run.weights_folder.glob("*.safetensors")):
            found = f"left no model behind (status: {run.status})."
            remedy = f"Finish it with make train RESUME={run.folder.name}, or name another run."
            raise AffinageError(Problem(f"run {run.folder.name}", found, remedy=remedy))
        register()
        ludwig = LudwigModel.load(str(run.model_folder), backend="local")
        return cls(ludwig.model, ludwig.config_obj)

    def encode(self, prompt: str) -> list[int]:
        """Token ids of a prompt as in training. Raises AffinageError when it leaves no room for an answer."""
        longest = self.tokenizer.model_max_length
        with self._tokenizing:
            ids = encode([prompt], self.tokenizer, is_encoder_decoder(self._llm.model))[0]
            if len(ids) < min(longest, self.context_length):
                return ids
            n = max(len(ids), len(self.tokenizer(prompt, verbose=False)["input_ids"]))  # the first may be cut
        found = f"{n} tokens, which leaves no room for an answer."
        allowed = f"at most {min(longest, self.context_length) - 1} tokens of prompt"
        raise AffinageError(Problem("prompt", found, allowed, "Shorten it."))

    @property
    def parameters(self) -> int:
        """How many numbers the model is made of, the adapter's among them; of 4-bit weights, two share a byte."""
        return sum(_numel(parameter) for parameter in self._llm.model.parameters())

    def count(self, text: str) -> int:
        """The tokens of a text, which may be longer than the context."""
        with self._tokenizing:
            return len(self.tokenizer(text, verbose=False, truncation=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, as predictions have it."""
        with self._tokenizing:
            return self.tokenizer.decode(ids, skip_special_tokens=True)

    def settings(self, **changes: Any) -> GenerationConfig:
        """How the run generates, with changes by transformers' names.

        A `temperature` above 0 means sampling and one of 0 means none, unless `do_sample` is given as well. Raises
        AffinageError for settings that transformers refuses.
        """
        if "do_sample" not in changes and changes.get("temperature") is not None:
            changes["do_sample"] = changes["temperature"] > 0
        try:
            config = generation_config(self._llm.generation.to_diff_dict() | changes, self.tokenizer)
            config.validate()
        except (ValueError, TypeError) as error:
            raise AffinageError(Problem("generation", str(error).strip().splitlines()[0])) from error
        return config

    def ask(
        self,
        side: str,
        prompt: Sequence[int],
        settings: GenerationConfig,
        stops: Sequence[str] = (),
        seed: int | None = None,
    ) -> "AnswerStream":
        """The answer of one of SIDES to the ids of a prompt (fewer than the context), started at the first piece."""
        settings = copy.deepcopy(settings)
        left = room(self._llm.model, len(prompt), self.context_length)
        settings.max_new_tokens = min(settings.max_new_tokens or left, left)
        return AnswerStream(self, side, list(prompt), settings, tuple(stops), seed)

    @contextmanager
    def model(self, side: str) -> Iterator[Any]:
        """Inside, this thread alone has the model, as base or as tuned."""
        with self._lock:
            if side == "tuned":
                yield self._llm.model
            elif base_is_in(self._llm.model):
                with self._llm.model.disable_adapter():
                    yield self._llm.model
            else:
                if self._other_base is None:
                    self._other_base = self._llm.load_base().eval()
                yield self._other_base


def _numel(parameter: torch.nn.Parameter) -> int:
    return parameter.numel() * (2 if parameter.dtype == torch.uint8 else 1)


class AnswerStream:
    """An answer in the making: iterate for its pieces of text, then read `ending`.

    The pieces joined are `ending.text`. `cancel` may be called from any thread and ends the answer after the token
    in hand. What the model raises is raised by the iteration.
    """

    ending: Ending

    def __init__(
        self,
        answerer: Answerer,
        side: str,
        prompt: list[int],
        settings: GenerationConfig,
        stops: tuple[str, ...],
        seed: int | None,
    ) -> None:
        self._answerer, self._side, self._prompt = answerer, side, prompt
        self._settings, self._stops, self._seed = settings, stops, seed
        ends = settings.eos_token_id
        self._ends = set(ends) if isinstance(ends, list) else {ends}
        self._tokens: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._cancelled, self._enough = threading.Event(), threading.Event()
        self._ids: list[int] = []
        self._shown = 0  # characters
        self._ended = self._finished = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[str]:
        while (piece := self.next_piece()) is not None:
            yield piece

    def next_piece(self) -> str | None:
        """The next piece of text, waited for; None when the answer is whole."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._generate, daemon=True)
            self._thread.start()
        while not self._finished:
            token = self._tokens.get()
            if token is None:
                return self._finish() or None
            if not self._enough.is_set():
                self._ids.append(token)
                if piece := self._piece():
                    return piece
        return None

    def cancel(self) -> None:
        """Lets the answer end here."""
        self._cancelled.set()

    def _piece(self) -> str:
        """What can be shown already: no character that lacks bytes, and nothing that may begin a stop text."""
        text = self._answerer.decode(self._ids).rstrip(UNFINISHED)
        if (cut := self._cut(text)) is not None:
            self._enough.set()
            return self._show(text[:cut])
        longest = max(map(len, self._stops), default=0)
        starts = (n for n in range(longest, 0, -1) if any(stop.startswith(text[-n:]) for stop in self._stops))
        return self._show(text[: max(0, len(text) - next(starts, 0))])

    def _finish(self) -> str:
        self._finished = True
        if self._error is not None:
            raise self._error
        text = self._answerer.decode(self._ids)
        cut = self._cut(text)
        unended = "cancelled" if self._cancelled.is_set() else "length"
        why = "stop" if cut is not None else "end" if self._ended else unended
        self.ending = Ending(text[:cut], why, len(self._prompt), len(self._ids))
        return self._show(text[:cut])

    def _show(self, text: str) -> str:
        piece, self._shown = text[self._shown :], max(self._shown, len(text))
        return piece

    def _cut(self, text: str) -> int | None:
        """Where the first stop text begins."""
        return min((place for stop in self._stops if (place := text.find(stop)) >= 0), default=None)

    def _generate(self) -> None:
        try:
            with self._answerer.model(self._side) as model:
                if not self._cancelled.is_set():
                    self._run(model)
        except BaseException as error:  # it must not die with this thread
            self._error = error
        finally:
            self._tokens.put(None)

    def _run(self, model: Any) -> None:
        ids = torch.tensor([self._prompt], device=model.get_input_embeddings().weight.device)
        beams = (self._settings.num_beams or 1) > 1  # transformers has no streamer for them
        if self._seed is not None:
            torch.manual_seed(self._seed)
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=self._settings,
            streamer=None if beams else _Streamer(self._put),
            stopping_criteria=StoppingCriteriaList([self._asked_to_stop]),
        )
        before = 1 if is_encoder_decoder(model) else ids.shape[1]
        for token in output[0, before:].tolist() if beams else ():
            self._put(token)

    def _put(self, token: int) -> None:
        self._ended = self._ended or token in self._ends
        if not self._ended:
            self._tokens.put(token)

    def _asked_to_stop(self, input_ids: torch.Tensor, scores: Any, **options: Any) -> torch.Tensor:
        asked = self._cancelled.is_set() or self._enough.is_set()
        return torch.full((len(input_ids),), asked, device=input_ids.device)


class _Streamer:
    """What transformers hands its tokens to; the first it hands over is the prompt, or a decoder's start token."""

    def __init__(self, put: Callable[[int], None]) -> None:
        self._put, self._prompt_seen = put, False

    def put(self, value: torch.Tensor) -> None:
        if self._prompt_seen:
            self._put(int(value.reshape(-1)[0]))
        self._prompt_seen = True

    def end(self) -> None:
        pass
