"""Ludwig's trainer for an encoder with a head, whose runs stop, go on and are recorded as other runs are."""

import json
import math
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from ludwig.trainers.trainer import Trainer
from ludwig.utils.trainer_utils import ProgressTracker, get_final_steps_per_checkpoint

from affinage.health import not_a_number
from affinage.interrupts import stop_requests
from affinage.ludwig_ext import checkpoints
from affinage.ludwig_ext.encoders import token_mask
from affinage.ludwig_ext.progress import StepProgress
from affinage.ludwig_ext.schedule import Schedule
from affinage.ludwig_ext.trainer import CHECKPOINT_SECONDS
from affinage.memory import peak_memory


class EncoderSchedule(Schedule):
    """The same learning rates as for language models, told of evaluations as Ludwig's trainer does it."""

    def eval_step(self, progress_tracker: ProgressTracker, validation_field: str) -> None:
        logs = (progress_tracker.train_metrics, progress_tracker.validation_metrics)
        train, validation = (metrics[validation_field]["loss"][-1:] for metrics in logs)
        self.evaluated(train[0][-1], validation[0][-1] if validation else None)


@dataclass
class Taken:
    """The steps that are behind: Ludwig's own count is one short while a step is being recorded."""

    steps: int = 0
    learning_rate: float = 0.0
    total_tokens_used: int = 0
    train_metrics: dict[str, Any] = field(default_factory=dict)
    validation_metrics: dict[str, Any] = field(default_factory=dict)
    test_metrics: dict[str, Any] = field(default_factory=dict)


class EncoderTrainer(Trainer):
    """Takes Ludwig's steps, records each, and goes on from a checkpoint as if there had been no stop.

    Faults of the stock class: after a resume, dropout draws other masks, and the learning rate and the epoch start
    anew; Ctrl-C ends the training as if it were complete; a last batch of one row is left out, but counted.
    """

    progress: Any = None
    loss_name = "loss (nats per row)"
    cut_rows = 0

    def train(self, training_set, validation_set=None, test_set=None, save_path="model", **kwargs: Any):
        """As the stock method. Raises KeyboardInterrupt, with the step saved, when asked to stop."""
        self.save_path, self.rows = Path(save_path), training_set.size
        self.checkpoints = checkpoints.Checkpoints(self.save_path / "training_checkpoints")
        self.tracker, self.notes, self.evaluations = Taken(), list[str](), list[dict[str, Any]]()
        self.stalled, self._seconds, self._started = False, 0.0, time.monotonic()
        with stop_requests() as self._stop_requested:
            try:
                result = super().train(training_set, validation_set, test_set, save_path, **kwargs)
                if self.progress is None:  # a run that was killed after its last step
                    self._begin()
            finally:
                if self.progress is not None:
                    self.progress.close()
            if self._stop_requested():
                raise KeyboardInterrupt(f"stopped after step {self.tracker.steps}")
        return result

    def set_steps_to_1_or_quit(self, signum, frame):
        """Ctrl-C asks for a stop as SIGTERM does: after the step in hand, with a checkpoint."""
        handler = signal.getsignal(signal.SIGTERM)  # that of `stop_requests`
        if callable(handler):
            handler(signum, frame)

    def _create_or_resume_progress_tracker(self, tracker_path, checkpoints_path, checkpoint, output_features):
        self._state, self.notes = self.checkpoints.load() if self.resume else (None, [])
        if self._state is None:
            self._ludwig_tracker = super()._create_or_resume_progress_tracker(
                tracker_path, checkpoints_path, checkpoint, output_features
            )
        else:
            self._ludwig_tracker = ProgressTracker.load(json.loads(self._state["tracker"]))
            self._load_weights(self._state["weights"])
        return self._ludwig_tracker

    def _load_weights(self, weights: dict[str, torch.Tensor]) -> None:
        if weights.keys() != self._weights().keys():
            raise KeyError(f"the checkpoint holds other weights: {sorted(weights.keys() ^ self._weights().keys())[:5]}")
        self.model.load_state_dict(weights, strict=False)

    def _weights(self) -> dict[str, torch.Tensor]:
        """Copies on the CPU of everything that training changes."""
        frozen = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        return {
            name: tensor.detach().to("cpu", copy=True)
            for name, tensor in self.model.state_dict().items()
            if name not in frozen
        }

    def _train_loop(self, batcher, progress_tracker, save_path, *rest: Any):
        batcher.ignore_last = False
        if self.progress is None:
            self._begin()
        if self.stalled:  # the part of the run before a resume had already stopped early
            return True, False
        for _ in range(self.tracker.steps % self.steps_per_epoch):  # of this epoch, trained before a resume
            batcher.next_batch()
        return super()._train_loop(batcher, progress_tracker, save_path, *rest)

    def _begin(self) -> None:
        """What Ludwig sets up before its first step, and what a checkpoint holds, put in its place."""
        for group in self.optimizer.param_groups:  # the schedules of the stock class leave their rates behind
            group.pop("initial_lr", None)
            group["lr"] = self.base_learning_rate
        every = get_final_steps_per_checkpoint(
            self.steps_per_epoch, self.steps_per_checkpoint, self.checkpoints_per_epoch
        )
        self.scheduler = EncoderSchedule(
            self.config.learning_rate_scheduler, self.optimizer, self.total_steps, min(every, self.total_steps)
        )
        if self._state is not None:
            self.optimizer.load_state_dict(self._state["optimizer"])
            self.scheduler.load_state_dict(self._state["scheduler"])
            checkpoints.restore_random_state(self._state["random"])
            self.tracker.steps, self.tracker.total_tokens_used = self._state["steps"], self._state["tokens"]
            self.evaluations, self.stalled = self._state["evaluations"], self._state["stalled"]
            self._seconds, self._state = self._state["seconds"], None
        self._started = self._saved = time.monotonic()
        self.progress = StepProgress(self, (None, None, None), self.tracker.steps)  # the stock class writes its events

    def train_step(self, inputs, targets, should_step: bool = True, profiler=None):
        """One step, recorded. Raises AffinageError for a loss that is no longer a number."""
        if self._stop_requested() or time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self._save()
        if self._stop_requested():
            raise KeyboardInterrupt(f"stopped after step {self.tracker.steps}")
        self.tracker.learning_rate = self.optimizer.param_groups[0]["lr"]
        loss, losses, _ = super().train_step(inputs, targets, should_step, profiler)
        if not torch.isfinite(loss):
            self.progress.not_a_number()
            raise not_a_number(self.tracker.steps + 1, loss.item())
        tokens = sum(self._tokens(name, ids) for name, ids in inputs.items())
        self.tracker.steps += 1
        self.tracker.total_tokens_used += tokens
        self.progress.step(loss.item(), self.tracker.learning_rate, tokens, {})
        return loss, losses, tokens

    def _tokens(self, feature: str, ids: torch.Tensor) -> int:
        """Tokens without padding."""
        return int(token_mask(self.model.input_features.get(feature).encoder_obj, ids).sum())

    def run_evaluation(self, *arguments: Any) -> bool:
        """As the stock method, and records the losses and the metrics of the validation split."""
        self.stalled = super().run_evaluation(*arguments)
        tracker = self._ludwig_tracker
        before = self.evaluations[-1]["step"] if self.evaluations else 0
        losses = [entry["loss"] for entry in self.progress.records if entry["step"] > before]
        record = {"step": tracker.steps, "epoch": tracker.epoch, "train_loss": sum(losses) / len(losses)}
        [feature] = self.model.output_features
        for name, values in tracker.validation_metrics[feature].items():
            if values and math.isfinite(values[-1][-1]):
                record[f"validation_{name}"] = float(values[-1][-1])
        self.evaluations.append(record)
        self.progress.evaluated(record)
        return self.stalled

    def save_checkpoint(self, progress_tracker, save_path, checkpoint_manager) -> None:
        """One file in place of Ludwig's three, of which a kill between two would leave some old and some new."""
        if progress_tracker.checkpoint_to_step.get(str(progress_tracker.checkpoint_number)) == progress_tracker.steps:
            return  # Ludwig asks twice at the end of an epoch
        progress_tracker.increment_checkpoint()
        self._save()
        self.callback(lambda c: c.on_checkpoint(self, progress_tracker))

    def _save(self) -> None:
        described = self.save_path / "training_progress.json"
        self._ludwig_tracker.save(str(described))
        state = {
            "steps": self.tracker.steps,
            "seconds": self.seconds,
            "tokens": self.tracker.total_tokens_used,
            "tracker": described.read_text(encoding="utf-8"),
            "weights": self._weights(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "random": checkpoints.random_state(),
            "evaluations": self.evaluations,
            "stalled": self.stalled,
        }
        if note := self.checkpoints.save(state):
            self.notes.append(note)
        self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self._seconds + time.monotonic() - self._started

    def summary(self) -> dict[str, Any]:
        """What a run records of its training; sizes in bytes."""
        counts = [(parameter.numel(), parameter.requires_grad) for parameter in self.model.parameters()]
        return {
            "steps": self.tracker.steps,
            "planned_steps": self.total_steps,
            "steps_per_epoch": self.steps_per_epoch,
            "effective_batch_size": self.batch_size,
            "tokens": self.tracker.total_tokens_used,
            "trained_rows": self.rows,
            "cut_rows": self.cut_rows,
            "cut_answer_tokens": 0,
            "skipped_rows": [],
            "trainable_parameters": sum(n for n, trainable in counts if trainable),
            "parameters": sum(n for n, _ in counts),
            "best_step": self._ludwig_tracker.best_eval_metric_steps if self.evaluations else self.tracker.steps,
            "seconds": round(self.seconds, 2),
            "notes": self.notes,
            "peak_memory": peak_memory(),
            "evaluations": self.evaluations,
        }
