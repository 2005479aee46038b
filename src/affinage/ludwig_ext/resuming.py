"""What a checkpoint of fine-tuning holds, so that a run that goes on from it ends as one that never stopped."""

from typing import TYPE_CHECKING, Any

from affinage.ludwig_ext import checkpoints, sharding

if TYPE_CHECKING:
    from affinage.ludwig_ext.trainer import AnswerTrainer


def state_of(trainer: "AnswerTrainer") -> dict[str, Any]:
    """All that training changes; every worker must ask for it, and the first one saves it."""
    random, *others = trainer.distributed.gather(checkpoints.random_state())
    return {
        "steps": trainer.tracker.steps,
        "seconds": trainer.seconds,
        "tokens": trainer.tracker.total_tokens_used,
        "weights": checkpoints.trainable_state(trainer.model, trainer.is_coordinator()),
        "optimizer": sharding.optimizer_state(trainer.optimizer, trainer.is_coordinator()),
        "scheduler": trainer.scheduler.state_dict(),
        "random": random,
        "random_of_other_workers": others,
        "evaluations": trainer.evaluations.state_dict(),
    }


def restore(trainer: "AnswerTrainer", state: dict[str, Any]) -> None:
    """Puts back what `state_of` returned; a note says when the number of workers is another one."""
    checkpoints.load_trainable_state(trainer.model, state["weights"])
    sharding.load_optimizer_state(trainer.optimizer, state["optimizer"])
    trainer.scheduler.load_state_dict(state["scheduler"])
    trainer.evaluations.load_state_dict(state["evaluations"])
    trainer.tracker.steps, trainer.tracker.total_tokens_used = state["steps"], state["tokens"]
    states = [state["random"], *state.get("random_of_other_workers", [])]
    now = trainer.distributed.size()
    if len(states) != now:
        trainer.note(f"the checkpoint is of {len(states)} workers, and {now} go on: dropout draws other numbers.")
    checkpoints.restore_random_state(states[min(trainer.distributed.rank(), len(states) - 1)])
