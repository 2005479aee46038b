"""The evaluations of a training run: losses, the best weights, early stopping and sample answers."""

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from ludwig.utils.metric_utils import TrainerMetric

from affinage.errors import AffinageError, Problem
from affinage.generation import answer_all, evaluation_mode
from affinage.ludwig_ext import checkpoints
from affinage.ludwig_ext.batches import Row, Rows
from affinage.ludwig_ext.model import loss_metrics

if TYPE_CHECKING:
    from affinage.ludwig_ext.trainer import AnswerTrainer

SAMPLES, SAMPLE_TOKENS, FEWEST_SAMPLE_TOKENS = 2, 64, 8
SAMPLE_SHARE = 0.2  # of the work of an evaluation: its cost is that of the forward passes


class Evaluations:
    """Runs an evaluation every so many steps and remembers the best weights.

    The best weights are those of the lowest validation loss, or the latest ones when there is no validation
    split. `history` holds one record per evaluation; `early_stop` counts evaluations without improvement.
    """

    def __init__(self, trainer: "AnswerTrainer", validation: Rows | None, test: Rows | None) -> None:
        self.trainer, self.validation, self.test = trainer, validation, test
        self.history: list[dict[str, Any]] = []
        self.best_loss, self.best_step, self.without_improvement = math.inf, 0, 0
        self._nll, self._tokens = 0.0, 0  # of the training steps since the last evaluation

    def trained(self, nll: float, weight: int) -> None:
        """Adds a training step, its summed loss and what the mean is taken over, to the running training loss."""
        self._nll += nll
        self._tokens += weight

    def run(self) -> bool:
        """Evaluates, records, keeps the weights when they are the best so far; true when training should stop."""
        trainer, tracker = self.trainer, self.trainer.tracker
        save_path = str(trainer.save_path)
        trainer.callback(lambda c: c.on_eval_start(trainer, tracker, save_path))
        train = self._training_metrics()
        measured = {
            f"{split}_{name}": value
            for split, rows in (("validation", self.validation), ("test", self.test))
            if rows is not None
            for name, value in self.measure(rows).items()
        }
        validation = measured.get("validation_loss")
        record: dict[str, Any] = {"step": tracker.steps, "epoch": tracker.epoch, "train_loss": train, **measured}
        if validation is not None:
            record["samples"] = self._samples()
        self._log(record)
        tracker.checkpoint_number += 1
        self.history.append(record)
        trainer.scheduler.evaluated(train, validation)
        improved = self._remember(validation)
        trainer.progress.evaluated(record)
        trainer.callback(lambda c: c.on_eval_end(trainer, tracker, save_path))
        if improved:
            trainer.callback(lambda c: c.on_save_best_checkpoint(trainer, tracker, save_path))
        return self.stalled

    @property
    def stalled(self) -> bool:
        """Whether `early_stop` evaluations in a row have brought no improvement."""
        return self.trainer.early_stop > 0 and self.without_improvement >= self.trainer.early_stop

    def _training_metrics(self) -> float:
        if self.trainer.evaluate_training_set:
            loss = self.measure(self.trainer.rows)["loss"]
        else:
            loss = self._nll / self._tokens if self._tokens else math.nan
        self._nll, self._tokens = 0.0, 0
        return loss

    def measure(self, rows: Rows) -> dict[str, float]:
        """The mean loss over the rows as "loss", and by name what the trainer measures beside it."""
        return {"loss": self.loss(rows), **self.trainer.also_measured()}

    def loss(self, rows: Rows) -> float:
        """Mean loss (per answer token, in nats) over the rows, or over the first `trainer.eval_steps` batches."""
        trainer, nll, weight, size = self.trainer, 0.0, 0.0, self.trainer.eval_batch_size
        with evaluation_mode(trainer.dist_model), torch.no_grad():
            batches = trainer.evaluation_batches(trainer.distributed.share(self._evaluated(rows)), size)
            for batch, share in trainer.in_step(batches):
                nll += trainer.nll(batch).item() * share
                weight += batch.weight * share
        nll, weight = trainer.distributed.sum(nll, weight)
        return nll / weight

    def _evaluated(self, rows: Rows) -> Sequence[Row]:
        steps = getattr(self.trainer.config, "eval_steps", None)
        return rows.rows if steps is None else rows.rows[: steps * self.trainer.eval_batch_size]

    def _samples(self) -> list[dict[str, str]]:
        """Answers to the first validation rows, as text."""
        model, rows = self.trainer.model, self.validation.rows[:SAMPLES] if self.validation else []
        prompts = [row.ids[: row.answer_start].tolist() for row in rows]
        config = copy.deepcopy(model.generation)
        config.max_new_tokens = min(self._sample_tokens(), config.max_new_tokens or SAMPLE_TOKENS)
        answers = answer_all(model.model, prompts, config, model.context_len, len(prompts))
        decode = model.tokenizer.decode
        return [
            {
                "prompt": decode(prompt, skip_special_tokens=True),
                "reference": decode(row.ids[row.answer_start :], skip_special_tokens=True),
                "answer": decode(answer.ids, skip_special_tokens=True),
            }
            for prompt, row, answer in zip(prompts, rows, answers, strict=True)
        ]

    def _sample_tokens(self) -> int:
        """How long a sample may get: each of its tokens is a call of the model, which counts as many tokens."""
        evaluated = sum(len(row.ids) for row in self._evaluated(self.validation)) if self.validation else 0
        affordable = int(SAMPLE_SHARE * evaluated / (SAMPLES + self.trainer.call_cost))
        return max(FEWEST_SAMPLE_TOKENS, min(SAMPLE_TOKENS, affordable))

    def _metric_logs(self) -> tuple[Any, Any, Any]:
        tracker = self.trainer.tracker
        return tracker.train_metrics, tracker.validation_metrics, tracker.test_metrics

    def _log(self, record: dict[str, Any]) -> None:
        """Adds an evaluation to the logs of Ludwig's progress tracker, which its reports and callbacks read."""
        feature, names = next(iter(self.trainer.model.output_features)), ("train_loss", "validation_loss", "test_loss")
        for metrics, split in zip(self._metric_logs(), names, strict=True):
            if split not in record:
                continue
            for name, values in loss_metrics(feature, record[split], 1).items():
                for metric in values.keys() & set(self.trainer.metrics):
                    metrics[name][metric].append(TrainerMetric(record["epoch"], record["step"], values[metric]))

    def _remember(self, validation: float | None) -> bool:
        tracker = self.trainer.tracker
        better = validation is None or validation < self.best_loss  # not so when it is not a number
        if not better and self.best_step:
            self.without_improvement += 1
            return False
        self.best_loss = validation if better and validation is not None else math.inf
        self.without_improvement = 0
        tracker.best_eval_metric_value, tracker.best_eval_metric_epoch = self.best_loss, tracker.epoch
        tracker.best_eval_metric_steps, tracker.best_eval_metric_checkpoint_number = (
            tracker.steps,
            tracker.checkpoint_number,
        )
        self.keep_weights()
        return True

    def keep_weights(self) -> None:
        """Makes the present weights the best ones, in best.pt beside the checkpoint."""
        self.best_step = self.trainer.tracker.steps
        if self.trainer.skip_save_model:
            return
        keep = self.trainer.is_coordinator()
        state = checkpoints.trainable_state(self.trainer.model, keep)
        if keep:
            checkpoints.save(self._best_path, state)

    @property
    def best_weights(self) -> dict[str, torch.Tensor]:
        return checkpoints.load(self._best_path)

    @property
    def _best_path(self):
        return self.trainer.checkpoints.latest.with_name("best.pt")

    def state_dict(self) -> dict[str, Any]:
        names = ("history", "best_loss", "best_step", "without_improvement", "_nll", "_tokens")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        for record in self.history:
            self._log(record)


def check_metric(name: str, allowed: tuple[str, ...]) -> None:
    """Raises AffinageError for a `validation_metric` that is not computed during training."""
    if name not in allowed:
        raise AffinageError(
            Problem(
                "trainer.validation_metric",
                f"'{name}' cannot choose a checkpoint during training.",
                ", ".join(allowed),
                "Text metrics are computed on generated answers after training.",
            )
        )
