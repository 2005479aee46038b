"""Sweeps: what a file asks for, what is refused before anything trains, and trials that fail, go on and are ranked."""

import json
import math
import os
import signal
import subprocess
import sys

import pytest
import yaml

from affinage.configs import apply_overrides
from affinage.errors import AffinageError, Problem
from affinage.paths import ROOT
from affinage.series import find_series
from affinage.sweep_file import as_overrides, read_sweep

TRAINER = {"type": "finetune", "epochs": 2, "batch_size": 4, "eval_batch_size": 8, "learning_rate": 0.01}


@pytest.fixture
def sweep_file(tmp_path):
    def write(content):
        path = tmp_path / "sweep.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    return write


@pytest.fixture
def trials(sweep_file):
    return lambda content: read_sweep(sweep_file(content), lambda key, value: []).trials


def test_a_grid_crosses_all_values(trials):
    found = trials({"grid": {"adapter.r": [4, 8], "trainer.learning_rate": [0.1, 0.2]}})
    assert [list(trial.values()) for trial in found] == [[4, 0.1], [4, 0.2], [8, 0.1], [8, 0.2]]
    assert all(list(trial) == ["adapter.r", "trainer.learning_rate"] for trial in found)


def test_paired_trials_are_taken_as_they_stand(trials):
    pairs = [{"adapter.r": 4, "trainer.epochs": 2}, {"trainer.epochs": 3}]
    assert trials({"paired": pairs}) == pairs


def test_random_trials_differ_keep_to_their_ranges_and_come_from_the_seed(trials):
    space = {
        "trainer.learning_rate": {"low": "1e-5", "high": 0.1, "log": True},
        "adapter.dropout": {"low": 0.0, "high": 0.5},
        "adapter.r": {"low": 2, "high": 5},
        "adapter.alpha": {"choices": [4, 8]},
    }
    found = trials({"random": {"n": 200, "seed": 3, "space": space}})
    assert found == trials({"random": {"n": 200, "seed": 3, "space": space}})
    assert found != trials({"random": {"n": 200, "seed": 4, "space": space}})
    assert len({as_overrides(trial) for trial in found}) == 200
    rates = [trial["trainer.learning_rate"] for trial in found]
    assert all(1e-5 <= rate <= 0.1 for rate in rates)
    assert 0.35 < sum(rate < math.sqrt(1e-5 * 0.1) for rate in rates) / 200 < 0.65  # half lie below the geometric mean
    assert {trial["adapter.r"] for trial in found} == {2, 3, 4, 5}
    assert {trial["adapter.alpha"] for trial in found} == {4, 8}
    assert all(0 <= trial["adapter.dropout"] <= 0.5 for trial in found)


def test_as_many_trials_as_there_are_can_be_drawn_and_no_more(trials):
    space = {"adapter.r": {"choices": [2, 4]}, "adapter.alpha": {"low": 1, "high": 2}}
    assert len(trials({"random": {"n": 4, "space": space}})) == 4
    with pytest.raises(AffinageError, match=r"sweep\.yaml:2: 'n' is 5, but only 4 different trials"):
        trials({"random": {"n": 5, "space": space}})


@pytest.mark.parametrize(
    ("key", "present", "value", "expected"),
    [
        ("trainer.learning_rate", 0.1, "1e-4", 0.0001),
        ("trainer.learning_rate", 0.1, 1e-05, 1e-05),
        ("prompt.template", "{input}", "Texte : {input}\n# l'« élève »\n", None),
        ("preprocessing.split.probabilities", [0.7, 0.1, 0.2], [0.8, 0.1, 0.1], None),
        ("trainer.learning_rate_scheduler.decay", "linear", None, None),
        ("trainer.shuffle", True, False, None),
        ("quantization", {"bits": 8}, {"bits": 4}, None),
    ],
)
def test_a_value_reaches_the_config_as_it_stands_in_the_file(key, present, value, expected):
    resolved = present
    for part in reversed(key.split(".")):
        resolved = {part: resolved}
    node = apply_overrides({}, as_overrides({key: value}), resolved)
    for part in key.split("."):
        node = node[part]
    assert node == (value if expected is None else expected)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "holds nothing to try"),
        ("- 1", "holds nothing to try"),
        ("grid: [", "not valid YAML"),
        ("grid: {}", ":1: 'grid' is empty. Allowed: keys of the config, each with a list"),
        ("grid:\n  adapter.r: []", ":2: 'adapter.r' is empty. Allowed: a list of at least one value"),
        ("grid:\n  adapter.r: 4", ":2: 'adapter.r' is 4. Allowed: a list"),
        ("grid:\n  adapter:\n    r: [4]", ":2: 'adapter' holds keys of its own. Allowed: the whole key .*adapter.r: "),
        ("grid:\n  adapter.r: [4, 4]", ":2: 'adapter.r' has the value 4 twice"),
        ("grid:\n  adapter.r: [4]\n  adapter.r: [8]", ":3: the key 'adapter.r' stands there twice"),
        (yaml.safe_dump({"grid": {str(i): list(range(10)) for i in range(12)}}), "make 1,000,000,000,000 trials"),
        ("gird: {adapter.r: [4]}", "unknown key 'gird'. Did you mean 'grid'"),
        ("grid: {adapter.r: [4]}\npaired: [{adapter.r: 4}]", ":2: 'grid' and 'paired' stand side by side"),
        ("hyperopt: {parameters: {}}", "'parameters' is empty. Allowed: keys of the config, each with a space"),
        ("paired: {adapter.r: 4}", "'paired' is {'adapter.r': 4}. Allowed: a list of trials"),
        ("paired:\n- adapter.r: 4\n- {}\n- adapter.r: 4", r":3: trial 2 is empty[^\n]*\n.*:4: trial 3 is the same as"),
        ("random: {space: {a: {choices: [1]}}}", "'n' is empty. Allowed: a whole number from 1 to 1,000"),
        ("random: {n: 0, seed: x}", "'n' is 0.*\n.*'seed' is 'x'.*\n.*'space' is empty"),
        (
            "random: {n: 1, spaces: {}, space: {a: {low: 1}}}",
            "unknown key 'spaces'.*\n.*'a' is {'low': 1}. Allowed: {low",
        ),
        (
            "random: {n: 1, space: {a: {low: 2, high: 1}, b: {low: 0, high: 1, log: true}}}",
            "'high' is 1 .*\n.*no logarithm",
        ),
        (
            "random: {n: 1, space: {a: {low: x, high: true, log: 1}}}",
            "'log' is 1.*\n.*'low' is 'x'.*\n.*'high' is True",
        ),
        ("random: {n: 1, space: {a: {low: 1, high: 2, logs: true}}}", "unknown key 'logs'. Did you mean 'log'"),
    ],
    ids=range(21),
)
def test_what_is_wrong_with_the_file_is_said_with_its_line(trials, content, found):
    with pytest.raises(AffinageError, match=found):
        trials(content)


def test_a_file_that_is_not_there_is_no_traceback(tmp_path):
    with pytest.raises(AffinageError, match=r"none\.yaml: cannot be read: No such file"):
        read_sweep(tmp_path / "none.yaml", lambda key, value: [])


def test_every_value_is_checked_even_when_the_file_has_other_faults(sweep_file):
    file = sweep_file(
        "grid:\n  adapter.r: [x]\n  b: []\nrandom: {n: 1, space: {c: {low: 1, high: 2}, d: {choices: [5]}}}"
    )
    checked = []

    def check(key, value):
        checked.append((key, value))
        return [Problem(f"SET {key}", "is wrong.")]

    with pytest.raises(AffinageError) as raised:
        read_sweep(file, check)
    assert checked == [("adapter.r", "x"), ("c", 1), ("c", 2), ("d", 5)]
    assert [str(p).split("sweep.yaml")[1][:3] for p in raised.value.problems] == [":2:", ":3:", ":4:", ":4:", ":4:"]


@pytest.fixture
def start(tmp_path, llm_config, sentences, sweep_file):
    """A sweep over a config on a tiny model, with 24 rows to train on, 8 to validate and 4 to test."""
    from affinage import sweeps

    def go(content, splits=(24, 8, 4), overrides="", **sections):
        rows = sentences(sum(splits))
        rows["split"] = [split for split, n in enumerate(splits) for _ in range(n)]
        rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
        path = tmp_path / "copie" / "tiny.yaml"
        path.parent.mkdir(exist_ok=True)
        fixed = {"split": {"type": "fixed", "column": "split"}}
        generation = {"max_new_tokens": 4}
        given = {"preprocessing": fixed, "trainer": TRAINER, "generation": generation} | sections
        path.write_text(yaml.safe_dump(llm_config(**given)), encoding="utf-8")
        return sweeps.start(path, str(tmp_path / "rows.jsonl"), overrides, sweep_file(content), tmp_path / "results")

    return go


def test_keys_types_and_values_that_are_wrong_are_all_named_at_once(start, tmp_path):
    grid = "grid:\n  trainer.learning_rte: [0.1]\n  adapter.r: []\n  trainer.epochs: [1, fast]\n"
    with pytest.raises(AffinageError) as raised:
        start(grid + "  trainer.learning_rate: [0.1, -1]\n  adapter.dropout: [0.1, 7]")
    problems = [str(problem).partition("sweep.yaml")[2] for problem in raised.value.problems]
    assert [problem[:3] for problem in problems] == [":2:", ":3:", ":4:", ":5:", ":6:"]
    assert "unknown key 'learning_rte'. Did you mean 'learning_rate'?" in problems[0]
    assert "trainer.epochs: 'fast' is a str. Allowed: a int" in problems[2]
    assert "'trainer.learning_rate' is -1. Allowed: a number above 0" in problems[3]
    assert "'adapter.dropout' is 7. Allowed: a number from 0 to 1" in problems[4]
    assert not (tmp_path / "results").exists()


def test_trials_that_are_wrong_only_as_a_whole_are_named(start, tmp_path):
    paired = (
        "paired:\n- {trainer.epochs: 1}\n- adapter: null\n  quantization: {bits: 4}\n- {prompt.template: '{missing}'}"
    )
    with pytest.raises(AffinageError) as raised:
        start(paired)
    second, *third = (str(problem).partition("sweep.yaml")[2] for problem in raised.value.problems)
    assert second.startswith(":3: trial 2, adapter=null") and "Ludwig refuses this config" in second
    assert [":5: trial 3" in problem and "no column 'missing'" in problem for problem in third] == [True] * 3
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"splits": (30, 0, 6)}, "the data has none, so nothing says which trial is best"),
        ({"overrides": "trainer.skip_all_evaluation=true"}, "trainer.skip_all_evaluation is set"),
    ],
)
def test_a_sweep_without_a_validation_loss_is_refused(start, given, found):
    with pytest.raises(AffinageError, match=found):
        start({"grid": {"adapter.r": [2]}}, **given)


@pytest.mark.slow
def test_trials_are_ranked_and_one_that_fails_leaves_the_others_alone(start, tmp_path):
    from affinage import sweeps, training

    grid = {"trainer.learning_rate": [1e30, 1e-9, 0.01]}
    series = start({"grid": grid}, adapter=None)
    trials = sweeps.go_on(series)
    assert [trial["number"] for trial in trials] == [3, 2, 1]
    assert [trial["status"] for trial in trials] == ["finished", "finished", "failed"]
    assert "the loss is" in trials[2]["error"] and series.run(1).status == "failed"
    assert trials[0]["validation_loss"] < trials[1]["validation_loss"]
    third = series.run(3).manifest
    assert trials[0]["validation_loss"] == min(e["validation_loss"] for e in third["training"]["evaluations"])
    plan = training.plan(series.config, str(tmp_path / "rows.jsonl"), "trainer.learning_rate=0.01")
    alone = training.train(plan, tmp_path / "alone").run.manifest["training"]
    assert [e["train_loss"] for e in alone["evaluations"]] == [
        e["train_loss"] for e in third["training"]["evaluations"]
    ]
    assert json.loads((series.folder / "sweep.json").read_text())["trials"] == sorted(trials, key=lambda t: t["number"])


@pytest.mark.slow
def test_a_trial_that_ends_in_a_bug_keeps_its_traceback_and_is_tried_again(start, monkeypatch):
    from affinage import sweeps
    from affinage.ludwig_ext.trainer import AnswerTrainer

    def no_memory(self, *position):
        raise RuntimeError("out of memory")

    series = start({"paired": [{"adapter.r": 2}]})
    with monkeypatch.context() as broken:
        broken.setattr(AnswerTrainer, "_step", no_memory)
        (trial,) = sweeps.go_on(series)
    log = series.folder / "trial-1.txt"
    assert trial["status"] == "failed" and trial["error"].startswith("RuntimeError: out of memory (the whole traceback")
    assert str(log) in trial["error"] and "in no_memory" in log.read_text()
    (trial,) = sweeps.go_on(series)
    assert (trial["status"], trial["error"], trial["run"]) == ("finished", None, series.run(1).folder.name)


@pytest.mark.slow
def test_a_sweep_that_was_stopped_goes_on_where_it_was(start, tmp_path, monkeypatch):
    from affinage import sweeps
    from affinage.ludwig_ext.trainer import AnswerTrainer

    series = start({"grid": {"adapter.r": [2, 4]}})
    step, steps = AnswerTrainer._step, []

    def stop_in_the_second(self, *position):
        steps.append(position)
        if len(steps) == 12 + 8:
            os.kill(os.getpid(), signal.SIGINT)
        step(self, *position)

    monkeypatch.setattr(AnswerTrainer, "_step", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        sweeps.go_on(series)
    stopped = find_series("sweep", "last", tmp_path / "results")
    assert [trial["status"] for trial in stopped.state["trials"]] == ["finished", "waiting"]
    assert (stopped.state["status"], stopped.run(2).status) == ("interrupted", "interrupted")
    trials = sweeps.go_on(stopped)
    assert len(steps) == 2 * 12  # no step was taken twice
    assert {trial["status"] for trial in trials} == {"finished"} and stopped.state["status"] == "finished"
    with pytest.raises(AffinageError, match="nothing that is unfinished"):
        find_series("sweep", "last", tmp_path / "results")


@pytest.mark.slow
def test_the_script_shows_the_ranking_and_what_to_compare(start, tmp_path):
    start({"grid": {"adapter.r": [2]}})  # writes the config and the rows
    (tmp_path / "sweep.yaml").write_text(
        "grid: {trainer.learning_rate: [1e-9, 0.01], adapter.target_modules: [[q_proj]]}"
    )
    command = [sys.executable, ROOT / "evaluate" / "sweep.py", "--config", tmp_path / "copie" / "tiny.yaml"]
    command += "--sweep sweep.yaml --dataset rows.jsonl --results out --set trainer.epochs=1".split()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    other, best = (t["run"] for t in json.loads(next(tmp_path.rglob("sweep.json")).read_text())["trials"])
    assert done.stdout.index(best) < done.stdout.index(other) and f"Next: make evaluate RUN={best}" in done.stdout
    (page,) = tmp_path.rglob("sweep-*.html")
    assert f"Page of all runs: {page}" in done.stdout and all(run in page.read_text() for run in (best, other))
    assert "'adapter.target_modules=[q_proj]'" in done.stdout.replace("\n", "")
    assert "trial 2 of 2: trainer.learning_rate=0.01" in done.stderr and "Model config" not in done.stderr
    refused = subprocess.run(command[:4], capture_output=True, text=True, env=environment, check=False)
    assert refused.returncode == 2 and "error: --sweep: is missing, and" in refused.stderr
