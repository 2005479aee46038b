"""Brings the copies of a run up to date whenever it has saved a checkpoint."""

from ludwig.callbacks import Callback

from affinage.run_copies import RunCopy


class CopyAtCheckpoints(Callback):
    """Keeps one copy; when it cannot be written, a note of the run says why."""

    def __init__(self, copy: RunCopy) -> None:
        self.copy, self._said = copy, ""

    def on_checkpoint(self, trainer, progress_tracker) -> None:
        reason = self.copy.update()
        if reason != self._said:
            trainer.note(reason)
        self._said = reason
