"""Takes a few real training steps with Affinage's own trainer and measures their seconds and their memory."""

import contextlib
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from ludwig.api import LudwigModel
from ludwig.callbacks import Callback
from torch.profiler import ProfilerActivity, profile

from affinage.footprint.skeleton import held
from affinage.footprint.step import Batch
from affinage.prompts import prompt_columns

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux


@dataclass
class Measured:
    """What the steps took. Bytes: all that torch had allocated at the worst moment, weights included.

    `resident` is how far the process rose above what it held before the model was made; None where it cannot be told.
    On a CPU, counting slows a step down and takes memory itself, so it has a step of its own, not in these two.
    """

    seconds: list[float] = field(default_factory=list)  # of each step
    held: int = 0
    peak: int = 0
    reserved: int | None = None  # on a GPU, what torch keeps for itself, gaps between blocks included
    resident: int | None = None


class _Watch(Callback):
    """Times every step, and counts what torch allocates from step `profiled` (0-based) to the end of the training."""

    def __init__(self, profiled: int) -> None:
        self.profiled, self.measured = profiled, Measured()
        self.profiler: profile | None = None
        self.resident_before: int | None = None

    def on_batch_start(self, trainer: Any, progress_tracker: Any, save_path: str) -> None:
        if progress_tracker.steps == self.profiled:
            self._begin(trainer)
        self.started = time.perf_counter()

    def on_batch_end(self, trainer: Any, progress_tracker: Any, save_path: str, sync_step: bool = True) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if self.profiler is None:
            self.measured.seconds.append(time.perf_counter() - self.started)

    def on_trainer_train_teardown(self, trainer: Any, *_: Any) -> None:
        if torch.cuda.is_available():
            self.measured.peak = torch.cuda.max_memory_allocated()
            self.measured.reserved = torch.cuda.max_memory_reserved()
        elif self.profiler is not None:
            self.profiler.stop()
            self.measured.peak = self.measured.held + most_allocated(self.profiler)

    def _begin(self, trainer: Any) -> None:
        states = [v for state in trainer.optimizer.state.values() for v in state.values() if torch.is_tensor(v)]
        tensors = [*states, *(t for ts in held(trainer.model.model).values() for t in ts)]
        self.measured.held = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
        resident = _resident_peak()
        if resident is not None and self.resident_before is not None:
            self.measured.resident = resident - self.resident_before
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        else:
            os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # or it complains that there is no GPU
            self.profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            self.profiler.start()


def most_allocated(profiler: Any) -> int:
    """The largest sum of bytes allocated and not yet freed since the start, on the CPU."""
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    return most


def measure(
    config: dict[str, Any],
    rows: pd.DataFrame | None,
    steps: int,
    validation: pd.DataFrame | None = None,
    shape: Batch | None = None,
) -> Measured:
    """Trains `steps` steps on real rows in the order of a real run, and one more in which memory is counted on a CPU.

    With a validation split, an evaluation follows each step. Instead of rows, a `shape` gives batches of random tokens.
    Nothing is kept of the training. Raises what Ludwig and torch raise, torch.OutOfMemoryError among them.
    """
    config = {**config, "trainer": {**config["trainer"], "train_steps": steps + 1}}
    watch = _Watch(steps)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        ludwig = LudwigModel(config, backend="local")
        given = rows if rows is not None else _placeholder(ludwig.config_obj)
        splits = ludwig.preprocess(training_set=given, validation_set=validation, skip_save_processed_input=True)
        ludwig.training_set_metadata = splits.training_set_metadata
        ludwig.config_obj.trainer.update_batch_size_grad_accum(1)
        watch.resident_before = _restart_resident_peak()
        model = LudwigModel.create_model(ludwig.config_obj, random_seed=1)
        silent = dict.fromkeys(("skip_save_model", "skip_save_progress", "skip_save_log"), True)
        trainer = ludwig.backend.create_trainer(
            model=model, config=ludwig.config_obj.trainer, callbacks=[watch], random_seed=1, **silent
        )
        training_set = splits.training_set if shape is None else _random_tokens(model, shape, steps + 1)
        trainer.train(training_set, splits.validation_set if validation is not None else None, save_path=folder)
    return watch.measured


def _placeholder(resolved: Any) -> pd.DataFrame:
    """Rows that Ludwig can preprocess; nothing is trained on them."""
    columns = [*prompt_columns(resolved), resolved.output_features[0].column]
    return pd.DataFrame({column: ["a"] * 4 for column in columns})


def _random_tokens(model: Any, shape: Batch, batches: int) -> Any:
    """Prompts and answers as Ludwig's preprocessing leaves them, such that rows have the tokens that `shape` says."""
    generator, special = np.random.default_rng(1), model.special
    vocabulary = model.model.config.get_text_config().vocab_size
    ordinary = np.setdiff1d(np.arange(vocabulary), [*special.prefix, *special.suffix, special.pad, special.eos])
    n, answer = shape.rows * batches, shape.answer_tokens - 1  # EOS is added
    widths = (shape.tokens - answer - 1 - len(special.prompt([])), answer)
    matrices = [generator.choice(ordinary, (n, width)) for width in widths]
    features = (model.input_features, model.output_features)
    names = [next(iter(feature.values())).proc_column for feature in features]
    return SimpleNamespace(dataset=dict(zip(names, matrices, strict=True)))


def _restart_resident_peak() -> int | None:
    """Forgets the process's largest resident size; returns the present one, or None where Linux does not tell."""
    try:
        CLEAR.write_text("5")
    except OSError:
        return None
    return _resident_peak()


def _resident_peak() -> int | None:
    if not STATUS.exists():
        return None
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024
