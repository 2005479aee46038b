"""Comet, MLflow and W&B in their offline modes: one experiment per run, also after a resume, with its losses."""

import json
import os
import signal
import struct
import zipfile
from pathlib import Path

import pytest
import yaml

from affinage import trackers
from affinage.runs import find_run

TRAINER = {"type": "finetune", "epochs": 2, "batch_size": 4, "learning_rate": 0.01}
QUIET = ("COMET_API_KEY", "COMET_OFFLINE_DIRECTORY", "MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_MODE")


@pytest.fixture(autouse=True)
def no_tracker_of_this_machine(monkeypatch, tmp_path):
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))


@pytest.fixture
def plan(tmp_path, llm_config, sentences):
    from affinage import training

    rows = sentences(24)
    rows["split"] = [0] * 16 + [1] * 4 + [2] * 4
    rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    config = tmp_path / "copie" / "tiny.yaml"
    config.parent.mkdir()
    split = {"split": {"type": "fixed", "column": "split"}}
    config.write_text(yaml.safe_dump(llm_config(preprocessing=split, trainer=TRAINER)))
    return training.plan(config, str(tmp_path / "rows.jsonl"))


@pytest.fixture
def interrupted_and_resumed(plan, tmp_path):
    """A run stopped by Ctrl-C after step 5 of 8, and gone on with."""
    from ludwig.callbacks import Callback

    from affinage import training

    class Stop(Callback):
        def on_batch_end(self, trainer, progress_tracker, save_path, sync_step=True, **kwargs):
            if progress_tracker.steps == 5:
                os.kill(os.getpid(), signal.SIGINT)

    def go():
        run = training.start(plan, tmp_path / "results")
        with pytest.raises(KeyboardInterrupt):
            training.complete(run, plan, [Stop()])
        run = find_run("last", tmp_path / "results")
        return training.complete(run, training.plan_again(run)).run

    return go


def wandb_records(path):
    """The records of a .wandb file: a 7-byte head, then LevelDB log blocks of 32 KiB with 7-byte chunk heads."""
    content, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def losses(run):
    lines = [json.loads(line) for line in (run.folder / "history.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "lr" in line}


def validation_losses(run):
    return {e["step"]: e["validation_loss"] for e in run.manifest["training"]["evaluations"]}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, []),
        ({"WANDB_MODE": "disabled"}, []),
        ({"COMET_API_KEY": " "}, []),
        ({"WANDB_MODE": "offline"}, ["wandb"]),
        (
            {"COMET_OFFLINE_DIRECTORY": "x", "MLFLOW_TRACKING_URI": "y", "WANDB_API_KEY": "z"},
            ["comet", "mlflow", "wandb"],
        ),
    ],
)
def test_a_key_or_an_address_turns_a_tracker_on(environment, expected):
    assert trackers.wanted(environment) == expected


@pytest.mark.slow
def test_mlflow_holds_one_run_that_ended_with_every_evaluation(interrupted_and_resumed, monkeypatch, tmp_path):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    run = interrupted_and_resumed()
    client = MlflowClient(f"file:{tmp_path}/mlruns")
    found = [r for e in client.search_experiments() for r in client.search_runs([e.experiment_id])]
    assert [r.info.status for r in found] == ["FINISHED"]
    assert (
        found[0].data.metrics["tuned_exact_match"] == run.manifest["metrics"]["scores"]["all"]["tuned"]["exact_match"]
    )
    history = client.get_metric_history(found[0].info.run_id, "validation_metrics.output.loss")
    assert {m.step: m.value for m in history} == pytest.approx(validation_losses(run))


@pytest.mark.slow
def test_stock_mlflow_callback_still_splits_a_run(plan, monkeypatch, tmp_path, train, llm_config, sentences):
    """The fault that `trackers.Mlflow` answers: when this fails, the remedy may go."""
    import mlflow
    from ludwig.contribs.mlflow import MlflowCallback

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    callback = MlflowCallback(f"file:{tmp_path}/mlruns", log_artifacts=False)
    train(llm_config(trainer=TRAINER), sentences(16), callbacks=[callback])
    client = mlflow.MlflowClient(f"file:{tmp_path}/mlruns")
    found = [r for e in client.search_experiments() for r in client.search_runs([e.experiment_id])]
    mlflow.end_run()
    assert len(found) > 1


@pytest.mark.slow
def test_comet_writes_each_step_offline_under_one_key(interrupted_and_resumed, monkeypatch, tmp_path):
    monkeypatch.setenv("COMET_OFFLINE_DIRECTORY", str(tmp_path / "comet"))
    run = interrupted_and_resumed()
    archives = sorted(Path(tmp_path / "comet").glob("*.zip"))
    key = run.manifest["trackers"]["comet"]
    assert archives and all(key in archive.name for archive in archives)
    seen = {}
    for archive in archives:
        with zipfile.ZipFile(archive) as content:
            for line in content.read("messages.json").decode().splitlines():
                metric = json.loads(line)["payload"].get("metric") or {}
                if metric.get("metricName") == "loss":
                    seen[metric["step"]] = float(metric["metricValue"])
    assert seen == pytest.approx(losses(run))


@pytest.mark.slow
def test_wandb_writes_each_step_offline_under_one_id(interrupted_and_resumed, monkeypatch):
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    run = interrupted_and_resumed()
    files = sorted((run.folder / "wandb").glob("offline-run-*/*.wandb"))
    assert files and all(run.manifest["trackers"]["wandb"] in file.name for file in files)
    seen = {}
    for file in files:
        for record in map(wandb_internal_pb2.Record.FromString, wandb_records(file)):
            values = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
            if "loss" in values:
                seen[int(values["_step"])] = float(values["loss"])
    assert seen == pytest.approx(losses(run))


@pytest.mark.slow
def test_a_tracker_that_cannot_start_stops_the_run_before_it_trains(plan, monkeypatch, tmp_path):
    from affinage import training
    from affinage.errors import AffinageError

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://at-all")
    with pytest.raises(AffinageError, match=r"mlflow: cannot start.*unset it to train without"):
        training.train(plan, tmp_path / "results")
    assert find_run("last", tmp_path / "results").manifest["status"] == "failed"


def test_both_parts_of_a_run_get_archives_of_their_own_and_training_draws_as_without_comet():
    import random

    from comet_ml.utils import random_ascii_string

    from affinage import trackers

    suffixes = set()
    for _ in range(2):
        random.seed(42)  # as Ludwig does at the start of both parts
        with trackers._chance_of_its_own():
            suffixes.add(random_ascii_string())
        following = random.random()
    random.seed(42)
    assert len(suffixes) == 2
    assert following == random.random()
