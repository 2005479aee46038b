"""Folds, trials and shares of answers that run side by side on a Ray cluster, each a task of one process.

A task is given paths and numbers, and reads the rows itself. Ray starts it again when its process dies; what it had
done until then is in its folder, from which it goes on.
"""

import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from affinage.configs import read_config
from affinage.console import progress_bar_options, quiet_libraries
from affinage.errors import AffinageError, Problem
from affinage.launch import TASK
from affinage.paths import ROOT
from affinage.ray_runs import Placement, cluster, placement, ray_package
from affinage.runs import Run
from affinage.series import Series

SECONDS = 1  # between two looks at what is at work
SECONDS_TO_STOP = 60  # for a task that is asked to: it ends its step and saves a checkpoint
HISTORY_READ = 2**16  # bytes, among which there is the last step
STEP = re.compile(rb'"step": (\d+)')
SECONDS_TO_DIE = 60  # for the process of a driver that was killed, which may still hold a run


def series_placement(config: dict[str, Any], overrides: str) -> Placement | None:
    """Where the runs of a k-fold or a sweep are trained side by side; None for one after the other, in this process.

    Raises AffinageError when each of them wants several workers, or when Ray is not installed.
    """
    place = placement(config, overrides)
    if place is None:
        return None
    ray_package()
    if place.workers > 1:
        found = f"is {place.workers}, but each fold or trial is one task of one process, and these run side by side."
        remedy = "Type: SET=backend.trainer.num_workers=1"
        raise AffinageError(Problem("backend.trainer.num_workers", found, "1", remedy))
    return place


@contextmanager
def placed(series: Series) -> Iterator[Placement | None]:
    """Inside, the cluster that the config of a series asks for is joined; None when it asks for none."""
    place = series_placement(read_config(series.config), series.state["set"])
    if place is None:
        yield None
        return
    with cluster(place, shown=False):
        yield place


def side_by_side(
    place: Placement,
    work: Callable[..., Any],
    tasks: Mapping[int, tuple[Any, ...]],
    failed: Callable[[int, Exception], Any] | None = None,
    show: Callable[[list[int]], Any] = lambda at_work: None,
    at_most: int | None = None,
) -> Iterator[tuple[int, Any]]:
    """What `work` returns for the arguments of each task, as they end; as many at once as the cluster has room for, and
    no more than `at_most`.

    `show` is given the tasks at work, about once a second. A task that raises, or whose process dies more than
    `max_failures` times, gives what `failed` makes of it. Without that, no task is started after it, those at work end,
    and it is raised. After Ctrl-C, those at work are asked to stop, and waited for.
    """
    import ray

    remote = ray.remote(_do).options(**_options(place))
    if not room(place):
        tqdm.write(f"waiting: no machine of the cluster has {resources_shown(place)}", file=sys.stderr)
    waiting, at_work, error = deque(tasks.items()), dict[Any, int](), None
    try:
        while waiting or at_work:
            limit = max(1, room(place, at_most))  # one waits in Ray for a machine that is large enough
            while waiting and len(at_work) < limit:
                number, arguments = waiting.popleft()
                at_work[remote.remote(sys.argv, work, arguments)] = number
            for reference in ray.wait(list(at_work), timeout=SECONDS)[0]:
                found = _found(reference)
                number = at_work.pop(reference)
                if not isinstance(found, Exception):
                    yield number, found
                elif failed:
                    yield number, failed(number, found)
                else:
                    error = error or found
                    waiting.clear()
                    if at_work:
                        tqdm.write(f"{number} failed, and {len(at_work)} at work end first: {found}", file=sys.stderr)
            show(sorted(at_work.values()))
    finally:
        _stop(list(at_work))
    if error:
        raise error


def room(place: Placement, at_most: int | None = None) -> int:
    """How many tasks the machines of the cluster hold at once, `at_most` at most; what others run does not count."""
    import ray

    needed = {name: amount for name, amount in _resources(place).items() if amount}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fitting = sum(min(int(node.get(name, 0) // amount) for name, amount in needed.items()) for node in nodes)
    return min(fitting, at_most or fitting)


def resources_shown(place: Placement) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in _resources(place).items() if amount)


def _resources(place: Placement) -> dict[str, float]:
    import torch

    use_gpu = torch.cuda.is_available() if place.use_gpu is None else place.use_gpu
    return {"CPU": 1, "GPU": int(use_gpu), **(place.resources or {})}


def _options(place: Placement) -> dict[str, Any]:
    others = _resources(place)
    cpu, gpu = others.pop("CPU"), others.pop("GPU")
    return {
        "num_cpus": cpu,
        "num_gpus": gpu,
        "resources": others,
        "max_retries": place.restarts,
        "scheduling_strategy": "SPREAD",
    }


def _do(command: list[str], work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """What a task does, in a process of the cluster; `command` is what runs put on record, instead of Ray's own."""
    os.chdir(ROOT)
    sys.argv = command
    os.environ[TASK] = "1"
    quiet_libraries()
    return work(*arguments)


def _found(reference: Any) -> Any:
    """What a task returned, or the exception that ended it: its own, or Ray's when its process died."""
    from ray import exceptions, get

    try:
        return get(reference)
    except exceptions.RayTaskError as error:
        return error.cause if isinstance(error.cause, AffinageError) else error
    except exceptions.RayError as error:
        return error


def _stop(references: list[Any]) -> None:
    """Asks tasks to stop, as Ctrl-C would, and waits until they have."""
    import ray

    if not references:
        return
    tqdm.write("stopping after this step; once more stops at once", file=sys.stderr)
    for reference in references:
        ray.cancel(reference)
    ray.wait(references, num_returns=len(references), timeout=SECONDS_TO_STOP)


def wait_for_former(series: Series, number: int) -> None:
    """Waits for a process that still holds the run of that number, because its driver was killed a moment ago."""
    run, started = series.run(number), time.monotonic()
    while run and run.status == "running" and time.monotonic() - started < SECONDS_TO_DIE:
        time.sleep(1)


@contextmanager
def shown(
    series: Series, place: Placement, unit: str, todo: int, at_most: int | None = None
) -> Iterator[Callable[[list[int]], None]]:
    """A bar of the runs that have ended, with the step of each one that is at work; gives what is to be called with
    the numbers of these.
    """
    at_once = f"{max(1, room(place, at_most))} {unit}s at once, each with {resources_shown(place)}"
    tqdm.write(f"{at_once}; one after the other: SET=backend.type=local", file=sys.stderr)
    runs: dict[int, Run | None] = {}
    ended: set[int] = set()
    with tqdm(total=todo, desc=f"{unit}s", unit=unit, miniters=0, **progress_bar_options()) as bar:

        def show(at_work: list[int]) -> None:
            ended.update(number for number in runs if number not in at_work)
            for number in at_work:
                runs[number] = runs.get(number) or series.run(number)
            steps = [
                f"{number} (step {last_step(run)})" if (run := runs[number]) else f"{number}" for number in at_work
            ]
            bar.set_postfix_str(f"at work: {', '.join(steps)}", refresh=False)
            bar.update(len(ended) - bar.n)

        yield show


def last_step(run: Run) -> int:
    """The last step that a run at work has recorded, 0 before the first."""
    path = run.folder / "history.jsonl"
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - HISTORY_READ))
        found = STEP.findall(file.read())
    return int(found[-1]) if found else 0
