"""Runs whose YAML says `backend: {type: ray}`: Ray Train places the workers and starts them again when one dies.

Ludwig's own Ray backend is left out: it registers no trainer for fine-tuning, and the one it has for other models
exchanges no gradients. The driver, the process that a person starts, names the run folder to the workers and reads no
row; what the workers share is the folder, which must lie where all of them can write.
"""

import os
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affinage.configs import apply_overrides
from affinage.console import quiet_libraries
from affinage.errors import AffinageError, Problem
from affinage.launch import PATIENCE, see_one_gpu
from affinage.paths import ROOT
from affinage.runs import Run, find_run

RESTARTS = 3  # after a worker that died, unless the YAML says otherwise


@dataclass(frozen=True)
class Placement:
    """The section `backend` of a config: where the workers run, and how many there are."""

    workers: int = 1
    address: str | None = None
    use_gpu: bool | None = None
    resources: Mapping[str, float] | None = None
    restarts: int = RESTARTS


def placement(config: dict[str, Any], overrides: str = "") -> Placement | None:
    """Where a config wants to be trained; None for this process, which is so unless it says `type: ray`."""
    try:
        pairs = [pair for pair in shlex.split(overrides) if pair.startswith(("backend.", "backend="))]
    except ValueError:  # `begin` says what is wrong with it
        pairs = []
    section = apply_overrides(config, shlex.join(pairs), config).get("backend")
    if section == "ray":
        return Placement()
    if not isinstance(section, Mapping) or section.get("type") != "ray":
        return None
    trainer = section.get("trainer")
    trainer = trainer if isinstance(trainer, Mapping) else {}  # what is wrong in it, `begin` says
    workers, restarts = (trainer.get(key) for key in ("num_workers", "max_failures"))
    return Placement(
        workers if isinstance(workers, int) else 1,
        section.get("address"),
        trainer.get("use_gpu"),
        trainer.get("resources_per_worker"),
        restarts if isinstance(restarts, int) else RESTARTS,
    )


def begin(config: Path, dataset: str, overrides: str, results: Path) -> tuple[Run, dict[str, int], dict[str, int]]:
    """A new run on the cluster, with its rows by split and those left out, all read by one of its nodes."""
    ray = ray_package()
    try:
        folder, rows, dropped = ray.get(ray.remote(_start).remote(sys.argv, config, dataset, overrides, results))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AffinageError):
            raise error.cause from None
        raise
    return find_run(folder), rows, dropped


def _start(
    command: list[str], config: Path, dataset: str, overrides: str, results: Path
) -> tuple[str, dict[str, int], dict[str, int]]:
    os.chdir(ROOT)
    sys.argv = command  # which run.json records
    from affinage import preview, run_copies, training
    from affinage.ludwig_ext.workers import refuse

    quiet_libraries()
    plan = training.plan(config, dataset, overrides)
    place = placement(plan.config)
    refuse(plan.resolved, place.workers if place else 1)
    run_copies.check(plan.config)
    preview.refuse(plan)
    return str(training.start(plan, results).folder), plan.sizes, plan.dropped


def train(place: Placement, run: Run) -> Run:
    """Trains a run on the cluster. Raises AffinageError for what a person must mend, whichever worker found it."""
    _fit(place, str(run.folder))
    return _ended(find_run(str(run.folder)))


def ray_package() -> Any:
    """Ray itself. Raises AffinageError when it is not installed."""
    try:
        import ray
    except ImportError as error:
        found = "'ray' needs a package that is not installed."
        raise AffinageError(Problem("backend.type", found, "local, or ray", "Type: make ray")) from error
    return ray


@contextmanager
def cluster(place: Placement, shown: bool = True) -> Iterator[None]:
    """Inside, this process is joined to the cluster at `address` or RAY_ADDRESS, or to one of its own.

    `shown` says whether it shows what the workers write.
    """
    ray = ray_package()
    address = place.address or os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = (
        {} if address else {"include_dashboard": False, "num_cpus": max(place.workers, os.cpu_count() or 1)}
    )
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=shown, logging_level="ERROR", **own)
    except OSError as error:
        found = f"no Ray cluster answers at '{address}'."
        raise AffinageError(Problem("backend.address", found, remedy="Start one: ray start --head")) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Raises OSError when nothing listens at host:port, where Ray itself would try for minutes."""
    host, colon, port = (address or "").rpartition(":")
    if colon and "://" not in host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _fit(place: Placement, folder: str) -> None:
    import torch
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    use_gpu = torch.cuda.is_available() if place.use_gpu is None else place.use_gpu
    scaling = ScalingConfig(
        num_workers=place.workers,
        use_gpu=use_gpu,
        resources_per_worker=dict(place.resources) if place.resources else None,
    )
    trainer = TorchTrainer(
        work,
        train_loop_config={"run": folder},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo", timeout_s=int(PATIENCE.total_seconds())),
        scaling_config=scaling,
        run_config=RunConfig(
            name="ray", storage_path=str(Path(folder)), failure_config=FailureConfig(max_failures=place.restarts)
        ),
    )
    trainer.fit()


def work(config: dict[str, str]) -> None:
    """What each worker does.

    What a person must mend ends the run and stands in run.json. Any other error, and a worker that dies, makes Ray
    start all of them again, from the last checkpoint.
    """
    os.chdir(ROOT)
    see_one_gpu()
    from affinage import joint_runs, training
    from affinage.ludwig_ext.workers import Workers

    quiet_libraries()
    run = find_run(config["run"])
    try:
        training.complete(run, joint_runs.plan_together(lambda: training.plan_again(run)))
    except AffinageError as error:
        if Workers().is_coordinator():
            run.record(status="failed", error=str(error))


def _ended(run: Run) -> Run:
    if run.manifest["status"] != "finished":
        found = f"it ended with {run.manifest.get('error')}."
        remedy = f"See {run.folder / 'train.log'}, then: make train RESUME={run.folder.name}"
        raise AffinageError(Problem(f"run {run.folder.name}", found, remedy=remedy))
    return run
