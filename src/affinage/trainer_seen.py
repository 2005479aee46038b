"""The trainer that Ludwig makes and drops inside `LudwigModel.train`, kept hold of while it works."""

from typing import Any

from ludwig.callbacks import Callback

from affinage.runs import Run


class TrainerSeen(Callback):
    """Holds the trainer once it is set up, and tells the run's manifest how many steps are planned."""

    trainer: Any = None

    def __init__(self, run: Run) -> None:
        self._run = run

    def on_trainer_train_setup(self, trainer, save_path, is_coordinator, **kwargs):
        self.trainer = trainer

    def on_epoch_start(self, trainer, progress_tracker, save_path):
        if trainer.is_coordinator() and self._run.manifest.get("planned_steps") != trainer.total_steps:
            self._run.record(planned_steps=trainer.total_steps)  # so that others see how far it is
