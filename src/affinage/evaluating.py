"""One evaluation whose rows several processes share: those that `launch` starts on this machine, or Ray tasks.

Each of them loads the model, answers every n-th batch and keeps the answers in a file of its own, from which the whole
is put together in the end.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from affinage import predictions, ray_tasks, subjects
from affinage.encoder_predictions import EncoderSubject
from affinage.errors import AffinageError, Problem
from affinage.kept_answers import KeptAnswers, progress_of
from affinage.paths import RESULTS
from affinage.predictions import Answered, Request, Share, answer_share, finish
from affinage.ray_runs import Placement, cluster
from affinage.runs import find_run
from affinage.subjects import Subject, adapter_folder

SECONDS = 0.2  # between two looks at the answers of the others


@dataclass(frozen=True)
class Target:
    """What is evaluated, by names alone: the folder of a run, or an adapter with its config; other rows if given."""

    run: str = ""
    adapter: str = ""
    config: Path = Path()
    dataset: str = ""
    results: Path = RESULTS

    @property
    def folder(self) -> Path:
        """The folder in which the evaluations lie."""
        return Path(self.run) if self.run else adapter_folder(self.adapter, self.results)

    def open(self) -> Subject | EncoderSubject:
        """The loaded model and its rows. Raises AffinageError as `subjects` does."""
        if self.run:
            return subjects.open_to_evaluate(find_run(self.run), self.dataset)
        return subjects.open_adapter(self.adapter, self.config, self.dataset, self.results)


def answer_alone(target: Target, request: Request, folder: Path, progress: Callable[[int, int], Any]) -> Path:
    """All rows answered by this process; see `predictions.predict`."""
    return predictions.predict(target.open(), request, folder, progress)


def answer_in_group(target: Target, request: Request, folder: Path, progress: Callable[[int, int], Any]) -> Path | None:
    """What each process of `launch` does; the first one returns the path of the predictions, once all are there."""
    started = time.monotonic()
    share = Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    answered = _answer(target, request, folder, share, progress, _meet)
    if share.rank:
        return None
    kept = KeptAnswers(folder, answered.fingerprint, answered.rows)
    while (done := kept.refresh()) < answered.rows:
        progress(done, answered.rows)
        time.sleep(SECONDS)
    progress(done, answered.rows)
    return finish(folder, answered, started)


def answer_on_ray(
    place: Placement, target: Target, request: Request, folder: Path, progress: Callable[[int, int], Any]
) -> Path:
    """All rows answered by as many Ray tasks as the config asks for workers; this process reads no row.

    Raises AffinageError for what a person must mend, whichever task found it.
    """
    started = time.monotonic()

    def show(at_work: list[int]) -> None:
        progress(*progress_of(folder))

    tasks = {rank: (target, request, folder, Share(rank, place.workers)) for rank in range(place.workers)}
    with cluster(place, shown=False):
        answered = [found for _, found in ray_tasks.side_by_side(place, _answer, tasks, show=show)]
    progress(answered[0].rows, answered[0].rows)
    # one that was started later has seen answers of the others
    first = min(answered, key=lambda found: found.description["rows_kept_from_before"])
    return finish(folder, first, started)


def _answer(
    target: Target,
    request: Request,
    folder: Path,
    share: Share,
    progress: Callable[[int, int], Any] = lambda done, total: None,
    all_ready: Callable[[], Any] = lambda: None,
) -> Answered:
    subject = target.open()
    if isinstance(subject, EncoderSubject):
        raise AffinageError(Problem("GPUS", "an encoder names its labels in one process.", "1", "Type: GPUS=1"))
    return answer_share(subject, request, folder, share, progress, all_ready)


def _meet() -> None:
    """Waits for all processes of the group: none may put kept answers away that another has not read yet."""
    dist.init_process_group("gloo")
    dist.barrier()
    dist.destroy_process_group()
