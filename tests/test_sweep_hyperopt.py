"""Ludwig's own form of a search as a sweep: read, refused with its lines, trained, and taken up again after a kill."""

import json
import multiprocessing
import os
import signal

import pytest
import yaml

from affinage.configs import read_config
from affinage.errors import AffinageError, Problem
from affinage.runs import all_runs
from affinage.series import find_series
from affinage.sweep_file import read_sweep

RATE = {"space": "loguniform", "lower": 1e-4, "upper": 0.05}
RANK = {"space": "choice", "categories": [2, 4]}
SECTION = {
    "goal": "minimize",
    "metric": "loss",
    "output_feature": "output",
    "split": "validation",
    "parameters": {"trainer.learning_rate": RATE, "adapter.r": RANK},
    "search_alg": {"type": "optuna", "seed": 3},
    "executor": {"type": "optuna", "num_samples": 4, "sampler": "tpe"},
}
IN_A_CONFIG = SECTION | {"executor": {"num_samples": 3}}  # Ludwig's schema has no type of executor but Ray's
processes = multiprocessing.get_context("forkserver")


@pytest.fixture
def read(tmp_path):
    def go(content, check=lambda key, value: []):
        path = tmp_path / "sweep.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return read_sweep(path, check, ["output"])

    return go


def test_a_section_is_read_from_its_key_from_a_whole_file_and_from_a_config(read, llm_config):
    under_its_key = read({"hyperopt": SECTION})
    assert under_its_key.search == read(SECTION).search == read(llm_config(hyperopt=SECTION)).search
    search, trials = under_its_key.search, under_its_key.trials
    assert (search.sampler, search.seed, search.trials) == ("tpe", 3, 4)
    assert len(trials) == 4 and all(1e-4 <= trial["trainer.learning_rate"] <= 0.05 for trial in trials)
    assert all(list(trial) == ["trainer.learning_rate", "adapter.r"] for trial in trials)
    assert [search.settings(drawn) for drawn in under_its_key.drawn] == trials


@pytest.mark.parametrize(
    ("algorithm", "executor", "expected"),
    [
        ({}, {}, ("tpe", 0)),
        ({"type": "random", "random_state": 5}, {}, ("random", 5)),
        ({"type": "variant_generator"}, {}, ("random", 0)),
        ({"type": "optuna"}, {"sampler": "random"}, ("random", 0)),
        ({"type": "optuna"}, {"sampler": "auto"}, ("tpe", 0)),
    ],
)
def test_the_sampler_and_its_seed_are_those_asked_for(read, algorithm, executor, expected):
    search = read(SECTION | {"search_alg": algorithm, "executor": {"num_samples": 2} | executor}).search
    assert (search.sampler, search.seed) == expected


def test_a_grid_needs_no_number_of_trials(read):
    sweep = read({"parameters": {"adapter.r": {"space": "grid_search", "values": [2, 4, 8]}}})
    assert [trial["adapter.r"] for trial in sweep.trials] == [2, 4, 8]


def test_ends_of_ranges_and_listed_values_are_checked_on_their_lines(read):
    checked = []

    def check(key, value):
        checked.append((key, value))
        return [Problem(f"SET {key}", "is wrong.")] if value == 9 else []

    text = (
        "parameters:\n  a:\n    space: uniform\n    lower: 1\n    upper: 9\n  b: {space: choice, categories: [3, 9]}\n"
    )
    with pytest.raises(AffinageError, match=r"sweep\.yaml:5: a: is wrong.\n.*sweep\.yaml:6: b: is wrong.$"):
        read(text + "  c: {space: randn, mean: 1, sd: 0.5}\nexecutor: {num_samples: 2}", check)
    assert checked == [("a", 1), ("a", 9), ("b", 3), ("b", 9), ("c", -1.0), ("c", 3.0)]


def executor(**keys):
    return {"hyperopt": SECTION | {"executor": {"num_samples": 2} | keys}}


def space(**keys):
    return {"parameters": {"x": keys}, "executor": {"num_samples": 2}}


REFUSED = {
    "empty": ("hyperopt:", r":1: 'hyperopt' is empty. Allowed: parameters and executor"),
    "a typo": ("hyperopt:\n  parametres: {}", r":2: unknown key 'parametres'. Did you mean 'parameters'"),
    "no parameters": ({"hyperopt": {"goal": "minimize"}}, "'parameters' is empty. Allowed: keys of the config"),
    "no space": ("parameters:\n  a: [1, 2]", r":2: 'a' is \[1, 2\]. Allowed: a space such as {space: loguniform"),
    "keys in keys": (
        "parameters:\n  trainer:\n    learning_rate: {space: randn}",
        ":2: 'trainer' is .*Allowed: a space",
    ),
    "unknown space": (space(space="gauss"), r":3: the space of 'x' is 'gauss'. Allowed: choice, .*qrandn"),
    "no ends": (space(space="uniform"), "'x' has no 'lower' and no 'upper'"),
    "no q": (space(space="qrandint", lower=2, upper=4), "'x' has no 'q'. Allowed: lower, upper, q"),
    "another key": (space(space="uniform", lower=1, upper=2, uper=3), ":6: unknown key 'uper'. Did you mean 'upper'"),
    "ends turned round": (space(space="uniform", lower=2, upper=1), ":5: 'upper' is 1 and 'lower' is 2"),
    "text": (space(space="uniform", lower="low", upper=1), "'lower' is 'low'. Allowed: a number."),
    "half of a whole": (space(space="randint", lower=1.5, upper=3), "'lower' is 1.5. Allowed: a whole number"),
    "no logarithm": (space(space="loguniform", lower=0, upper=3), "'lower' is 0 and has no logarithm"),
    "no base": (space(space="loguniform", lower=1, upper=3, base=1), "'base' is 1. Allowed: a number above 0, not 1"),
    "no step": (space(space="quniform", lower=1, upper=3, q=0), "'q' is 0. Allowed: a number above 0"),
    "beside the steps": (space(space="qrandint", lower=1, upper=9, q=2), "'lower' is 1 and 'q' is 2. Allowed: a mult"),
    "no deviation": (space(space="randn", sd=-1), "'sd' is -1. Allowed: a number above 0"),
    "no values": (space(space="choice", categories=[]), "'x' is empty. Allowed: a list of at least one value"),
    "one value twice": (space(space="grid_search", values=[1, 1]), "'x' has the value 1 twice"),
    "maximize": ({"hyperopt": SECTION | {"goal": "maximize"}}, ":2: 'goal' is 'maximize', and .*validation loss"),
    "a metric": ({"hyperopt": SECTION | {"metric": "accuracy"}}, "'metric' is 'accuracy', .*Allowed: loss"),
    "the test split": ({"hyperopt": SECTION | {"split": "test"}}, "'split' is 'test', .*Allowed: validation"),
    "a feature": ({"hyperopt": SECTION | {"output_feature": "y"}}, "'output_feature' is 'y'.*combined, output"),
    "an algorithm": (SECTION | {"search_alg": {"type": "bohb"}}, "'type' of search_alg is 'bohb'. Allowed: random, v"),
    "known points": (
        SECTION | {"search_alg": {"type": "optuna", "points_to_evaluate": []}},
        "'points_to_evaluate' of search_alg is not done here: .*'paired'",
    ),
    "a seed by another name": (SECTION | {"search_alg": {"random_state": 1}}, "unknown key 'random_state'. *Allowed"),
    "ray": (executor(type="ray"), "'type' of executor is 'ray', and trials are trained one after the other"),
    "gpus": (executor(gpu_resources_per_trial=1), "'gpu_resources_per_trial' of executor is not done here: trials"),
    "none at once": (executor(max_concurrent_trials=0), "'max_concurrent_trials' is 0. Allowed: a whole number from 1"),
    "a scheduler": (executor(scheduler={"type": "asha"}), "'scheduler' of executor is not done here: every trial is"),
    "a time limit": (executor(time_budget_s=60), "'time_budget_s' of executor is not done here: press Ctrl-C"),
    "another sampler": (executor(sampler="cmaes"), "'sampler' is 'cmaes'. Allowed: tpe, auto, random"),
    "no number of trials": (executor(num_samples=None), "'num_samples' is empty. Allowed: a whole number from 1"),
    "too many trials": (executor(num_samples=5000), "'num_samples' is 5000. Allowed: a whole number from 1 to 1,000"),
    "more than there are": (
        {"parameters": {"a": RANK}, "executor": {"num_samples": 3}},
        "'num_samples' is 3, but only 2 different trials can be drawn",
    ),
    "a grid twice": (
        {"parameters": {"a": {"space": "grid_search", "values": [1, 2]}}, "executor": {"num_samples": 2}},
        "only 1 different trials can be drawn for each combination of grid_search",
    ),
    "two samplers": (
        SECTION | {"search_alg": {"type": "random"}, "executor": {"num_samples": 2, "sampler": "tpe"}},
        "'sampler' is 'tpe', and search_alg is 'random'",
    ),
    "two forms": ({"grid": {"adapter.r": [2]}, "hyperopt": SECTION}, "'grid' and 'hyperopt' stand side by side"),
    "a config without it": ({"model_type": "llm"}, "is a config without a 'hyperopt' section"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_or_not_done_here_is_named_with_its_line(read, name):
    content, found = REFUSED[name]
    with pytest.raises(AffinageError, match=found) as raised:
        read(content)
    assert all("sweep.yaml" in str(problem) for problem in raised.value.problems)


def project(folder, config, rows):
    """A config and 36 rows in three splits; gives what `start` of a sweep takes, but the results."""
    rows["split"] = [0] * 24 + [1] * 8 + [2] * 4
    rows.to_json(folder / "rows.jsonl", orient="records", lines=True)
    path = folder / "copie" / "tiny.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path, str(folder / "rows.jsonl"), "", path


@pytest.fixture
def asked(tmp_path, llm_config, sentences):
    """Called with a `hyperopt` section: a project whose config has it."""

    def make(section, folder=tmp_path):
        trainer = {"type": "finetune", "train_steps": 2, "batch_size": 4, "eval_batch_size": 8}
        fixed = {"split": {"type": "fixed", "column": "split"}}
        config = llm_config(
            preprocessing=fixed, trainer=trainer, generation={"max_new_tokens": 2}, adapter={"type": "lora"}
        )
        return project(folder, config | {"hyperopt": section}, sentences(36))

    return make


def drawn_and_losses(series):
    return [(trial["set"], trial["validation_loss"]) for trial in series.state["trials"]]


@pytest.fixture
def two_at_random(monkeypatch):
    """TPE draws two trials at random before it learns, instead of ten, so that few trainings show it."""
    for module in ("optuna_search", "sweeps"):
        monkeypatch.setattr(f"affinage.{module}.AT_RANDOM", 2)


@pytest.mark.slow
def test_a_search_trains_ranks_and_goes_on_after_a_kill_as_one_that_was_not_killed(asked, tmp_path, two_at_random):
    from affinage import sweeps

    (tmp_path / "killed").mkdir()
    whole = sweeps.start(*asked(IN_A_CONFIG), tmp_path / "results")
    assert len(whole.state["trials"]) == 2  # the third needs the results of these
    trials = sweeps.go_on(whole)
    assert [trial["status"] for trial in trials] == ["finished"] * 3
    assert [trial["validation_loss"] for trial in trials] == sorted(t["validation_loss"] for t in trials)
    best = read_config(whole.folder.with_name(trials[0]["run"]) / "config.yaml")
    assert (
        f"trainer.learning_rate={best['trainer']['learning_rate']} adapter.r={best['adapter']['r']}"
        in (trials[0]["set"])
    )
    arguments = *asked(IN_A_CONFIG, tmp_path / "killed"), tmp_path / "killed" / "results"
    process = processes.Process(target=killed_in_the_third_trial, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    again = find_series("sweep", "last", arguments[-1])
    assert [trial["status"] for trial in again.state["trials"]] == ["finished", "finished", "waiting"]
    before = [(again.run(number).folder / "history.jsonl").stat().st_mtime_ns for number in (1, 2)]
    assert again.run(3).status == "killed"
    sweeps.go_on(again)
    assert drawn_and_losses(again) == drawn_and_losses(whole)
    assert [(again.run(number).folder / "history.jsonl").stat().st_mtime_ns for number in (1, 2)] == before
    assert len(all_runs(arguments[-1])) == 3 and again.state["status"] == "finished"


def killed_in_the_third_trial(*arguments):
    from affinage import optuna_search, sweeps
    from affinage.ludwig_ext.trainer import AnswerTrainer

    optuna_search.AT_RANDOM = sweeps.AT_RANDOM = 2
    step, steps = AnswerTrainer._step, []

    def die_in_the_sixth(self, *position):
        steps.append(position)
        if len(steps) == 2 + 2 + 2:
            os.kill(os.getpid(), signal.SIGKILL)
        step(self, *position)

    AnswerTrainer._step = die_in_the_sixth
    sweeps.go_on(sweeps.start(*arguments))


@pytest.mark.slow
def test_a_loss_that_diverges_is_a_failed_trial_and_no_infinity(asked, tmp_path, monkeypatch):
    from affinage import sweeps
    from affinage.ludwig_ext.evaluation import Evaluations

    values = {"space": "grid_search", "values": [1e30, 0.01]}
    series = sweeps.start(*asked({"parameters": {"trainer.learning_rate": values}}), tmp_path / "results")
    with monkeypatch.context() as broken:
        broken.setattr(Evaluations, "loss", lambda self, rows: float("nan"))
        trials = sweeps.go_on(series)
    assert [trial["status"] for trial in trials] == ["failed", "failed"]
    assert trials[1]["error"] == "step 2: the validation loss is no number."
    assert not any(
        "validation_loss" in trial for trial in json.loads((series.folder / "sweep.json").read_text())["trials"]
    )


def test_the_readme_names_every_space_and_every_key():
    from affinage.paths import ROOT
    from affinage.sweep_hyperopt import KEYS, SPACES

    text = (ROOT / "evaluate" / "README.md").read_text(encoding="utf-8").split("## Sweeps")[1].split("## Files")[0]
    assert [name for name in (*SPACES, *KEYS) if f"`{name}`" not in text and f"`{name}." not in text] == []
