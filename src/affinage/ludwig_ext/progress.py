"""What a person sees while training runs, and the TensorBoard events."""

import json
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from affinage import health
from affinage.console import progress_bar_options
from affinage.runs import json_line, write_jsonl

if TYPE_CHECKING:
    from affinage.ludwig_ext.trainer import AnswerTrainer

BESIDE = ("accuracy", "reward_margin", "reward_accuracy", "chosen_likelier")  # shown of what is measured beside a loss


class StepProgress:
    """A bar on stderr with loss, learning rate, tokens/s and ETA; losses and samples at each evaluation."""

    def __init__(self, trainer: "AnswerTrainer", writers: tuple[Any, Any, Any], start: int) -> None:
        self.trainer = trainer
        self.writers = writers
        self._path, shown = trainer.save_path.parent / "history.jsonl", trainer.is_coordinator()
        self.history = _up_to(self._path, start)
        if shown:
            write_jsonl(self._path, self.history)
        self._file = (self._path if shown else Path(os.devnull)).open("a", encoding="utf-8")
        self._clock, self._tokens = time.monotonic(), 0
        self._seen: set[str] = set()  # signs of trouble that have been shown
        options = progress_bar_options() | ({} if shown else {"file": self._file})
        self._bar = tqdm(total=trainer.total_steps, initial=start, desc="training", unit="step", **options)

    def step(self, loss: float, lr: float, tokens: int, beside: dict[str, float]) -> None:
        """Shows and records one optimizer step; `tokens` counts prompt and answer tokens without padding.

        `beside` holds by name what was measured beside the loss.
        """
        self._tokens += tokens
        speed = self._tokens / max(1e-9, time.monotonic() - self._clock)
        step = self.trainer.tracker.steps
        self._record({"step": step, "loss": loss, "lr": lr, "tokens": tokens, **beside})
        self._bar.set_postfix_str(f"loss {loss:.4f}, lr {lr:.2e}, {speed:,.0f} tokens/s", refresh=False)
        self._bar.update(1)
        writer = self.writers[0]
        if writer is not None:
            writer.add_scalar("combined/step_training_loss", loss, step)
            writer.add_scalar("combined/step_learning_rate", lr, step)
            writer.add_scalar("tokens/total_tokens_used", self.trainer.tracker.total_tokens_used, step)
            for name, value in beside.items():
                writer.add_scalar(f"preference/step_{name}", value, step)

    def not_a_number(self) -> None:
        """Records the step that could not be taken."""
        step = self.trainer.tracker.steps + 1
        self._record({"step": step, "loss": math.nan, "lr": self.trainer.tracker.learning_rate, "tokens": 0})

    def evaluated(self, record: dict[str, Any]) -> None:
        """Prints and records the losses and the sample answers of an evaluation."""
        self._record(record)
        lines = [f"step {record['step']}: train loss {record['train_loss']:.4f}"]
        if "validation_loss" in record:
            lines[0] += f", validation loss {record['validation_loss']:.4f}"
        beside = {name: record[f"validation_{name}"] for name in BESIDE if f"validation_{name}" in record}
        lines[0] += "".join(f", {name.replace('_', ' ')} {value:.3f}" for name, value in beside.items())
        for sample in record.get("samples", []):
            lines += [f"  reference: {_short(sample['reference'])}", f"  answer:    {_short(sample['answer'])}"]
        self._bar.write("\n".join(lines), file=self._bar.fp)
        tracker = self.trainer.tracker
        logs = (tracker.train_metrics, tracker.validation_metrics, tracker.test_metrics)
        for writer, metrics in zip(self.writers, logs, strict=True):
            self.trainer.write_eval_summary(writer, metrics, record["step"])
        if self.writers[1] is not None:
            for name, value in beside.items():
                self.writers[1].add_scalar(f"preference/epoch_{name}", value, record["step"])
        self._warn()

    def _warn(self) -> None:
        """Shows a sign of trouble the first time it is seen."""
        for sign in health.signs([step["loss"] for step in self.records], self.trainer.steps_per_epoch):
            if sign["sign"] not in self._seen:
                self._seen.add(sign["sign"])
                self._bar.write(f"warning: {health.sentence(sign)}", file=self._bar.fp)

    @property
    def records(self) -> list[dict[str, Any]]:
        """What was recorded of each step, in order."""
        return [entry for entry in self.history if "lr" in entry]

    def _record(self, entry: dict[str, Any]) -> None:
        self.history.append(entry)
        self._file.write(json_line(entry))
        self._file.flush()

    def close(self) -> None:
        self._file.close()
        self._bar.close()
        for writer in self.writers:
            if writer is not None:
                writer.close()


def _up_to(path: Path, step: int) -> list[dict[str, Any]]:
    """What an earlier part of the run recorded, without the steps that were lost with it."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    complete = [json.loads(line) for line in lines if line.endswith("}")]
    return [entry for entry in complete if entry["step"] <= step]


def _short(text: str, limit: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
