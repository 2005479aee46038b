"""K-fold: every row is answered once, by a model that saw nothing of its group, and a killed one goes on."""

import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.runs import all_runs
from affinage.series import find_series

TRAINER = {"type": "finetune", "epochs": 3, "batch_size": 4, "eval_batch_size": 8, "learning_rate": 0.02}
processes = multiprocessing.get_context("forkserver")


def write_project(folder, base_model, rows, **sections):
    """A config and its rows in `folder`; gives their paths."""
    config = {
        "model_type": "llm",
        "base_model": base_model,
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": "{instruction} : {input}\n"},
        "adapter": {"type": "lora", "dropout": 0.1},
        "generation": {"max_new_tokens": 8},
        "trainer": TRAINER,
    }
    data, path = folder / "copie.jsonl", folder / "ludwig_configs" / "copie" / "tiny.yaml"
    rows.to_json(data, orient="records", lines=True, force_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config | sections), encoding="utf-8")
    return path, str(data)


@pytest.fixture(scope="module")
def grouped_rows(sentences):
    """14 rows in 7 groups; rows of a group lie far apart."""
    rows = sentences(14)
    rows["id"] = [f"row {i}" for i in range(14)]
    rows["group"] = [f"g{i % 7}" for i in range(14)]
    return rows


@pytest.fixture
def start(tmp_path, tiny_model, grouped_rows):
    from affinage import kfold

    def go(k=2, overrides="", seed=1, suite="", rows=grouped_rows, **sections):
        project = write_project(tmp_path, tiny_model(), rows, **sections)
        return kfold.start(*project, overrides, k, seed, tmp_path / "results", suite)

    return go


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_model, grouped_rows):
    """A k-fold of 2 that ran through in this process, and what it returned."""
    from affinage import kfold

    folder = tmp_path_factory.mktemp("finished")
    series = kfold.start(*write_project(folder, tiny_model(), grouped_rows), "", 2, 1, folder / "results")
    return series, kfold.go_on(series)


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def losses(folder):
    return [line["loss"] for line in read(folder / "history.jsonl") if "lr" in line]


@pytest.mark.slow
def test_every_row_is_answered_once_by_a_model_that_saw_nothing_of_its_group(finished):
    from affinage import training

    series, _ = finished
    records = read(series.folder / "predictions.jsonl")
    assert [record["id"] for record in records] == [f"row {i}" for i in range(14)]
    assert {record["fold"] for record in records} == {1, 2}
    for fold in (1, 2):
        run = series.run(fold)
        splits = training.plan_again(run).splits  # what the run says it was trained on
        held_out = {record["id"]: record for record in records if record["fold"] == fold}
        assert set(splits["test"]["id"]) == held_out.keys()
        assert len(splits["train"]) == 14 - len(held_out) == run.manifest["training"]["trained_rows"]
        assert not set(splits["train"]["group"]) & {record["group"] for record in held_out.values()}
        answered = read(run.folder / "evaluation" / "default" / "predictions.jsonl")
        assert {record["id"]: record["tuned"] for record in answered} == {i: r["tuned"] for i, r in held_out.items()}


@pytest.mark.slow
def test_metrics_are_pooled_over_all_rows_and_spread_over_the_folds(finished):
    from affinage.metrics import score

    series, metrics = finished
    assert metrics == json.loads((series.folder / "metrics.json").read_text())
    records = read(series.folder / "predictions.jsonl")
    tuned = metrics["systems"]["tuned"]["chrf"]
    assert tuned["value"] == pytest.approx(score(*texts(records)).chrf)
    by_fold = [score(*texts([r for r in records if r["fold"] == fold])).chrf for fold in (1, 2)]
    assert [fold["systems"]["tuned"]["chrf"] for fold in metrics["folds"]] == pytest.approx(by_fold)
    assert (tuned["mean"], tuned["sd"]) == pytest.approx((statistics.mean(by_fold), statistics.stdev(by_fold)))
    assert tuned["low"] <= tuned["value"] <= tuned["high"] and metrics["settings"]["resampled"] == "groups"
    assert metrics["differences"]["tuned - base"]["perplexity"]["better"] > 7
    assert metrics["n"] == metrics["rows_in_split"] == 14


def texts(records):
    return [record["tuned"] for record in records], [record["reference"] for record in records]


@pytest.mark.slow
def test_a_fold_is_the_run_that_its_make_line_starts_and_keeps_its_adapter_alone(finished, tmp_path):
    from affinage import training

    series, _ = finished
    second = series.run(2)
    split = "'preprocessing.split={type: fixed, column: fold_2}'"
    plan = training.plan(series.config, str(series.folder / "rows.jsonl"), split)
    alone = training.train(plan, tmp_path / "alone")
    assert losses(alone.run.folder) == losses(second.folder)
    assert second.manifest["make"] == plan.make
    kept = {path.name for path in second.model_folder.rglob("*.safetensors")}
    assert kept == {"adapter_model.safetensors"} and not list(second.folder.rglob("*.pt"))


@pytest.mark.slow
def test_whole_models_are_not_kept_and_the_run_says_so(start):
    from affinage import kfold

    series = start(adapter=None)
    kfold.go_on(series)
    assert not list(series.folder.parent.rglob("*.safetensors"))
    assert all(series.run(fold).manifest["weights"].startswith("not kept") for fold in (1, 2))
    assert len(read(series.folder / "predictions.jsonl")) == 14


def begin(config, data, results, suicide):
    """Starts a k-fold in a process of its own, which kills itself at a moment of the second fold."""
    from affinage import kfold, predictions
    from affinage.ludwig_ext.trainer import AnswerTrainer

    if suicide == "in training":
        AnswerTrainer._step = _die_after(9, AnswerTrainer._step)  # in the third step of the second fold
    elif suicide == "in answering":
        predictions._Work.answer = _die_after(1, predictions._Work.answer)
    kfold.go_on(kfold.start(config, data, "", 2, 1, results))


def go_on(results):
    from affinage import kfold

    kfold.go_on(find_series("kfold", "last", results))


def _die_after(n, method):
    calls = []

    def call(*arguments):
        calls.append(1)
        if len(calls) > n:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*arguments)

    return call


def run(target, *arguments):
    process = processes.Process(target=target, args=arguments)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["in training", "in answering"])
def test_a_killed_k_fold_goes_on_and_ends_as_one_that_was_not(finished, moment, tmp_path, tiny_model, grouped_rows):
    whole, _ = finished
    config, data = write_project(tmp_path, tiny_model(), grouped_rows)
    results = tmp_path / "results"
    assert run(begin, config, data, results, moment) == -signal.SIGKILL
    killed = find_series("kfold", "last", results)
    first, second = killed.run(1), killed.run(2)
    assert first.status == "finished" and second.status == ("killed" if moment == "in training" else "finished")
    assert (second.model_folder / "training_checkpoints" / "latest.pt").exists()
    of_first = (first.folder / "history.jsonl", first.folder / "evaluation" / "default" / "predictions.jsonl")
    before = [path.stat().st_mtime_ns for path in of_first]
    assert run(go_on, results) == 0
    again = find_series("kfold", killed.folder.name, results)
    assert again.state["status"] == "finished" and len(all_runs(results)) == 2
    assert [path.stat().st_mtime_ns for path in of_first] == before
    assert losses(second.folder) == losses(whole.run(2).folder)
    assert read(again.folder / "predictions.jsonl") == read(whole.folder / "predictions.jsonl")


def test_data_or_a_config_that_changed_since_is_refused_by_name(start, tmp_path):
    from affinage import kfold

    series = start()
    with (tmp_path / "copie.jsonl").open("a") as file:
        file.write('{"instruction": "copie", "input": "chat", "output": "CHAT", "id": "new", "group": "new"}\n')
    series.config.write_text(series.config.read_text() + "\n# another\n")
    with pytest.raises(AffinageError, match=r"changed since it began: .*tiny\.yaml, .*copie\.jsonl\."):
        kfold.go_on(find_series("kfold", "last", tmp_path / "results"))
    assert not all_runs(tmp_path / "results")


def test_two_processes_never_work_on_one_k_fold(start):
    from affinage import kfold

    with (series := start()).at_work(), pytest.raises(AffinageError, match="another process is working on it"):
        kfold.go_on(series)


def test_the_assignment_comes_from_the_seed_and_is_on_record(start):
    first, again, other = start(seed=1), start(seed=1), start(seed=2)
    assert first.state["fold_of"] == again.state["fold_of"] != other.state["fold_of"]
    assert first.folder != again.folder
    for row in read(first.folder / "rows.jsonl"):
        columns = {name: value for name, value in row.items() if name.startswith("fold_")}
        assert [name for name, value in columns.items() if value == 2] == [f"fold_{first.state['fold_of'][row['id']]}"]


def test_rows_of_all_splits_take_part_and_get_an_id(tiny_model, sentences, tmp_path):
    from affinage import kfold

    rows = sentences(12)
    rows.loc[5, "output"] = " "
    config, _ = write_project(tmp_path, tiny_model(), rows)
    (tmp_path / "parts").mkdir()
    for name, part in (("train", rows[:6]), ("validation", rows[6:8]), ("test", rows[8:])):
        part.to_json(tmp_path / "parts" / f"{name}.jsonl", orient="records", lines=True)
    series = kfold.start(config, str(tmp_path / "parts"), "", 11, 0, tmp_path / "results")
    assert list(series.state["fold_of"]) == [f"row-{n}" for n in range(1, 12)]
    assert sorted(series.state["fold_of"].values()) == list(range(1, 12))  # leave-one-out
    assert series.state["data"]["dropped_without_answer"] == {"train": 1, "validation": 0, "test": 0}


def test_a_prompt_that_two_folds_hold_is_warned_of(start, sentences):
    rows = pd.concat([sentences(6, seed=3), sentences(1, seed=3)], ignore_index=True)
    assert start(k=7, rows=rows).state["warnings"][0].startswith("2 rows have a prompt that another fold holds too")
    assert start(k=6, rows=sentences(6, seed=3)).state["warnings"] == []


def five(**columns):
    return pd.DataFrame({"instruction": ["copie"] * 5, "input": list("abcde"), "output": list("ABCDE"), **columns})


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"k": 8}, "folds: 8 folds of 7 groups"),
        ({"k": 1}, "folds: 1 folds of 7 groups"),
        ({"suite": "nothing"}, "no such suite"),
        ({"overrides": "trainer.epoch=2"}, "unknown key 'epoch'"),
        ({"rows": five(group=["a", "a", "a", "a", "b"])}, "largest fold holds 4 of 5 rows"),
        ({"rows": five(id=[1, 2, 3, 4, 1])}, "an id that stood before, such as '1'"),
    ],
    ids=range(6),
)
def test_what_cannot_be_folded_is_refused_before_anything_is_written(start, tmp_path, given, found):
    with pytest.raises(AffinageError, match=found):
        start(**given)
    assert not (tmp_path / "results").exists()


def test_the_script_refuses_without_a_traceback(tmp_path):
    command = [sys.executable, ROOT / "evaluate" / "kfold.py", "--results", tmp_path, "--resume", "last"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "kfold last: nothing that is unfinished. Allowed: no kfold yet." in done.stderr
    shown = subprocess.run([*command[:2], "--help"], capture_output=True, text=True, check=True).stdout
    assert "evaluate/kfold.py --config" in shown
