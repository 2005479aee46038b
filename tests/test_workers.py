"""Two workers against one at the same batch: the same loss in every step, the same answers, one run folder."""

import json
import re
import subprocess
import sys

import pytest
from tests.worker_processes import LORA, TRAINER, history, resume, same, stopped, together, train, writer

from affinage.errors import AffinageError
from affinage.launch import launch
from affinage.paths import ROOT
from affinage.runs import all_runs

pytestmark = pytest.mark.slow
KINDS = {
    "llama, lora": (("llama", "plain"), LORA, 1e-5),
    "llama, full": (("llama", "plain"), {"adapter": None}, 1e-5),
    "gpt2, lora": (("gpt2", "no_pad"), LORA, 1e-5),
    "gpt2, full": (("gpt2", "no_pad"), {"adapter": None}, 1e-5),
    "llama, 4 bits": (("llama", "plain"), LORA | {"quantization": {"bits": 4}}, 1e-3),
}


@pytest.fixture
def project(tmp_path, llm_config, sentences):
    return writer(tmp_path, llm_config, sentences)


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


def train_where_one_has_no_rows(config, data, results):
    from affinage.ludwig_ext.workers import Workers

    return train(config, data if Workers().is_coordinator() else data.with_name("not here"), results)


def test_the_first_worker_alone_reads_the_rows_and_the_others_map_them(project, tmp_path):
    config, data = project(**LORA)
    [one] = together(train, config, data, tmp_path / "one", size=1)
    [two, _] = together(train_where_one_has_no_rows, config, data, tmp_path / "two")
    same(one, two, 1e-5)
    assert not (two / "model" / "rows").exists()


def plan_of_nothing(config, data):
    from affinage import joint_runs, training

    with pytest.raises(AffinageError) as error:
        joint_runs.plan_together(lambda: training.plan(config, str(data)))
    return str(error.value)


def test_what_the_first_worker_finds_to_be_mended_all_of_them_say(project):
    config, data = project()
    one, other = together(plan_of_nothing, config, data.with_name("not here"))
    assert one == other and "no such file or folder" in one


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
    from affinage import training
    from affinage.ludwig_ext.workers import refuse

    config, data = project(trainer={**TRAINER, "batch_size": "auto"})
    ready = training.plan(config, str(data))
    with pytest.raises(AffinageError, match=r"trainer\.batch_size: 'auto' would be looked for by each worker"):
        refuse(ready.resolved)
    refuse(ready.resolved, workers=1)  # on Ray, which looks for it as anywhere


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
