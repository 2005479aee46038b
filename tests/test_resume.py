"""Runs that end early and go on: the same losses as a run that was never stopped."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml

from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.runs import find_run

TRAINER = {
    "type": "finetune",
    "epochs": 3,
    "batch_size": 4,
    "eval_batch_size": 8,
    "learning_rate": 0.01,
    "learning_rate_scheduler": {"decay": "cosine", "warmup_fraction": 0.2},
}
DROPOUT = {"type": "lora", "dropout": 0.1}
NF4 = {"bits": 4, "bnb_4bit_compute_dtype": "float32"}


@pytest.fixture
def project(tmp_path, llm_config, sentences):
    rows = sentences(56)
    rows["split"] = [0] * 40 + [1] * 8 + [2] * 8
    data = tmp_path / "rows.jsonl"
    rows.to_json(data, orient="records", lines=True)

    def write(**sections):
        split = {"split": {"type": "fixed", "column": "split"}}
        path = tmp_path / "copie" / "tiny.yaml"
        path.parent.mkdir(exist_ok=True)
        config = llm_config(**({"preprocessing": split, "trainer": TRAINER, "adapter": DROPOUT} | sections))
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path, data

    return write


def losses(folder):
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "lr" in line]


class StopAt:
    """Sends Ctrl-C to this process after some optimizer steps."""

    def __new__(cls, step):
        from ludwig.callbacks import Callback

        class Stop(Callback):
            def on_batch_end(self, trainer, progress_tracker, save_path, sync_step=True, **kwargs):
                if progress_tracker.steps == step:
                    os.kill(os.getpid(), signal.SIGINT)

        return Stop()


@pytest.fixture
def stopped(project, tmp_path):
    """A run stopped by Ctrl-C after 14 of 30 steps, in mid-epoch."""
    from affinage import training

    def go(step=14, **sections):
        config, data = project(**sections)
        ready = training.plan(config, str(data))
        run = training.start(ready, tmp_path / "cut")
        with pytest.raises(KeyboardInterrupt, match=f"step {step}"):
            training.complete(run, ready, [StopAt(step)])
        return find_run("last", tmp_path / "cut")

    return go


@pytest.mark.slow
@pytest.mark.parametrize("sections", [{}, {"adapter": None}, {"quantization": NF4}], ids=["lora", "full", "4-bit"])
def test_a_run_stopped_in_mid_epoch_ends_as_an_uninterrupted_one(sections, project, stopped, tmp_path):
    from affinage import training

    config, data = project(**sections)
    whole = training.train(training.plan(config, str(data)), tmp_path / "whole")
    run = stopped(**sections)
    assert run.manifest["status"] == "interrupted"
    outcome = training.complete(run, training.plan_again(run))
    assert losses(run.folder) == losses(whole.run.folder)
    assert [record["tuned"] for record in outcome.records] == [record["tuned"] for record in whole.records]
    assert outcome.run.manifest["status"] == "finished"
    assert outcome.run.manifest["training"]["tokens"] == whole.run.manifest["training"]["tokens"]


@pytest.mark.slow
@pytest.mark.parametrize("step", [10, 30], ids=["at an evaluation", "at the last step"])
def test_a_stop_on_a_step_that_evaluates_does_not_lose_the_evaluation(step, project, stopped, tmp_path):
    from affinage import training

    config, data = project()
    whole = training.train(training.plan(config, str(data)), tmp_path / "whole").run.manifest["training"]
    run = stopped(step=step)
    again = training.complete(run, training.plan_again(run)).run.manifest["training"]
    assert again["evaluations"] == whole["evaluations"]
    assert again["best_step"] == whole["best_step"]


@pytest.mark.slow
def test_a_checkpoint_cut_in_half_is_said_and_the_one_before_is_used(project, stopped, tmp_path, capfd):
    from affinage import training

    config, data = project()
    whole = training.train(training.plan(config, str(data)), tmp_path / "whole")
    run = stopped(step=14)
    latest = run.model_folder / "training_checkpoints" / "latest.pt"
    latest.write_bytes(latest.read_bytes()[: latest.stat().st_size // 2])
    outcome = training.complete(run, training.plan_again(run))
    assert "latest.pt cannot be read" in capfd.readouterr().err
    assert "latest.pt cannot be read" in outcome.run.manifest["training"]["notes"][0]
    assert losses(run.folder) == losses(whole.run.folder)


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_the_last_checkpoint_and_training_goes_on(project, tmp_path, monkeypatch):
    from affinage import training
    from affinage.ludwig_ext import checkpoints

    written = checkpoints._written

    def full(path, state):
        if path.name == "latest.pt" and state["steps"] == 20:
            raise OSError(28, "No space left on device")
        return written(path, state)

    monkeypatch.setattr(checkpoints, "_written", full)
    config, data = project()
    outcome = training.train(training.plan(config, str(data)), tmp_path / "results")
    assert "step 20 could not be written: [Errno 28]" in outcome.run.manifest["training"]["notes"][0]
    assert checkpoints.load(outcome.run.model_folder / "training_checkpoints" / "latest.pt")["steps"] == 30


@pytest.mark.slow
def test_data_that_changed_since_the_run_began_is_refused(stopped, tmp_path):
    from affinage import training

    run = stopped()
    rows = pd.read_json(tmp_path / "rows.jsonl", lines=True)
    rows.loc[0, "output"] = "CHANGED"
    rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    with pytest.raises(AffinageError, match=r"data has changed since: rows\.jsonl"):
        training.plan_again(run)


@pytest.mark.slow
def test_a_killed_run_goes_on_from_the_command_line_to_the_same_losses(project, tmp_path):
    config, data = project(trainer={**TRAINER, "epochs": 12})
    command = [sys.executable, ROOT / "tools" / "train.py", "--results", tmp_path / "results"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = [*command, "--config", config, "--dataset", data]
    subprocess.run(start, check=True, env=environment, capture_output=True)
    (whole,) = (tmp_path / "results").glob("*/*/*")
    running = subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        folders = [path for path in (tmp_path / "results").glob("*/*/*") if path != whole]
        if folders and (folders[0] / "model" / "training_checkpoints" / "latest.pt").exists():
            break
        time.sleep(0.02)
    running.kill()
    running.wait()
    done = subprocess.run([*command, "--resume", "last"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert losses(folders[0]) == losses(whole)


def test_resume_of_a_run_that_is_not_there_names_the_runs_that_are(tmp_path):
    from affinage.runs import create_run

    run = create_run("task", "config", tmp_path)
    with pytest.raises(AffinageError, match=rf"0 runs of that name.*{run.folder.name}"):
        find_run("20200101-000000", tmp_path)
    run.record(status="finished")
    with pytest.raises(AffinageError, match="no run that ended early"):
        find_run("last", tmp_path)
