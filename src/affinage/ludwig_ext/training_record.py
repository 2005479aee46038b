"""What a run's manifest says of its training."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from affinage.ludwig_ext.model import parameter_counts
from affinage.memory import peak_memory

if TYPE_CHECKING:
    from affinage.ludwig_ext.trainer import AnswerTrainer


def training_record(trainer: "AnswerTrainer") -> dict[str, Any]:
    """Steps, rows, tokens and losses; `seconds` covers steps and evaluations, memory is in bytes."""
    trainable, parameters = parameter_counts(trainer.model.model)
    return {
        "steps": trainer.tracker.steps,
        "planned_steps": trainer.total_steps,
        "steps_per_epoch": trainer.steps_per_epoch,
        "effective_batch_size": trainer.batch_size * trainer.gradient_accumulation_steps,
        "tokens": trainer.tracker.total_tokens_used,
        "trained_rows": len(trainer.rows),
        "skipped_rows": trainer.rows.skipped,
        "cut_rows": trainer.rows.cut_rows,
        "cut_answer_tokens": trainer.rows.cut_answer_tokens,
        "answer_tokens_per_epoch": trainer.rows.answer_tokens,
        "trainable_parameters": trainable,
        "parameters": parameters,
        "best_step": trainer.evaluations.best_step,
        "seconds": round(trainer.seconds, 2),
        "notes": trainer.notes,
        "peak_memory": peak_memory(),
        **_work(trainer.work, trainer.sharded),
        "evaluations": [{k: v for k, v in e.items() if k != "samples"} for e in trainer.evaluations.history],
    }


def _work(work: Sequence[dict[str, float]], sharded: bool) -> dict[str, Any]:
    """What a run records of its workers, if there were several.

    The efficiency is the share of their time (0 to 1) that they did not spend on sending and waiting, on average. Of a
    model in parts it is not known, because they send while they compute.
    """
    if len(work) < 2:
        return {}
    speeds = [round(one["tokens"] / one["seconds"], 1) for one in work]
    efficiency = round(sum(1 - one["waited"] / one["seconds"] for one in work) / len(work), 3)
    known = {} if sharded else {"scaling_efficiency": efficiency}
    return {"workers": len(work), "tokens_per_second_of_workers": speeds, **known}
