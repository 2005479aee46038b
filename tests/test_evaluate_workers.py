"""Several processes that share the rows of an evaluation: the answers of one, kept when all are stopped or one dies."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from affinage.errors import AffinageError
from affinage.kept_answers import KeptAnswers, progress_of
from affinage.paths import ROOT
from affinage.runs import all_runs

ROWS = 120


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_model, sentences):
    """A run of a tiny model with 120 rows to answer, and its predictions by one process, in batches of five."""
    from affinage import predictions, subjects, training

    folder = tmp_path_factory.mktemp("trained")
    rows = sentences(20 + ROWS)
    rows["split"] = [0] * 20 + [2] * ROWS
    rows.to_json(folder / "rows.jsonl", orient="records", lines=True)
    config = {
        "model_type": "llm",
        "base_model": tiny_model(),
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": "{instruction} : {input}\n"},
        "adapter": {"type": "lora"},
        "preprocessing": {"split": {"type": "fixed", "column": "split"}},
        "generation": {"max_new_tokens": 24},
        "trainer": {"type": "finetune", "epochs": 5, "batch_size": 4, "learning_rate": 0.02},
    }
    path = folder / "task" / "tiny.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    training.train(training.plan(path, str(folder / "rows.jsonl")), folder / "results")
    (run,) = all_runs(folder / "results")
    request = predictions.Request(batch_size=5)
    return run, request, predictions.predict(subjects.open_run(run), request, folder / "one").read_bytes()


def generate(run, *options):
    script = [sys.executable, str(ROOT / "evaluate" / "generate.py"), "--run", run.folder.name, "--batch-size", "5"]
    return [*script, "--results", str(run.folder.parents[2]), *options]


def evaluation(run):
    return run.folder / "evaluation" / "default"


def wait_for(condition, seconds=300):
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds
        time.sleep(0.05)


@pytest.mark.slow
def test_shares_of_any_number_of_processes_make_the_answers_of_one(trained, tmp_path):
    from affinage import predictions, subjects

    run, request, whole = trained
    subject = subjects.open_run(run)
    for rank in (2, 0):  # those of the second are missing
        answered = predictions.answer_share(subject, request, tmp_path, predictions.Share(rank, 3))
    with pytest.raises(RuntimeError, match=f"80 of {ROWS} rows have answers"):
        predictions.finish(tmp_path, answered, time.monotonic())
    shown = []
    share = predictions.Share(1, 2)  # two go on where three were
    predictions.answer_share(subject, request, tmp_path, share, lambda done, total: shown.append((done, total)))
    answered = predictions.answer_share(subject, request, tmp_path, predictions.Share(0, 2))
    assert shown[0] == (80, ROWS) and progress_of(tmp_path) == (ROWS, ROWS)
    assert predictions.finish(tmp_path, answered, time.monotonic()).read_bytes() == whole
    described = json.loads((tmp_path / "generation.json").read_text())
    assert described["workers"] == 2 and described["rows_kept_from_before"] > 80
    assert sorted(path.name for path in tmp_path.iterdir()) == ["generation.json", "predictions.jsonl"]


@pytest.mark.slow
def test_two_processes_stopped_and_one_of_them_killed_end_with_the_answers_of_one(trained):
    run, _, whole = trained
    before = psutil.Process().children(recursive=True)
    command = generate(run, "--gpus", "2")
    stopped = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    wait_for(lambda: progress_of(evaluation(run))[0] >= 20)
    os.killpg(stopped.pid, signal.SIGINT)  # what a terminal does at Ctrl-C
    _, errors = stopped.communicate(timeout=60)
    assert stopped.returncode == 130 and errors.count(b"interrupted") == 1 and b"Traceback" not in errors
    kept = progress_of(evaluation(run))[0]
    assert 20 <= kept < ROWS and not (evaluation(run) / "predictions.jsonl").exists()

    one_dies = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: progress_of(evaluation(run))[0] > kept)
    workers = psutil.Process(one_dies.pid).children()
    killed = next(worker for worker in workers if worker.environ()["RANK"] == "1")
    killed.kill()
    one_dies.communicate(timeout=60)
    assert one_dies.returncode == 128 + signal.SIGKILL
    assert not set(psutil.Process().children(recursive=True)) - set(before)

    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(f"{ROWS} rows answered by base, tuned") == 1
    assert (evaluation(run) / "predictions.jsonl").read_bytes() == whole
    assert json.loads((evaluation(run) / "generation.json").read_text())["rows_kept_from_before"] >= kept
    assert not list(evaluation(run).glob("*partial*"))


def test_each_process_reads_the_whole_lines_of_the_others(tmp_path):
    first, second = KeptAnswers(tmp_path, "a", 9), KeptAnswers(tmp_path, "a", 9, rank=1)
    assert progress_of(tmp_path) == (0, 0) and not list(tmp_path.iterdir())
    second.add({4: {"tuned": "é"}, 2: {"tuned": "b"}})
    first.add({1: {"tuned": "c"}})
    assert first.refresh() == second.refresh() == 3 and progress_of(tmp_path) == (3, 9)
    part = tmp_path / "predictions.partial-1.jsonl"
    whole = part.read_bytes()
    part.write_bytes(whole + b'{"position": 5, "rec')  # killed while it wrote
    assert first.refresh() == 3
    again = KeptAnswers(tmp_path, "a", 9, rank=1)
    assert part.read_bytes() == whole and again.holds([1, 2, 4]) and not again.holds([5])
    again.add({5: {"tuned": "d"}})
    assert first.refresh() == 4
    lines = first.finish(tmp_path / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["tuned"] for line in lines] == ["c", "b", "é", "d"] and len(list(tmp_path.iterdir())) == 1


def test_answers_to_another_question_count_for_nothing(tmp_path):
    for rank in (0, 1):
        KeptAnswers(tmp_path, "old", 9, rank).add({rank: {}})
    new = KeptAnswers(tmp_path, "new", 9)
    assert new.records == {} and [path.name for path in tmp_path.iterdir()] == ["predictions.partial-1.jsonl"]
    new.add({3: {}})
    assert KeptAnswers(tmp_path, "new", 9, 1).records == {3: {}} and progress_of(tmp_path) == (1, 9)


def test_a_full_disk_loses_no_answer_that_was_kept(tmp_path, disk_full_after):
    kept = KeptAnswers(tmp_path, "a", 9)
    kept.add({1: {"tuned": "a"}})
    with disk_full_after(100), pytest.raises(OSError):
        kept.add({2: {"tuned": "b" * 200}})
    assert KeptAnswers(tmp_path, "a", 9).records == {1: {"tuned": "a"}}


def test_an_encoder_is_not_shared(monkeypatch, tmp_path):
    from affinage import evaluating
    from affinage.encoder_predictions import EncoderSubject
    from affinage.predictions import Request

    encoder = EncoderSubject("run", "task", None, {}, {}, tmp_path, "label")
    monkeypatch.setattr(evaluating.Target, "open", lambda target: encoder)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(AffinageError, match=r"GPUS: an encoder names its labels in one process\. .*GPUS=1"):
        evaluating.answer_in_group(evaluating.Target("run"), Request(), tmp_path, lambda done, total: None)
