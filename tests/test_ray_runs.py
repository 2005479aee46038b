"""Runs on a Ray cluster of two nodes on this machine: placed, killed, gone on with, and refused with a reason."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from affinage import ray_runs
from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.runs import all_runs

TRAINER = {
    "type": "finetune",
    "train_steps": 200,
    "batch_size": 6,
    "eval_batch_size": 8,
    "learning_rate": 0.005,
    "steps_per_checkpoint": 20,
}
TWO = {"type": "ray", "trainer": {"num_workers": 2, "strategy": "ddp", "use_gpu": False}}


@pytest.fixture
def project(tmp_path, llm_config, sentences):
    """Writes rows and a config that wants two workers on Ray."""

    def write(rows=40, repeat=1, **sections):
        table = sentences(rows)
        table["split"] = [0] * (rows - 15) + [1] * 8 + [2] * 7
        text = table.to_json(orient="records", lines=True)
        (tmp_path / "rows.jsonl").write_text(text * repeat)
        path = tmp_path / "task" / "tiny.yaml"
        path.parent.mkdir(exist_ok=True)
        split = {"split": {"type": "fixed", "column": "split"}}
        config = llm_config(preprocessing=split, **{"trainer": TRAINER, "backend": TWO, **sections})
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    return write


def command(config, results):
    rows = str(config.parent.parent / "rows.jsonl")
    named = {"--config": str(config), "--dataset": rows, "--results": str(results)}
    return [sys.executable, str(ROOT / "tools" / "train.py"), *(part for pair in named.items() for part in pair)]


def environment(address):
    return {**os.environ, "RAY_ADDRESS": address, "RAY_TRAIN_WORKER_HEALTH_CHECK_INTERVAL_S": "0.5"}


def train(config, results, address):
    """The only run below `results`, and what the command wrote to its standard output."""
    done = subprocess.run(command(config, results), env=environment(address), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (run,) = all_runs(results)
    return run, done.stdout


def losses(run):
    lines = [json.loads(line) for line in (run.folder / "history.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "lr" in line]


def workers(folder):
    """The processes that train the run: those that hold its log open, the one that writes its history first."""
    found = []
    for process in psutil.process_iter(["name"]):
        if "RayTrainWorker" not in process.info["name"]:
            continue
        try:
            found.append((str(folder / "history.jsonl") not in [file.path for file in process.open_files()], process))
        except psutil.Error:
            continue
    return [process for _, process in sorted(found, key=lambda one: one[0])]


def kill_at(step, results, rank, deadline=400):
    """Kills a worker of the run once its history has so many lines."""
    started = time.monotonic()
    while time.monotonic() - started < deadline:
        for run in all_runs(results):
            history = run.folder / "history.jsonl"
            if history.exists() and len(history.read_text().splitlines()) >= step:
                found = workers(run.folder)
                if len(found) == 2:
                    found[rank].kill()
                    found[rank].wait(10)
                    return
        time.sleep(0.02)
    raise AssertionError(f"no worker to kill at step {step}")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_workers_killed_at_three_moments_end_as_those_that_were_not(project, cluster, tmp_path):
    config = project(adapter={"type": "lora", "dropout": 0.1})
    whole, printed = train(config, tmp_path / "whole", cluster)
    assert f"Run folder:  {whole.folder}" in printed and whole.manifest["training"]["workers"] == 2
    assert whole.manifest["command"] == ["train.py", *command(config, tmp_path / "whole")[2:]]
    killed = subprocess.Popen(
        command(config, tmp_path / "killed"), env=environment(cluster), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    kill_at(1, tmp_path / "killed", rank=1)
    kill_at(70, tmp_path / "killed", rank=0)
    kill_at(150, tmp_path / "killed", rank=1)
    shown, _ = killed.communicate(timeout=300)
    assert killed.returncode == 0, shown.decode()[-4000:]
    (run,) = all_runs(tmp_path / "killed")
    assert run.status == "finished" and run.manifest["training"]["steps"] == 200
    assert losses(run) == pytest.approx(losses(whole), abs=1e-6)
    answers = [(one.folder / "predictions.jsonl").read_text() for one in (run, whole)]
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_a_run_to_go_on_with(project, cluster, tmp_path):
    config = project()
    driver = subprocess.Popen(command(config, tmp_path / "results"), env=environment(cluster))
    started = time.monotonic()
    while not list((tmp_path / "results").glob("*/*/*/model/training_checkpoints/latest.pt")):
        assert time.monotonic() - started < 400 and driver.poll() is None
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    (run,) = all_runs(tmp_path / "results")
    while run.status == "running":  # until Ray has ended the workers
        assert time.monotonic() - started < 500
        time.sleep(0.1)
    assert run.status == "killed" and len(losses(run)) < 200
    again = [*command(config, tmp_path / "results")[:2], "--resume", "last", "--results", str(tmp_path / "results")]
    done = subprocess.run(again, env=environment(cluster), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    (run,) = all_runs(tmp_path / "results")
    assert run.status == "finished" and len(losses(run)) == 200


DRIVER = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_memory_of_the_driver_does_not_grow_with_the_rows(project, cluster, tmp_path):
    peaks = {}
    for repeat in (25, 2500):
        config = project(trainer={**TRAINER, "train_steps": 1}, repeat=repeat)
        script = command(config, tmp_path / str(repeat))
        measured = [script[0], "-c", DRIVER, *script[1:]]
        done = subprocess.run(measured, env=environment(cluster), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        peaks[40 * repeat] = int(done.stdout.rpartition("PEAK ")[2])
    assert peaks[100_000] < 1.03 * peaks[1_000], peaks


WRONG = [
    ({"trainer": {**TRAINER, "batch_size": "auto"}}, "trainer.batch_size: 'auto' would be looked for by each"),
    (
        {"backend": {"type": "ray", "trainer": {"num_workers": "two"}}},
        "'backend.trainer.num_workers' is the text 'two'",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("sections", "message"), WRONG)
def test_what_the_first_node_finds_wrong_is_said_as_anywhere(sections, message, project, cluster, tmp_path):
    config = project(**sections)
    done = subprocess.run(command(config, tmp_path / "r"), env=environment(cluster), capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr
    assert "Traceback" not in done.stderr and not list((tmp_path / "r").rglob("run.json"))


@pytest.mark.slow
def test_a_cluster_within_reach_changes_no_run_that_does_not_ask_for_it(project, cluster, tmp_path, monkeypatch):
    import ray

    from affinage import training

    monkeypatch.setenv("RAY_ADDRESS", cluster)
    config = project(backend=None, trainer={**TRAINER, "train_steps": 2})
    ray.init(address=cluster, log_to_driver=False)  # stock Ludwig takes this for a wish
    try:
        outcome = training.train(training.plan(config, str(tmp_path / "rows.jsonl")), tmp_path / "results")
    finally:
        ray.shutdown()
    assert outcome.run.status == "finished" and "workers" not in outcome.run.manifest["training"]


def test_without_the_package_the_error_says_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    missing = pytest.raises(AffinageError, match=r"backend\.type: 'ray' needs a package.*Type: make ray")
    with missing, ray_runs.cluster(ray_runs.Placement(2)):
        pass


def test_a_cluster_that_does_not_answer_is_named():
    pytest.importorskip("ray", reason="Ray is not installed: make ray")
    silent = pytest.raises(AffinageError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'")
    with silent, ray_runs.cluster(ray_runs.Placement(2, "127.0.0.1:1")):
        pass


def test_the_section_says_where_a_run_is_placed():
    assert ray_runs.placement({"backend": "ray"}) == ray_runs.Placement(1)
    assert ray_runs.placement({}) is None and ray_runs.placement({"backend": {"type": "local"}}) is None
    assert ray_runs.placement({"backend": TWO}, "backend.trainer.num_workers=4").workers == 4


def test_workers_of_ray_are_not_started_a_second_time(project, tmp_path):
    done = subprocess.run([*command(project(), tmp_path), "--gpus", "2"], capture_output=True, text=True)
    assert done.returncode == 2 and "GPUS: the config leaves the workers to Ray. Leave GPUS= out." in done.stderr


@pytest.mark.slow
def test_other_commands_do_not_train_such_a_run_in_silence(project, tmp_path):
    from affinage import training

    ready = training.plan(project(), str(tmp_path / "rows.jsonl"))
    with pytest.raises(AffinageError, match=r"'ray' is for make train"):
        training.train(ready, tmp_path / "results")
