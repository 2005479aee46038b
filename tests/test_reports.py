"""The tables of runs: what they show, and that a run which ended early is shown too."""

import pytest
from rich.console import Console

from affinage.reports import best_validation_loss, run_facts, runs_table, scores_table
from affinage.runs import all_runs, create_run

TRAINING = {
    "steps": 500,
    "planned_steps": 500,
    "seconds": 90.0,
    "tokens": 469356,
    "effective_batch_size": 16,
    "trainable_parameters": 61440,
    "parameters": 1968192,
    "cut_rows": 3,
    "cut_answer_tokens": 17,
    "best_step": 400,
    "peak_memory": {"resident": 1_290_981_376},
    "notes": ["latest.pt cannot be read"],
    "evaluations": [{"step": 400, "validation_loss": 0.0034}, {"step": 500, "validation_loss": 0.0041}],
}
SIDE = {"chrf": 50.0, "n": 400, "cut": 5}
SCORES = {
    "all": {"base": {**SIDE, "exact_match": 0.0}, "tuned": {**SIDE, "exact_match": 0.998}},
    "passive": {"base": {**SIDE, "exact_match": 0.01, "n": 100}, "tuned": {**SIDE, "exact_match": 1.0, "n": 100}},
}


@pytest.fixture
def runs(tmp_path):
    finished = create_run("voix-passive", "petit-llama-qlora", tmp_path)
    finished.record(status="finished", training=TRAINING, metrics={"scores": SCORES, "rows_in_split": 400})
    create_run("voix-passive", "petit-llama-qlora", tmp_path).record(status="interrupted")
    return all_runs(tmp_path)


def shown(table):
    console = Console(width=140, record=True)
    console.print(table)
    return console.export_text()


def test_runs_are_listed_newest_first_and_unfinished_ones_with_dashes(runs):
    assert [run.manifest["status"] for run in runs] == ["interrupted", "finished"]
    first, second = shown(runs_table(runs)).splitlines()[2:4]
    assert first.split()[:3] == [runs[0].folder.name, "voix-passive/petit-llama-qlora", "interrupted"]
    assert first.split()[3:] == ["-"] * 6
    assert second.split()[3:] == ["500", "1.5", "0.0034", "400", "0.000", "0.998"]


def test_one_screen_names_what_a_person_asks_about_a_run(runs):
    text = shown(run_facts(runs[1]))
    for expected in (
        "61,440 of 1,968,192 trained",
        "500 of 500, 469,356 tokens",
        "90 s, peak memory: resident 1.3 GB",
        "3 rows, 17 answer tokens",
        "step 400, validation loss 0.0034",
        "latest.pt cannot be read",
    ):
        assert expected in text, expected
    assert "interrupted" in shown(run_facts(runs[0]))


def test_scores_name_n_and_say_when_it_is_not_the_whole_split():
    assert "Test split: 400 rows, greedy answers" in shown(scores_table(SCORES, 400))
    assert "Test split: 400 rows of 5000, evenly spread" in shown(scores_table(SCORES, 5000))
    last = shown(scores_table(SCORES, 400)).splitlines()[-2]
    assert [cell.strip() for cell in last.strip("│").split("│")][:4] == ["all", "400", "0.000", "0.998"]


def test_best_loss_is_the_lowest_of_those_there_are():
    assert best_validation_loss(TRAINING) == 0.0034
    assert best_validation_loss({"evaluations": [{"step": 1, "train_loss": 2.0}]}) is None
    assert best_validation_loss({}) is None
