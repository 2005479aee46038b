"""Several processes on this machine that train one model together, started and ended as one; imports nothing heavy."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO

SECONDS_TO_SAY_WHY = 10  # for the others, once one has failed: what is wrong for it is mostly wrong for them
SECONDS_TO_END = 60
PATIENCE = timedelta(hours=12)  # of workers, while the first one reads the rows
TASK = "AFFINAGE_RAY_TASK"  # set where a Ray task is a whole run of one process


def in_group() -> bool:
    """Whether this process is one of several that torchrun, Ray, Slurm or `launch` has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def see_one_gpu() -> None:
    """Hides all GPUs but this process's own, onto which Ludwig then loads the model. To be called before torch is
    imported.
    """
    if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) < 2:
        return
    rank, visible = int(os.environ["LOCAL_RANK"]), os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else []
    if visible is None or len(names) > rank:
        os.environ["CUDA_VISIBLE_DEVICES"] = names[rank] if names else str(rank)


def launch(command: Sequence[str], n: int) -> int:
    """Runs the command in `n` processes, with torchrun's variables, and returns the exit code of the first to fail.

    Only the first process is shown; what another one wrote is shown when it fails by itself. Ctrl-C reaches all of
    them, and each ends its step.
    """
    with tempfile.TemporaryDirectory(prefix="affinage-workers-") as folder, _signals_passed_on() as processes:
        logs = [(Path(folder) / f"{rank}.log").open("w+b") for rank in range(1, n)]
        port = _free_port()
        for rank in range(n):
            shown = {} if rank == 0 else {"stdout": subprocess.DEVNULL, "stderr": logs[rank - 1]}
            processes.append(subprocess.Popen(command, env=_environment(rank, n, port), **shown))  # type: ignore[call-overload]
        try:
            return _wait(processes, logs)
        finally:
            for log in logs:
                log.close()


def _environment(rank: int, n: int, port: int) -> dict[str, str]:
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // n)))
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n}
    given = {name: str(value) for name, value in ranks.items()}
    return {**os.environ, **given, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": threads}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(processes: Sequence[subprocess.Popen[bytes]], logs: Sequence[IO[bytes]]) -> int:
    """The exit code of the first that fails, after the others have ended or were ended; 0 when none fails."""
    first, since, asked = None, 0.0, False
    while None in [process.poll() for process in processes]:
        if first is None:
            first, since = _failed(processes), time.monotonic()
        elif time.monotonic() - since > SECONDS_TO_END:
            for process in processes:
                process.kill()
        elif time.monotonic() - since > SECONDS_TO_SAY_WHY and not asked:  # asked again, they would drop their work
            asked = True
            for process in processes:
                process.terminate()
        time.sleep(0.05)
    first = _failed(processes) if first is None else first
    if first is None:
        return 0
    code = processes[first].returncode
    if first > 0 and code not in (130, processes[0].returncode):
        _show(logs[first - 1], first)
    return code if code > 0 else 128 - code  # as shells count a signal


def _failed(processes: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """The lowest rank that has ended badly."""
    return next((rank for rank, process in enumerate(processes) if process.returncode), None)


def _show(log: IO[bytes], rank: int) -> None:
    log.seek(0)
    sys.stderr.write(f"worker {rank} failed:\n{log.read().decode(errors='replace')}")


@contextmanager
def _signals_passed_on() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Inside, this process outlives Ctrl-C, which its terminal sends to the others too, and passes SIGTERM on."""
    processes: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: object) -> None:
        for process in processes:
            process.send_signal(number)

    # a handler, because what is ignored here would be ignored by the others too
    before = {signal.SIGINT: signal.signal(signal.SIGINT, lambda number, frame: None)}
    before[signal.SIGTERM] = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield processes
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
