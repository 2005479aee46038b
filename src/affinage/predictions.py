"""Answers of the base model, of the base model with examples, and of the tuned model to every row of a split."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from affinage import encoder_predictions
from affinage.before_after import base_is_in
from affinage.encoder_predictions import EncoderSubject
from affinage.errors import AffinageError, Problem
from affinage.fewshot import between_examples, examples, with_examples
from affinage.generation import Answer, answers, evaluation_mode, generation_config, is_encoder_decoder, room
from affinage.kept_answers import KeptAnswers
from affinage.ludwig_ext.batches import Row, collate
from affinage.ludwig_ext.loss import answer_nll_by_row
from affinage.prompts import encode, render
from affinage.runs import write_json
from affinage.subjects import Subject, rows_of

REPEAT_WINDOW = 4  # tokens


@dataclass(frozen=True)
class Request:
    """What is asked: the split, how answers are generated (transformers' names), and how many examples go first."""

    split: str = "test"
    generation: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    fewshot: int = 0
    seed: int = 0


def predict(
    subject: Subject | EncoderSubject,
    request: Request,
    folder: Path,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> Path:
    """Writes predictions.jsonl and generation.json to `folder`; returns the path of the first.

    One line per row in the order of the split: prompt, reference, and for each of `base`, `fewshot` (with examples) and
    `tuned` the answer, its tokens, why it stopped ("end" or "length"), its flags ("empty", "limit", "repeats") and the
    summed -log p (nats) of the reference. Answers are kept as they come, so that a run of this that was stopped goes on
    where it was. Raises AffinageError when a prompt leaves no room for an answer. For encoders, see
    `encoder_predictions.predict`.
    """
    if isinstance(subject, EncoderSubject):
        return encoder_predictions.predict(subject, rows_of(subject, request.split), request, folder, progress)
    started = time.monotonic()
    answered = answer_share(subject, request, folder, Share(), progress)
    return finish(folder, answered, started)


@dataclass(frozen=True)
class Share:
    """Which batches of rows this process answers: the one at its `rank`, and every `size`-th after it."""

    rank: int = 0
    size: int = 1


@dataclass(frozen=True)
class Answered:
    """What `finish` must know of an evaluation: what stands for its question, its rows, and what it was."""

    fingerprint: str
    rows: int
    description: dict[str, Any]


def answer_share(
    subject: Subject,
    request: Request,
    folder: Path,
    share: Share,
    progress: Callable[[int, int], Any] = lambda done, total: None,
    all_ready: Callable[[], Any] = lambda: None,
) -> Answered:
    """Answers this process's share of the rows that have no answer yet, and keeps the answers in `folder`.

    Batches are those of one process, so the answers are too. `progress` counts the rows of all processes, and
    `all_ready` is called before the first row is answered. Raises what `predict` raises.
    """
    work = _Work(subject, request)
    folder.mkdir(parents=True, exist_ok=True)
    kept = KeptAnswers(folder, work.fingerprint, len(work.rows), share.rank)
    kept_before = len(kept.records)
    all_ready()
    progress(kept_before, len(work.rows))
    for batch in list(work.batches())[share.rank :: share.size]:
        if not kept.holds(batch):
            kept.add(dict(zip(batch, work.answer(batch), strict=True)))
            progress(kept.refresh(), len(work.rows))
    description = work.description() | {"rows_kept_from_before": kept_before}
    workers = {"workers": share.size} if share.size > 1 else {}
    return Answered(work.fingerprint, len(work.rows), description | workers)


def finish(folder: Path, answered: Answered, started: float) -> Path:
    """Writes generation.json and predictions.jsonl once every row has an answer; `started` as time.monotonic()."""
    kept = KeptAnswers(folder, answered.fingerprint, answered.rows)
    if len(kept.records) != answered.rows:
        raise RuntimeError(f"{len(kept.records)} of {answered.rows} rows have answers in {folder}")
    spent = {"seconds": round(time.monotonic() - started, 1)}
    write_json(folder / "generation.json", answered.description | spent)
    return kept.finish(folder / "predictions.jsonl")


class _Work:
    """The rows of one request as token ids, and the systems that answer them."""

    def __init__(self, subject: Subject, request: Request) -> None:
        self.subject, self.request = subject, request
        self.rows = rows_of(subject, request.split)
        self.prompts = render(subject.config, self.rows)
        self.references = self.rows[subject.answer_column].astype(str).tolist()
        llm = subject.llm
        self.tokenizer = llm.tokenizer
        self.systems = {"base": self.prompts, "tuned": self.prompts}
        self.shots: list[str] = []
        if request.fewshot:
            chosen = examples(rows_of(subject, "train"), request.fewshot, request.seed)
            self.shots = [str(i) for i in chosen.get("id", chosen.index)]
            asked = with_examples(subject.config, chosen, self.prompts)
            self._next_example = between_examples(subject.config)
            self.systems = {"base": self.prompts, "fewshot": asked, "tuned": self.prompts}
        encoder = is_encoder_decoder(llm.model)
        self.ids = {system: encode(prompts, self.tokenizer, encoder) for system, prompts in self.systems.items()}
        self.settings = generation_config(llm.generation.to_diff_dict() | request.generation, self.tokenizer)
        self._refuse_full_context()
        self.targets = [
            [*self.tokenizer.encode(text, add_special_tokens=False), llm.special.eos] for text in self.references
        ]
        self._other_base = None if base_is_in(llm.model) else llm.load_base()

    def _refuse_full_context(self) -> None:
        context = self.subject.llm.context_len
        for system, prompts in self.ids.items():
            long = [len(ids) for ids in prompts if self._room(len(ids)) < (self.settings.max_new_tokens or 1)]
            if long:
                remedy = (
                    "Ask with fewer examples (FEWSHOT=)." if system == "fewshot" else "Lower generation.max_new_tokens."
                )
                found = (
                    f"{len(long)} of {len(prompts)} prompts leave no room for {self.settings.max_new_tokens} new tokens"
                )
                raise AffinageError(
                    Problem(system, f"{found}; the longest has {max(long)}.", f"{context} in all", remedy)
                )

    def _room(self, prompt_tokens: int) -> int:
        return room(self.subject.llm.model, prompt_tokens, self.subject.llm.context_len)

    @property
    def fingerprint(self) -> str:
        """Changes with anything that can change an answer, so that kept answers are never mixed with others."""
        weights = sorted(self.subject.folder.glob("model/model_weights/*.safetensors"))
        stamps = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in weights]
        what = [self.systems, self.references, self.settings.to_dict(), self.request.batch_size, stamps]
        return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()

    def batches(self) -> Iterator[list[int]]:
        """Row positions in batches of prompts of like length, the same ones however often work is taken up again."""
        order = sorted(range(len(self.rows)), key=lambda i: len(self.ids["tuned"][i]))
        size = self.request.batch_size
        yield from (order[start : start + size] for start in range(0, len(order), size))

    def answer(self, batch: list[int]) -> list[dict[str, Any]]:
        """The finished records of one batch of row positions."""
        records = [self._record(position) for position in batch]
        for system, prompts in self.ids.items():
            with self._model(system) as model:
                found = answers(model, [prompts[i] for i in batch], self.settings, self.subject.llm.context_len)
                nll = None if system == "fewshot" else self._nll(model, batch)
            for at, (record, answer) in enumerate(zip(records, found, strict=True)):
                record |= self._columns(system, answer)
                if nll is not None:
                    record[f"{system}_nll"] = nll[at]
        return records

    def _record(self, position: int) -> dict[str, Any]:
        row = self.rows.iloc[position]
        named = {key: str(row[key]) for key in ("label", "group", "instruction", "input") if key in row}
        return {
            "id": str(row["id"]) if "id" in row and row["id"] != "" else f"{self.request.split}-{position}",
            **named,
            "prompt": self.prompts[position],
            "reference": self.references[position],
            "reference_tokens": len(self.targets[position]),
            "reference_bytes": len(self.references[position].encode()),
        }

    def _columns(self, system: str, answer: Answer) -> dict[str, Any]:
        text, stop, tokens = self.tokenizer.decode(answer.ids, skip_special_tokens=True), answer.stop, len(answer.ids)
        if system == "fewshot" and self._next_example in text:  # the model goes on with an example of its own
            text, stop = text.partition(self._next_example)[0], "end"
            tokens = len(self.tokenizer.encode(text, add_special_tokens=False))
        flags = [
            name
            for name, raised in (
                ("empty", not text.strip()),
                ("limit", stop == "length"),
                ("repeats", repeats(answer.ids)),
            )
            if raised
        ]
        return {
            system: text,
            f"{system}_tokens": tokens,
            f"{system}_stop": stop,
            f"{system}_flags": flags,
        }

    @contextmanager
    def _model(self, system: str) -> Iterator[Any]:
        """The model of a system, ready to answer; the base is the tuned model with its adapter switched off."""
        model = self.subject.llm.model
        if system != "tuned" and self._other_base is not None:
            model = self._other_base
        with evaluation_mode(model), torch.no_grad():
            if system != "tuned" and self._other_base is None:
                with model.disable_adapter():
                    yield model
            else:
                yield model

    def _nll(self, model: Any, batch: list[int]) -> list[float | None]:
        """Summed -log p of each reference and its EOS, in nats; None where prompt and reference exceed the context."""
        prompts, encoder = self.ids["tuned"], is_encoder_decoder(model)
        fitting = [i for i in batch if len(self.targets[i]) <= self._room(len(prompts[i]))]
        rows = [Row(np.array(prompts[i] + self.targets[i]), len(prompts[i]), encoder) for i in fitting]
        if not rows:
            return [None] * len(batch)
        nll = answer_nll_by_row(model, collate(rows, self.subject.llm.special.pad).to(model.device))
        return [dict(zip(fitting, nll, strict=True)).get(i) for i in batch]

    def description(self) -> dict[str, Any]:
        """What was asked of which model, for generation.json."""
        return {
            "version": 1,
            "model": self.subject.name,
            "base_model": self.subject.config.base_model,
            "split": self.request.split,
            "rows_in_split": len(self.rows),
            "data": self.subject.data,
            "generation": self.settings.to_diff_dict(),
            "batch_size": self.request.batch_size,
            "fewshot": {"k": self.request.fewshot, "seed": self.request.seed, "ids": self.shots},
        }


def repeats(ids: list[int]) -> bool:
    """Whether more than half of an answer's runs of four tokens occurred in it before; needs sixteen tokens."""
    runs = [tuple(ids[i : i + REPEAT_WINDOW]) for i in range(len(ids) - REPEAT_WINDOW + 1)]
    return len(ids) >= 16 and len(set(runs)) < len(runs) / 2


def book_format(predictions: Path) -> list[dict[str, str]]:
    """The predictions as the list of instruction, input, output and model_response that other tools read."""
    records = map(json.loads, predictions.read_text(encoding="utf-8").splitlines())
    return [
        {
            "instruction": record.get("instruction", record["prompt"]),
            "input": record.get("input", ""),
            "output": record["reference"],
            "model_response": record["tuned"],
        }
        for record in records
    ]
