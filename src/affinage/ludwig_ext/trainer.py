"""Ludwig's fine-tuning trainer with batches, loss, schedule, checkpoints and evaluation that are right."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from ludwig.constants import AUTO
from ludwig.trainers.trainer_llm import FineTuneTrainer
from ludwig.utils.misc_utils import set_random_seed
from ludwig.utils.trainer_utils import get_final_steps_per_checkpoint, get_new_progress_tracker
from tqdm import tqdm

from affinage.health import not_a_number
from affinage.interrupts import stop_requests
from affinage.ludwig_ext import checkpoints, kernels, layout, optimizers, resuming, row_files, sharding
from affinage.ludwig_ext.batches import Batch, Row, Rows, build_rows, collate, epoch_batches
from affinage.ludwig_ext.evaluation import Evaluations, check_metric
from affinage.ludwig_ext.loss import answer_nll
from affinage.ludwig_ext.progress import StepProgress
from affinage.ludwig_ext.schedule import Schedule
from affinage.ludwig_ext.training_record import training_record
from affinage.ludwig_ext.workers import Workers
from affinage.plots import NLL

CHECKPOINT_SECONDS = 300  # between evaluations, so that a killed run loses five minutes at most


class AnswerTrainer(FineTuneTrainer):
    """Trains on answer tokens and EOS alone; steps, warmup and schedule count optimizer steps.

    Gradients of a step are those of the mean loss over all its answer tokens, so k accumulated micro-batches
    equal one batch of k times the size. The last batch of an epoch is trained on whatever its size, and the
    micro-batches left over at the end of an epoch make a step of their own.
    """

    metrics: tuple[str, ...] = ("loss", "perplexity")  # those that can choose a checkpoint
    loss_name = NLL
    shares_rows = True  # among workers, in a file
    scheduler: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"distributed": Workers(), **kwargs})

    def prepare(self) -> None:
        optimizers.refuse(self.config.optimizer, self.model.config_obj.adapter is not None)
        self.sharded = self.distributed.size() > 1 and sharding.wanted(self.model.config_obj)
        self._empty = sharding.skeleton(self.model.model) if self.sharded else None
        super().prepare()
        if self.sharded:
            self.distributed.sync_model(self.model)
            sharding.shard(self.model.model)
        # fault: the stock class multiplies the rate by the number of workers, which train one batch together
        self.base_learning_rate = self.config.learning_rate
        # fault: the provisional schedule of the stock class leaves its own rates in the optimizer (one_cycle: about 0)
        self.dist_model, self.optimizer = self.distributed.prepare(
            self.compiled_model, self.config, self.base_learning_rate
        )
        self.scheduler = None

    def train(self, training_set, validation_set=None, test_set=None, save_path="model", **kwargs: Any):
        """Trains and leaves the best weights in the model; returns what Ludwig expects of a trainer.

        That is the model and the metrics of the training, validation and test split, one per evaluation. Raises
        AffinageError for data without an answer token and for a loss that is no longer a number.
        """
        check_metric(self.validation_metric, self.metrics)
        save_path = self.distributed.broadcast_object(save_path)  # Ludwig tells it to the first worker alone
        self.save_path = Path(save_path)
        self.rows = row_files.rows_of(self, training_set, "training")
        held_out = (("validation", validation_set), ("test", test_set))
        validation, test = (None if data is None else row_files.rows_of(self, data, name) for name, data in held_out)
        self._plan_steps()
        self.tracker = self._new_tracker()
        self.evaluations = Evaluations(self, validation, test)
        writers = self._create_summary_writers(str(self.save_path / "logs"), validation_set, test_set)
        self.callback(lambda c: c.on_trainer_train_setup(self, save_path, self.is_coordinator()), False)
        set_random_seed(self.random_seed + self.distributed.rank())  # dropout draws anew in every worker
        self.distributed.sync_model(self.model)
        self.checkpoints = checkpoints.Checkpoints(self.save_path / "training_checkpoints")
        self.notes: list[str] = []
        self.call_cost = layout.call_cost(self.model.model)
        checked = (self.model.model, self.rows.rows[: layout.CHECKED_ROWS], self.model.special.pad)
        self.note(kernels.use_quick_kernels(*checked))
        if getattr(self.config, "packing", False):
            layout.check_packing(*checked)
        self.before_first_step()
        self._seconds, self._started, self._own_tokens = 0.0, time.monotonic(), 0
        self.work: list[dict[str, float]] = []  # of each worker, once it is done
        self._saved = self._started
        start = self._resume() if self.resume else 0
        self.progress = StepProgress(self, writers, start)
        with stop_requests() as stop_requested:
            try:
                self._run(start, stop_requested)
            finally:
                self.callback(
                    lambda c: c.on_trainer_train_teardown(self, self.tracker, save_path, self.is_coordinator()), False
                )
                self.compiled_model._deactivate_forward_hooks()
                self.progress.close()
        if self._empty is not None:
            self.model.model, self._empty = sharding.gathered(self._empty, self.model.model), None
        if not self.skip_save_model:
            if self.is_coordinator():
                checkpoints.load_trainable_state(self.model, self.evaluations.best_weights)
            self.distributed.sync_model(self.model)
        self.work = self.distributed.gather(
            {"tokens": self._own_tokens, "seconds": time.monotonic() - self._started, "waited": self.distributed.waited}
        )
        if self.is_coordinator():
            row_files.remove(self.save_path)
        tracker = self.tracker
        return self.model, tracker.train_metrics, tracker.validation_metrics, tracker.test_metrics

    def build(self, dataset: Any) -> Rows:
        columns = [next(iter(f.values())).proc_column for f in (self.model.input_features, self.model.output_features)]
        prompts, answers = (dataset.dataset[column] for column in columns)
        return build_rows(prompts, answers, self.model.special, self.model.global_max_sequence_length)

    def _plan_steps(self) -> None:
        accumulation = self.config.gradient_accumulation_steps
        self.gradient_accumulation_steps = 1 if accumulation == AUTO else accumulation
        batches = math.ceil(len(self.rows) / self.batch_size)
        self.steps_per_epoch = math.ceil(batches / self.gradient_accumulation_steps)
        self.total_steps = self.train_steps or self.epochs * self.steps_per_epoch
        self.steps_per_evaluation = get_final_steps_per_checkpoint(
            self.steps_per_epoch, self.steps_per_checkpoint, self.checkpoints_per_epoch
        )
        self.scheduler = Schedule(
            self.config.learning_rate_scheduler, self.optimizer, self.total_steps, self.steps_per_evaluation
        )

    def _new_tracker(self):
        tracker = get_new_progress_tracker(
            batch_size=self.batch_size,
            learning_rate=self.base_learning_rate,
            best_eval_metric_value=math.inf,
            best_increase_batch_size_eval_metric=math.inf,
            output_features=self.model.output_features,
        )
        tracker.steps_per_epoch, tracker.total_steps = self.steps_per_epoch, self.total_steps
        return tracker

    def before_first_step(self) -> None:
        """What must be found out of the untrained model, before a checkpoint is loaded as well: nothing here."""

    def _run(self, start: int, stop_requested: Callable[[], bool]) -> None:
        """Takes the steps from `start` on. Raises KeyboardInterrupt, with the step saved, when asked to stop."""
        if self.evaluations.stalled:  # the part of the run before a resume had already stopped early
            return
        self.dist_model.train()
        for step in range(start, self.total_steps):
            epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
            self.tracker.epoch = epoch
            if step_in_epoch == 0:
                self.callback(lambda c: c.on_epoch_start(self, self.tracker, str(self.save_path)))
            self._step(epoch, step_in_epoch)
            last = step + 1 == self.total_steps
            if (step + 1) % self.steps_per_evaluation == 0 or last:
                stop = self._evaluate()
                self._save_checkpoint()
                if stop:
                    break
            elif self.distributed.any(stop_requested() or time.monotonic() - self._saved > CHECKPOINT_SECONDS):
                self._save_checkpoint()
            if self.distributed.any(
                stop_requested()
            ):  # after the evaluation that was due, which a resumed run would not make up for
                raise KeyboardInterrupt(f"stopped after step {self.tracker.steps}")
            if step_in_epoch + 1 == self.steps_per_epoch or last:
                self.callback(lambda c: c.on_epoch_end(self, self.tracker, str(self.save_path)))

    def _step(self, epoch: int, step_in_epoch: int) -> None:
        """One optimizer step on the micro-batches at `step_in_epoch` of the epoch's order."""
        self.callback(lambda c: c.on_batch_start(self, self.tracker, str(self.save_path)))
        lr = self.tracker.learning_rate = self.optimizer.param_groups[0]["lr"]
        order = epoch_batches(len(self.rows), self.batch_size, self.random_seed, epoch, self.should_shuffle)
        first = step_in_epoch * self.gradient_accumulation_steps
        positions = order[first : first + self.gradient_accumulation_steps]
        rows = [self.rows.rows[i] for chosen in positions for i in chosen]
        if self.distributed.size() > 1:
            rows = self.distributed.share(sorted(rows, key=lambda row: len(row.ids)))
        batches = self._lay_out(rows)
        self._own_tokens += sum(batch.tokens for batch in batches)
        nll, weight, tokens = self._accumulate(batches)
        self._optimizer_step(self.dist_model.parameters())
        self.distributed.zero_grad(self.optimizer)
        self.scheduler.step()
        self.tracker.steps += 1
        self.tracker.set_token_usage_for_this_step(tokens)
        self.evaluations.trained(nll, weight)
        self.progress.step(nll / weight, lr, tokens, self.also_measured())
        self.callback(lambda c: c.on_batch_end(self, self.tracker, str(self.save_path), sync_step=True))

    def _lay_out(self, rows: list[Row]) -> list[Batch]:
        if self.config.packing:
            return layout.packed(rows, min(self.batch_size, self.config.packing_max_sequences_per_pack))
        return layout.padded(rows, self.batch_size, self.call_cost, self.model.special.pad)

    def _accumulate(self, batches: list[Batch]) -> tuple[float, int, int]:
        """Adds the gradient of the mean loss over all batches of all workers, by their weights.

        Returns their summed loss, weight and tokens.
        """
        weight, tokens = self.distributed.sum(sum(b.weight for b in batches), sum(b.tokens for b in batches))
        nll = 0.0
        for batch, share in self.in_step(batches):
            batch_nll = self.nll(batch) * share
            self.distributed.backward(batch_nll / weight, self.dist_model)
            nll += batch_nll.item()
        (nll,) = self.distributed.sum(nll)
        if not math.isfinite(nll):
            self.progress.not_a_number()
            raise not_a_number(self.tracker.steps + 1, nll)
        return nll, int(weight), int(tokens)

    def in_step(self, batches: Iterable[Batch]) -> Iterable[tuple[Batch, float]]:
        """The batches, each with its share (1) of the loss; of a model in parts every worker is given equally many."""
        if not self.sharded:
            return ((batch, 1.0) for batch in batches)
        return sharding.filled_up(list(batches), collate([self.rows.rows[0]], self.model.special.pad))

    def nll(self, batch: Batch) -> torch.Tensor:
        """Summed -log p of the batch's answer tokens, in bfloat16 where the config asks for mixed precision."""
        device = torch.device(self.device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.use_mixed_precision):
            return answer_nll(self.compiled_model.model, batch.to(device))

    def evaluation_batches(self, rows: list[Row], size: int) -> Iterator[Batch]:
        """The rows in batches of `size`; those of like length together need little padding."""
        rows = sorted(rows, key=lambda row: len(row.ids))
        yield from (collate(rows[start : start + size], self.model.special.pad) for start in range(0, len(rows), size))

    def also_measured(self) -> dict[str, float]:
        """What has been measured beside the loss since the last call, by name: nothing here."""
        return {}

    def train_step(self, inputs, targets, should_step: bool = True, profiler=None):
        """One step on raw matrices; Ludwig calls it when it looks for the largest batch that fits."""
        nll, tokens = self.model.batch_nll(next(iter(inputs.values())), next(iter(targets.values())))
        loss = nll / max(1, tokens)
        self.distributed.backward(loss, self.dist_model)
        if should_step:
            self._optimizer_step(self.dist_model.parameters())
            self.distributed.zero_grad(self.optimizer)
        return loss, {next(iter(self.model.output_features)): loss}, tokens

    def _evaluate(self) -> bool:
        """Evaluates, unless the config skips it; true when training should stop early."""
        if self.skip_all_evaluation:
            self.evaluations.keep_weights()
            return False
        return self.evaluations.run()

    def _save_checkpoint(self) -> None:
        if self.skip_save_progress:
            return
        state = resuming.state_of(self)
        self._saved = time.monotonic()
        if not self.is_coordinator():
            return
        self.note(self.checkpoints.save(state))
        self.tracker.save(str(self.save_path / "training_progress.json"))
        self.callback(lambda c: c.on_checkpoint(self, self.tracker))

    def _resume(self) -> int:
        """Restores everything the newest readable checkpoint holds; returns the optimizer steps already done."""
        state, notes = self.checkpoints.load()
        for note in notes:
            self.note(note)
        if state is None:
            return 0
        resuming.restore(self, state)
        self._seconds = state["seconds"]
        return self.tracker.steps

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return self._seconds + time.monotonic() - self._started

    def note(self, text: str) -> None:
        """Says and keeps what a person should know about this run; nothing for an empty text."""
        if text:
            self.notes.append(text)
            if self.is_coordinator():
                tqdm.write(f"note: {text}", file=sys.stderr)

    def summary(self) -> dict[str, Any]:
        """What the run did, for its manifest; `seconds` covers steps and evaluations, memory is in bytes."""
        return training_record(self)
