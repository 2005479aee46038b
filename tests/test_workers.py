"""Two workers against one at the same batch: the same loss in every step, the same answers, one run folder."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest
import yaml

from affinage.errors import AffinageError
from affinage.launch import launch
from affinage.paths import ROOT
from affinage.runs import all_runs

pytestmark = pytest.mark.slow
processes = multiprocessing.get_context("forkserver")
TRAINER = {
    "type": "finetune",
    "epochs": 2,
    "batch_size": 6,
    "gradient_accumulation_steps": 2,
    "eval_batch_size": 8,
    "learning_rate": 0.01,
    "steps_per_checkpoint": 2,
    "gradient_clipping": {"clipglobalnorm": 0.5},
}
LORA = {"adapter": {"type": "lora", "dropout": 0.0}}
KINDS = {
    "llama, lora": (("llama", "plain"), LORA, 1e-5),
    "llama, full": (("llama", "plain"), {"adapter": None}, 1e-5),
    "gpt2, lora": (("gpt2", "no_pad"), LORA, 1e-5),
    "gpt2, full": (("gpt2", "no_pad"), {"adapter": None}, 1e-5),
    "llama, 4 bits": (("llama", "plain"), LORA | {"quantization": {"bits": 4}}, 1e-3),
}


@pytest.fixture
def project(tmp_path, llm_config, sentences):
    """Writes a config; the rows are 23 to train on, which neither batch nor workers divide, and some to ask."""
    rows = sentences(35)
    rows["split"] = [0] * 23 + [1] * 5 + [2] * 7
    rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)

    def write(kind=("llama", "plain"), **sections):
        path = tmp_path / "task" / "tiny.yaml"
        path.parent.mkdir(exist_ok=True)
        split = {"split": {"type": "fixed", "column": "split"}}
        config = llm_config(*kind, preprocessing=split, **{"trainer": TRAINER, **sections})
        config["base_model"] = str(without_dropout(config["base_model"], tmp_path / "base"))
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path, tmp_path / "rows.jsonl"

    return write


def _member(rank, size, port, work, arguments, answers):
    from affinage.ludwig_ext import workers

    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="127.0.0.1")
    workers.join()
    answers.put((rank, work(*arguments)))


def together(work, *arguments, size=2):
    """What `work` returns in each of `size` processes, by rank; it must be a function of a module."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answers = processes.SimpleQueue()
    members = [
        processes.Process(target=_member, args=(rank, size, port, work, arguments, answers)) for rank in range(size)
    ]
    for member in members:
        member.start()
    for member in members:
        member.join()
    assert [member.exitcode for member in members] == [0] * size
    return [answer for _, answer in sorted((answers.get() for _ in members), key=lambda one: one[0])]


def train(config, data, results):
    """What tools/train.py does in each worker; returns the run's folder."""
    from affinage import training
    from affinage.ludwig_ext.workers import Workers, refuse

    ready = training.plan(config, str(data))
    if Workers().size() > 1:
        refuse(ready.resolved)
    run = training.start_together(ready, results)
    training.complete(run, ready)
    return run.folder


def resume(folder):
    from affinage import training
    from affinage.runs import find_run

    run = find_run(str(folder))
    training.complete(run, training.plan_again(run))
    return run.folder


def without_dropout(model, folder):
    """A copy of a base model, of which GPT-2 has dropout of its own: every worker draws other numbers."""
    shutil.copytree(model, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    config |= {key: 0.0 for key in config if key.endswith("pdrop")}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def same(one, two, tolerance):
    """The losses of the steps and of the evaluations, the rate, the tokens and the answers of two runs."""
    steps, others = history(one), history(two)
    assert [entry["step"] for entry in steps] == [entry["step"] for entry in others]
    for entry, other in zip(steps, others, strict=True):
        for key in ("loss", "lr", "tokens", "train_loss", "validation_loss", "test_loss"):
            assert entry.get(key) == pytest.approx(other.get(key), abs=tolerance), (key, entry["step"])
    answers = [(folder / "predictions.jsonl").read_text() for folder in (one, two)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_train_as_one(kind, project, tmp_path):
    model, sections, tolerance = KINDS[kind]
    config, data = project(model, **sections)
    [one] = together(train, config, data, tmp_path / "one", size=1)
    [two, also] = together(train, config, data, tmp_path / "two")
    assert two == also
    same(one, two, tolerance)
    (run,) = all_runs(tmp_path / "two")
    training = run.manifest["training"]
    assert run.status == "finished" and training["workers"] == 2 and training["steps"] == 4
    assert 0 < training["scaling_efficiency"] < 1 and len(training["tokens_per_second_of_workers"]) == 2
    assert [path.name for path in two.iterdir()] == [path.name for path in one.iterdir()]
    assert "workers" not in all_runs(tmp_path / "one")[0].manifest["training"]


@pytest.mark.parametrize("kind", ["dpo", "kto", "orpo"])
def test_two_workers_learn_preferences_as_one(kind, project, tmp_path):
    config, data = project(trainer={**TRAINER, "type": kind}, **LORA)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    for row in rows:
        row["rejected"] = row["output"][::-1]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    [one] = together(train, config, data, tmp_path / "one", size=1)
    [two, _] = together(train, config, data, tmp_path / "two")
    same(one, two, 1e-5)
    for entry, other in zip(history(one), history(two), strict=True):
        assert entry == pytest.approx(other, abs=1e-4) if "lr" in entry else True


def stopped(config, data, results):
    """Trains until one of the workers is asked to stop, after its third step."""
    from ludwig.callbacks import Callback

    from affinage import training

    class Stop(Callback):
        def on_batch_end(self, trainer, progress_tracker, save_path, sync_step=True, **kwargs):
            if progress_tracker.steps == 3:
                os.kill(os.getpid(), signal.SIGINT)

    ready = training.plan(config, str(data))
    run = training.start_together(ready, results)
    with pytest.raises(KeyboardInterrupt, match="step 3"):
        training.complete(run, ready, [Stop()])
    return run.folder


def test_a_stop_of_one_worker_stops_all_and_the_run_goes_on_with_the_same_dropout(project, tmp_path):
    config, data = project(adapter={"type": "lora", "dropout": 0.2})
    [whole, _] = together(train, config, data, tmp_path / "whole")
    [half, _] = together(stopped, config, data, tmp_path / "half")
    assert [entry["step"] for entry in history(half) if "lr" in entry] == [1, 2, 3]
    [again, _] = together(resume, half)
    same(whole, again, 1e-6)


def test_a_run_of_two_workers_goes_on_with_one_which_says_so(project, tmp_path):
    config, data = project(**LORA)
    [half, _] = together(stopped, config, data, tmp_path / "half")
    [again] = together(resume, half, size=1)
    (run,) = all_runs(tmp_path / "half")
    assert again == half and run.status == "finished"
    assert any("2 workers, and 1 go on" in note for note in run.manifest["training"]["notes"])


def test_what_several_workers_cannot_train_is_refused(project, tmp_path):
    config, data = project(trainer={**TRAINER, "batch_size": "auto"})

    with pytest.raises(AffinageError, match=r"trainer\.batch_size: 'auto' would be looked for by each worker"):
        from affinage import training
        from affinage.ludwig_ext.workers import refuse

        refuse(training.plan(config, str(data)).resolved)


def test_make_train_with_gpus_trains_on_so_many_processes(tmp_path):
    command = ["make", "train", "GPUS=2", f"RESULTS={tmp_path}", "SET=trainer.train_steps=3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = all_runs(tmp_path)
    assert run.manifest["training"]["workers"] == 2 and run.manifest["make"].endswith(" GPUS=2")
    assert len(re.findall("^Run folder:", done.stdout, re.MULTILINE)) == 1


SCRIPT = """
import os, sys, time
rank = int(os.environ["RANK"])
print(f"out {rank} of {os.environ['WORLD_SIZE']}", flush=True)
print(f"err {rank}", file=sys.stderr, flush=True)
if rank == FAILING:
    sys.exit(CODE)
time.sleep(SLEEP)
sys.exit(LATER)
"""


# the rank that fails at once, if any, with which code; what the others end with, after how long; what is shown
ENDS = {
    "first": (0, 2, 0, 60, "err 0\n"),
    "other": (1, 7, 0, 60, "err 0\nworker 1 failed:\nerr 1\n"),
    "other, then the first for the same reason": (1, 2, 2, 1, "err 0\n"),
    "stopped": (1, 130, 130, 1, "err 0\n"),
    "none": (None, 0, 0, 0, "err 0\n"),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_first_to_fail_ends_all_with_its_code(end, capfd, monkeypatch):
    failing, code, later, seconds, shown = ENDS[end]
    monkeypatch.setattr("affinage.launch.SECONDS_TO_SAY_WHY", 5)
    values = {"FAILING": failing, "CODE": code, "SLEEP": seconds, "LATER": later}
    script = SCRIPT
    for name, value in values.items():
        script = script.replace(name, str(value))
    assert launch([sys.executable, "-c", script], 2) == code
    out, err = capfd.readouterr()
    assert out == "out 0 of 2\n" and err == shown
