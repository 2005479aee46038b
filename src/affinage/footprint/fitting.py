"""Which batches of a config fit a given memory, by the lengths of the rows, and how long the dataset would take."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import try_to_load_from_cache

from affinage import training
from affinage.config_check import check_config, check_overridden
from affinage.configs import apply_overrides, read_config, task_and_name
from affinage.errors import AffinageError, Problem, raise_all
from affinage.footprint.known_models import SHAPES
from affinage.footprint.measure import Measured, measure
from affinage.footprint.needs import Footprint
from affinage.footprint.step import Batch
from affinage.ludwig_ext import register
from affinage.ludwig_ext.config import sequences_per_row
from affinage.ludwig_ext.seq2seq import has_encoder, refuse
from affinage.model_types import refuse_encoder_config
from affinage.preview import plan_steps
from affinage.token_lengths import SplitTokens, length_limit, tokenize, tokenizer_of

BATCHES = (1, 2, 4, 8, 16, 32)
LEARNT = 0.5  # part of a row's tokens that are its answer, where no data says it
MEASURED_STEPS = 20
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Question:
    """A config on its data, as far as they are at hand; `notes` say what is not, and what was put in its place."""

    config: dict[str, Any]
    resolved: Any
    rows: Any  # the training split as a DataFrame, or None
    tokens: SplitTokens | None
    notes: list[str]


@dataclass(frozen=True)
class Need:
    """Bytes by what they hold at the worst moment with batches of this shape; `length` names where it comes from."""

    length: str
    batch: Batch
    items: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.items.values())


def with_overrides(config: dict[str, Any], overrides: str, where: str) -> dict[str, Any]:
    """The config with what SET= says, "trainer.batch_size=4 adapter.r=32". Raises AffinageError for keys unknown."""
    register()
    if overrides:
        config = apply_overrides(config, overrides, training.resolve(config, where).to_dict())
        raise_all(check_overridden(config))
    return config


def check(config_path: Path, config: dict[str, Any]) -> None:
    """Raises AffinageError for a config that cannot be measured: mistakes in it, or weights that are not here."""
    register()
    raise_all(check_config(config_path))
    refuse_encoder_config(config, str(config_path), "be measured step by step")
    if not weights_at_hand(config["base_model"]):
        found = f"the weights of {config['base_model']} are not on this machine."
        raise AffinageError(Problem("base_model", found, remedy="Download them, or ask 'make fit' for an estimate."))


@contextmanager
def question(config_path: Path, dataset: str = "", overrides: str = "") -> Iterator[Question]:
    """Reads config and data. Weights are never looked for; where not even the base model's config.json is to be had,
    the shape of a known model stands in, and where data or tokenizer are missing, the lengths are unknown.

    Raises AffinageError for whatever a person must mend, a dataset that was named and is not there included.
    """
    register()
    raise_all(check_config(config_path))
    config, notes = read_config(config_path), list[str]()
    refuse_encoder_config(config, str(config_path), "be estimated")
    with tempfile.TemporaryDirectory() as folder:
        config["base_model"] = _shape_of(config["base_model"], Path(folder), notes)
        config = with_overrides(config, overrides, str(config_path))
        resolved = training.resolve(config, f"{config_path} with SET" if overrides else str(config_path))
        refuse(resolved)
        rows = _rows(task_and_name(config_path)[0], dataset, resolved, notes)
        tokens = None
        if rows is not None and config["base_model"] != folder:
            tokens = tokenize(resolved, rows, tokenizer_of(resolved))
        elif rows is not None:
            notes.append("so its tokenizer is not here either, and the lengths of the rows are unknown")
        yield Question(config, resolved, rows, tokens, notes)


def _shape_of(base_model: str, folder: Path, notes: list[str]) -> str:
    """The base model itself, or a folder with the config.json of a known one that is not to be had."""
    try:
        training.check_base_model(base_model)
    except AffinageError:
        if base_model not in SHAPES:
            raise
        (folder / "config.json").write_text(json.dumps(SHAPES[base_model]), encoding="utf-8")
        notes.append(f"{base_model} is not on this machine; its published shape stands in for it")
        return str(folder)
    return base_model


def _rows(task: str, dataset: str, resolved: Any, notes: list[str]) -> Any:
    try:
        _, splits, _ = training.read_task(task, dataset, resolved)
    except AffinageError as error:
        if dataset:
            raise
        notes.append(f"no data: {error.problems[0]}")
        return None
    return splits["train"]


def lengths(asked: Question, given: int | None = None) -> dict[str, Batch]:
    """Rows of p50, p95 and the longest of the training data, and as long as the config allows, or as `given` says.

    Batches of one row. Where no data is at hand, half of a row is its answer. An encoder-decoder allows the limit
    twice, for the prompt and for the answer.
    """
    limit = length_limit(asked.resolved)
    found, share = dict[str, Batch](), LEARNT
    if asked.tokens is not None and asked.tokens.rows.rows:
        sequences = [sequence for row in asked.tokens.rows.rows for sequence in row.learnt]
        both = [len(sequence.ids) for sequence in sequences]
        answers = [len(sequence.ids) - sequence.answer_start for sequence in sequences]
        share = sum(answers) / sum(both)
        for name, percentile in (("p50", 50), ("p95", 95), ("longest", 100)):
            tokens, answer = (int(np.percentile(n, percentile)) for n in (both, answers))
            found[name] = Batch(1, tokens, min(answer, tokens - 1))
    if given is None and has_encoder(asked.resolved):
        return found | {"limit": Batch(1, 2 * limit, limit)}
    most = given or limit
    found["given" if given else "limit"] = Batch(1, most, max(1, round(most * share)))
    return found


def needs(footprint: Footprint, rows: dict[str, Batch], sizes: Sequence[int] = BATCHES) -> Iterator[Need]:
    """The memory of every length with every batch size, one after another."""
    for length, row in rows.items():
        for size in sizes:
            batch = replace(row, rows=size)
            yield Need(
                length, batch, footprint.items(replace(row, rows=size * sequences_per_row(footprint.skeleton.resolved)))
            )


def largest(found: Sequence[Need], usable: float) -> dict[str, int]:
    """The most rows that fit into so many bytes, by length and among the sizes tried; 0 when none does."""
    fitting = {need.length: 0 for need in found}
    for need in found:
        if need.total <= usable:
            fitting[need.length] = max(fitting[need.length], need.batch.rows)
    return fitting


def planned_steps(asked: Question) -> int | None:
    """Optimizer steps of the whole training; None where data is missing or Ludwig is to find the batch size."""
    if asked.tokens is None or not asked.tokens.rows.rows:
        return None
    steps = plan_steps(asked.resolved.trainer, asked.tokens.rows)
    return steps.total if steps else None


def measure_steps(asked: Question) -> Measured:
    """Takes 20 real steps. Raises AffinageError where the weights or the data are not at hand."""
    problems = []
    if not weights_at_hand(asked.config["base_model"]):
        problems.append(Problem("base_model", "its weights are not on this machine, so no step can be taken."))
    if planned_steps(asked) is None:
        problems.append(Problem("the data", "is not at hand or the batch size is 'auto', so no step can be taken."))
    raise_all(problems)
    config = {**asked.config, "trainer": {**asked.config["trainer"], "skip_all_evaluation": True}}
    return measure(config, asked.rows, MEASURED_STEPS)


def weights_at_hand(base_model: str) -> bool:
    """Whether the base model's weights lie in a folder or in the Hub's cache."""
    if Path(base_model).is_dir():
        return any((Path(base_model) / name).exists() for name in WEIGHTS)
    return any(isinstance(try_to_load_from_cache(base_model, name), str) for name in WEIGHTS)
