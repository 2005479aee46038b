"""Runs killed with SIGKILL at 20 moments go on to the losses of a run that never stopped; runs side by side too.

Each run is a process of its own, forked from a server that has loaded Ludwig once.
"""

import json
import multiprocessing
import os
import random
import signal
import time

import pytest
import yaml

from affinage.runs import all_runs, find_run

TRAINER = {
    "type": "finetune",
    "epochs": 6,
    "batch_size": 4,
    "eval_batch_size": 8,
    "learning_rate": 0.01,
    "learning_rate_scheduler": {"decay": "cosine", "warmup_fraction": 0.2},
}
KINDS = {"lora": {"adapter": {"type": "lora", "dropout": 0.1}}, "full": {"adapter": None}}
RANDOM_MOMENTS = 14
processes = multiprocessing.get_context("forkserver")


def begin(config, data, results, suicide=None):
    from affinage import training

    _silence()
    if suicide:
        _kill_at(suicide)
    ready = training.plan(config, str(data))
    training.complete(training.start(ready, results), ready)


def go_on(results):
    from affinage import training

    _silence()
    run = find_run("last", results)
    training.complete(run, training.plan_again(run))


def _silence():
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def _die(*_arguments, **_keywords):
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_at(moment):
    """Arranges that this process dies inside a named part of the work."""
    from ludwig.api import LudwigModel

    from affinage.ludwig_ext import checkpoints, evaluation
    from affinage.ludwig_ext.trainer import AnswerTrainer

    if moment == "preprocessing":
        LudwigModel.preprocess = _die
    elif moment == "evaluation":
        evaluation.Evaluations._samples = _nth(3, _die, evaluation.Evaluations._samples)
    elif moment == "writing a checkpoint":
        checkpoints.torch.save = _nth(4, _half_a_file, checkpoints.torch.save)
    elif moment == "between two checkpoint files":
        checkpoints.Checkpoints.save = _nth(3, _rename_one, checkpoints.Checkpoints.save)
    elif moment == "the first step":
        AnswerTrainer._step = _die
    elif moment == "writing the run's answers":
        from affinage import training

        training.write_jsonl = _die


def _nth(n, then, otherwise):
    calls = []

    def call(*arguments, **keywords):
        calls.append(1)
        return (then if len(calls) == n else otherwise)(*arguments, **keywords)

    return call


def _half_a_file(state, file):
    file.write(b"half a checkpoint")
    file.flush()
    _die()


def _rename_one(self, state):
    self.latest.replace(self.previous)
    _die()


MOMENTS = (
    "preprocessing",
    "evaluation",
    "writing a checkpoint",
    "between two checkpoint files",
    "the first step",
    "writing the run's answers",
)


@pytest.fixture
def project(tmp_path, llm_config, sentences):
    rows = sentences(56)
    rows["split"] = [0] * 40 + [1] * 8 + [2] * 8
    rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)

    def write(kind):
        path = tmp_path / kind / "tiny.yaml"
        path.parent.mkdir(exist_ok=True)
        split = {"split": {"type": "fixed", "column": "split"}}
        path.write_text(yaml.safe_dump(llm_config(preprocessing=split, trainer=TRAINER, **KINDS[kind])))
        return path, tmp_path / "rows.jsonl"

    return write


def run(target, *arguments, kill_after=None):
    """Seconds that the process took; it must end well unless it is to be killed."""
    process = processes.Process(target=target, args=arguments)
    started = time.monotonic()
    process.start()
    process.join(kill_after)
    if process.is_alive():
        process.kill()
        process.join()
    seconds = time.monotonic() - started
    assert process.exitcode in ((0, -signal.SIGKILL) if kill_after else (0,)), process.exitcode
    return seconds


def losses(folder):
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "lr" in line]


def answers(folder):
    return [json.loads(line)["tuned"] for line in (folder / "predictions.jsonl").read_text().splitlines()]


def ends_like(whole, results):
    (resumed,) = all_runs(results)
    assert resumed.manifest["status"] == "finished"
    assert losses(resumed.folder) == pytest.approx(losses(whole.folder), abs=1e-6)
    assert resumed.manifest["training"]["best_step"] == whole.manifest["training"]["best_step"]
    assert answers(resumed.folder) == answers(whole.folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_at_any_moment_ends_as_one_that_was_not(kind, project, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config, data = project(kind)
    run(_silence)  # what loading Ludwig in the server takes is no time of a run
    seconds = run(begin, config, data, tmp_path / "whole")
    (whole,) = all_runs(tmp_path / "whole")
    draw = random.Random(kind)
    moments = [draw.uniform(0.05, 0.95) * seconds for _ in range(RANDOM_MOMENTS // 2)] + list(
        MOMENTS[:: len(KINDS)] if kind == "lora" else MOMENTS[1 :: len(KINDS)]
    )
    killed = []
    for number, moment in enumerate(moments):
        results = tmp_path / f"killed-{number}"
        if isinstance(moment, str):
            process = processes.Process(target=begin, args=(config, data, results, moment))
            process.start()
            process.join()
            assert process.exitcode == -signal.SIGKILL, moment
        else:
            run(begin, config, data, results, kill_after=moment)
        runs = all_runs(results)
        if not runs:  # killed before there was a run to go on with
            run(begin, config, data, results)
        elif runs[0].status == "killed":
            killed.append(moment)
            run(go_on, results)
        ends_like(whole, results)
    assert {moment for moment in moments if isinstance(moment, str)} <= set(killed), killed
    assert any(isinstance(moment, float) for moment in killed), killed
    assert len(killed) >= len(moments) // 2, killed


@pytest.mark.slow
def test_two_runs_at_once_do_not_disturb_each_other(project, tmp_path):
    config, data = project("lora")
    run(begin, config, data, tmp_path / "alone")
    (alone,) = all_runs(tmp_path / "alone")
    both = [processes.Process(target=begin, args=(config, data, tmp_path / "both")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    runs = all_runs(tmp_path / "both")
    assert [found.manifest["status"] for found in runs] == ["finished"] * 2
    assert all(losses(found.folder) == losses(alone.folder) for found in runs)
    assert all(answers(found.folder) == answers(alone.folder) for found in runs)
