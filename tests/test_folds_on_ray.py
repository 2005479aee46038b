"""Folds, trials and evaluations as tasks on a Ray cluster of two nodes on this machine, and what kills them."""

import json
import multiprocessing
import os
import runpy
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from affinage import ray_tasks
from affinage.errors import AffinageError, Problem
from affinage.paths import ROOT
from affinage.ray_runs import Placement
from affinage.runs import Run, all_runs
from affinage.series import find_series

processes = multiprocessing.get_context("forkserver")
ON_RAY = {"type": "ray", "trainer": {"use_gpu": False}}
ONE_CPU = Placement(use_gpu=False)
LOCALLY = "backend.type=local"
TRAINER = {"type": "finetune", "batch_size": 4, "eval_batch_size": 8, "learning_rate": 0.01}


@pytest.fixture
def joined(cluster):
    """This process as the driver of the cluster."""
    import ray

    ray.init(address=cluster, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def write_project(folder, base_model, rows, **sections):
    """A config for Ray and its rows in `folder`; gives their paths."""
    config = {
        "model_type": "llm",
        "base_model": base_model,
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": "{instruction} : {input}\n"},
        "adapter": {"type": "lora", "dropout": 0.1},
        "generation": {"max_new_tokens": 8},
        "backend": ON_RAY,
        "trainer": TRAINER,
    }
    data, path = folder / "rows.jsonl", folder / "task" / "tiny.yaml"
    rows.to_json(data, orient="records", lines=True)
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({k: v for k, v in (config | sections).items() if v is not None}), encoding="utf-8")
    return path, str(data)


def history(run):
    path = run.folder / "history.jsonl"
    return [line for line in path.read_text().splitlines() if '"lr"' in line] if path.exists() else []


def losses(run):
    return [json.loads(line)["loss"] for line in history(run)]


def wait_for(condition, seconds=400):
    started = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - started < seconds
        time.sleep(0.02)
    return found


def process_of(run):
    """The process of the task that trains the run: the one that holds its log open."""
    for process in psutil.process_iter(["name"]):
        try:
            named = process.info["name"].startswith("ray::")
            if named and str(run.folder / "train.log") in [file.path for file in process.open_files()]:
                return process
        except psutil.Error:
            continue
    return None


def begin(config, data, results, address):
    """Starts a k-fold of two on the cluster, in a process of its own."""
    from affinage import kfold

    os.environ["RAY_ADDRESS"] = address
    kfold.go_on(kfold.start(config, data, "", 2, 42, results))


@pytest.mark.slow
def test_a_task_that_is_killed_and_then_the_driver_leave_a_k_fold_that_ends_as_one_in_turn(
    cluster, tmp_path, tiny_model, sentences, monkeypatch, capsys
):
    from affinage import kfold

    trainer = {**TRAINER, "train_steps": 300, "steps_per_checkpoint": 20, "skip_all_evaluation": True}
    config, data = write_project(tmp_path, tiny_model(), sentences(12), trainer=trainer)
    driver = processes.Process(target=begin, args=(config, data, tmp_path / "ray", cluster))
    driver.start()
    first = wait_for(lambda: next((run for run in all_runs(tmp_path / "ray") if len(history(run)) > 30), None))
    wait_for(lambda: process_of(first)).kill()
    before = len(history(first))
    wait_for(lambda: len(history(first)) > before + 30)  # started again by Ray
    driver.kill()
    driver.join()
    assert len(history(first)) < 300

    monkeypatch.setenv("RAY_ADDRESS", cluster)
    series = find_series("kfold", "last", tmp_path / "ray")
    metrics = kfold.go_on(series)
    assert "2 folds at once, each with 1 CPU" in capsys.readouterr().err
    assert series.state["status"] == "finished" and len(all_runs(tmp_path / "ray")) == 2

    in_turn = kfold.start(config, data, LOCALLY, 2, 42, tmp_path / "turn")
    expected = kfold.go_on(in_turn)
    for fold in (1, 2):
        assert losses(series.run(fold)) == losses(in_turn.run(fold))
    for name in ("rows.jsonl", "predictions.jsonl"):
        assert (series.folder / name).read_bytes() == (in_turn.folder / name).read_bytes()
    for fold in (*metrics["folds"], *expected["folds"]):
        del fold["run"]
    assert metrics == expected


@pytest.fixture(scope="module")
def swept(cluster, tmp_path_factory, tiny_model, sentences):
    """Twelve trials of TPE, some of which fail, on the cluster and in turn: both series, each with its ranking."""
    from affinage import sweeps

    rows, found = sentences(28), []
    rows["split"] = [0] * 12 + [1] * 4 + [2] * 12
    rate = {"space": "loguniform", "lower": 1e-3, "upper": 1e12}
    executor = {"num_samples": 12, "max_concurrent_trials": 2}
    for overrides in ("", LOCALLY):
        folder = tmp_path_factory.mktemp("swept")
        file = folder / "sweep.yaml"
        file.write_text(yaml.safe_dump({"parameters": {"trainer.learning_rate": rate}, "executor": executor}))
        fixed = {"split": {"type": "fixed", "column": "split"}}
        sections = {"preprocessing": fixed, "adapter": None, "trainer": {**TRAINER, "epochs": 3}}
        project = write_project(folder, tiny_model(), rows, **sections)
        series = sweeps.start(*project, overrides, file, folder / "results")
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("RAY_ADDRESS", cluster)
            found.append((series, sweeps.go_on(series)))
    return found


@pytest.mark.slow
def test_trials_side_by_side_give_the_figures_and_the_ranking_of_those_in_turn(swept):
    (on_ray, ranked), (in_turn, expected) = swept
    assert [trial["number"] for trial in ranked] == [trial["number"] for trial in expected]
    for trial, other in zip(on_ray.state["trials"], in_turn.state["trials"], strict=True):
        own = ("run", "seconds")
        assert {k: v for k, v in trial.items() if k not in own} == {k: v for k, v in other.items() if k not in own}
        assert losses(on_ray.run(trial["number"])) == losses(in_turn.run(trial["number"]))
    statuses = [trial["status"] for trial in on_ray.state["trials"]]
    assert len(statuses) == 12 and set(statuses) == {"finished", "failed"} and on_ray.state["status"] == "finished"
    assert on_ray.run(1).manifest["command"] == in_turn.run(1).manifest["command"]
    assert len(all_runs(on_ray.results)) == 12


@pytest.mark.slow
def test_an_evaluation_on_the_cluster_gives_the_answers_of_one_process(swept, cluster, monkeypatch, capsys):
    from affinage import predictions, subjects

    series, ranked = swept[0]
    run = series.run(ranked[0]["number"])
    given = run.folder / "user_config.yaml"
    config = yaml.safe_load(given.read_text())
    config["backend"]["trainer"]["num_workers"] = 2
    given.write_text(yaml.safe_dump(config))
    main = runpy.run_path(str(ROOT / "evaluate" / "generate.py"))["main"]
    asked = ["--run", str(run.folder), "--batch-size", "3"]
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("RAY_ADDRESS", cluster)
    assert main(asked) == 0
    assert capsys.readouterr().out.count("12 rows answered by base, tuned") == 1
    folder = run.folder / "evaluation" / "default"
    whole = predictions.predict(subjects.open_run(run), predictions.Request(batch_size=3), run.folder / "one")
    assert (folder / "predictions.jsonl").read_bytes() == whole.read_bytes()
    assert json.loads((folder / "generation.json").read_text())["workers"] == 2

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(AffinageError, match=r"no Ray cluster answers at '127\.0\.0\.1:1'"):
        main(asked)
    assert main([*asked, "--gpus", "1"]) == 0  # in this process, whatever the config says
    assert (folder / "predictions.jsonl").read_bytes() == whole.read_bytes()
    assert "workers" not in json.loads((folder / "generation.json").read_text())


@pytest.mark.slow
def test_a_task_whose_process_dies_is_started_again_until_it_has_died_too_often(joined, tmp_path):
    def die(path, times):
        with Path(path).open("a") as file:
            file.write("x")
        if len(Path(path).read_text()) <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    tasks = {1: (str(tmp_path / "1"), 0), 2: (str(tmp_path / "2"), 1), 3: (str(tmp_path / "3"), 9)}
    place = Placement(use_gpu=False, restarts=1)
    found = dict(ray_tasks.side_by_side(place, die, tasks, lambda number, error: type(error).__name__))
    assert found[3] == "WorkerCrashedError" and isinstance(found[1], int) and isinstance(found[2], int)
    assert [len((tmp_path / str(number)).read_text()) for number in tasks] == [1, 2, 2]


@pytest.mark.slow
def test_after_a_failure_nothing_more_is_started_and_what_is_at_work_ends(joined, tmp_path, capsys):
    def work(number, folder):
        other = Path(folder) / "both are at work"
        other.open("a").write("x")
        while len(other.read_text()) < 2:
            time.sleep(0.01)
        if number == 1:
            raise AffinageError(Problem("the data", "is gone."))
        time.sleep(1)
        return number * 10

    found = []
    with pytest.raises(AffinageError, match=r"^the data: is gone\.$"):
        tasks = {number: (number, str(tmp_path)) for number in range(1, 5)}
        for one in ray_tasks.side_by_side(ONE_CPU, work, tasks):
            found.append(one)
    assert found == [(2, 20)] and "1 failed, and 1 at work end first: the data: is gone." in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_lets_every_task_end_its_step(joined, tmp_path):
    def work(folder):
        from affinage.interrupts import stop_requests

        with stop_requests() as asked:
            (Path(folder) / f"{os.getpid()} began").touch()
            while not asked():
                time.sleep(0.01)
            time.sleep(0.5)
            (Path(folder) / f"{os.getpid()} saved").touch()
        raise KeyboardInterrupt

    def ctrl_c(at_work):
        if len(list(tmp_path.glob("* began"))) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(ray_tasks.side_by_side(ONE_CPU, work, dict.fromkeys(range(4), (str(tmp_path),)), show=ctrl_c))
    assert len(list(tmp_path.glob("* began"))) == len(list(tmp_path.glob("* saved"))) == 2


@pytest.mark.slow
def test_as_many_tasks_run_at_once_as_the_machines_have_room_for(joined):
    assert ray_tasks.room(ONE_CPU) == ray_tasks.room(ONE_CPU, 3) == 2 and ray_tasks.room(ONE_CPU, 1) == 1
    assert ray_tasks.room(Placement(use_gpu=True)) == 0
    assert ray_tasks.room(Placement(use_gpu=False, resources={"CPU": 0.5})) == 4
    assert ray_tasks.room(Placement(use_gpu=False, resources={"CPU": 2})) == 0


def test_several_workers_in_a_fold_are_refused_with_a_remedy():
    pytest.importorskip("ray", reason="Ray is not installed: make ray")
    two = {"backend": {"type": "ray", "trainer": {"num_workers": 2}}}
    with pytest.raises(AffinageError, match=r"num_workers: is 2, but .* SET=backend\.trainer\.num_workers=1"):
        ray_tasks.series_placement(two, "")
    assert ray_tasks.series_placement(two, "backend.trainer.num_workers=1") == Placement(1)
    assert ray_tasks.series_placement(two, LOCALLY) is ray_tasks.series_placement({}, "") is None
    assert ray_tasks.series_placement({"backend": "ray"}, "trainer.epochs=1 backend=local") is None


def test_without_the_package_a_series_says_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(AffinageError, match=r"backend\.type: 'ray' needs a package.*Type: make ray"):
        ray_tasks.series_placement({"backend": "ray"}, "")


def test_the_step_of_a_run_at_work_is_the_last_it_recorded(tmp_path):
    assert ray_tasks.last_step(Run(tmp_path)) == 0
    (tmp_path / "history.jsonl").write_text('{"step": 1, "lr": 0.1}\n{"step": 12, "lr": 0.1}\n{"step": 12, "train')
    assert ray_tasks.last_step(Run(tmp_path)) == 12
