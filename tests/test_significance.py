"""Which differences a comparison calls real: one sign test for scores and comparison, by groups where there are any."""

import json
import runpy
from pathlib import Path

import pytest

from affinage.comparison.gather import find_runs, gather
from affinage.comparison.page import compare, render
from affinage.comparison.verdicts import main_metric, pairs_of, verdict
from affinage.paths import CONFIGS, DATASETS
from affinage.runs import write_jsonl

made = runpy.run_path(str(Path(__file__).with_name("compared_runs.py")))
make_run, questions, predictions = (made[name] for name in ("make_run", "questions", "predictions"))
NAMES = ("20261120-100001", "20261120-100002")


def grouped(rows, size):
    """The rows, of which each `size` neighbours share a group."""
    return [row | {"group": f"document {place // size}"} for place, row in enumerate(rows)]


def compared(results, *names):
    return compare(gather(find_runs(names, results)[0]))


@pytest.mark.parametrize("rows", [questions(40), grouped(questions(40), 4)], ids=["rows", "groups"])
def test_the_comparison_and_the_scores_of_a_run_give_the_same_p_and_interval(tmp_path, rows):
    records = predictions(rows, skill=0.15)
    folder = make_run(tmp_path, run_id=NAMES[0], records=records)
    stored = json.loads((folder / "evaluation" / "voix-passive" / "metrics.json").read_text())
    comparison = compared(tmp_path, NAMES[0])
    base, tuned = comparison.systems
    tests = comparison.tests.differences(tuned, base)
    assert {"exact_match", "chrf", "perplexity"} <= tests.keys()
    for metric, test in tests.items():
        entry = stored["differences"]["tuned - base"][metric]
        assert (test.p, test.low, test.high) == pytest.approx((entry["p"], entry["low"], entry["high"])), metric
        assert (test.better, test.worse, test.equal) == (entry["better"], entry["worse"], entry["equal"])
        assert (test.better_groups, test.worse_groups) == (entry.get("better_units"), entry.get("worse_units"))


def test_rows_of_one_document_are_no_proof_however_many_they_are(tmp_path):
    # fault: 20 rows of 2 documents that all got better would make a p of 2e-6 from two independent observations
    rows = grouped(questions(20), 10)
    records = [record | {"tuned": record["reference"]} for record in predictions(rows)]
    make_run(tmp_path, run_id=NAMES[0], records=records)
    comparison = compared(tmp_path, NAMES[0])
    (pair,) = pairs_of(comparison.systems, comparison.tests, "exact_match")
    assert (pair.test.better, pair.test.better_groups, pair.test.p) == (20, 2, 0.5)
    assert pair.words == "no significant difference"
    assert render(comparison).count("groups: 2 better, 0 worse") == 2  # beside p, and in the sentence


def test_groups_count_in_the_answers_that_make_train_left_too(tmp_path):
    rows = grouped(questions(20), 10)
    folder = make_run(tmp_path, run_id=NAMES[0])
    kept = ("id", "group", "reference", "base", "tuned")
    records = [{key: record[key] for key in kept} | {"tuned": record["reference"]} for record in predictions(rows)]
    write_jsonl(folder / "predictions.jsonl", records)
    comparison = compared(tmp_path, NAMES[0])
    assert comparison.tests.differences(*reversed(comparison.systems))["exact_match"].p == 0.5


@pytest.mark.parametrize("skill", [0.0, 0.5, 1.0])
def test_two_identical_runs_are_reported_as_not_different(tmp_path, skill):
    for name in NAMES:
        make_run(tmp_path, run_id=name, records=predictions(questions(40), skill))
    comparison = compared(tmp_path, *NAMES)
    base, first, second = comparison.systems
    for metric, test in comparison.tests.differences(second, first).items():
        assert (test.value, test.low, test.high, test.better, test.worse, test.p) == (0, 0, 0, 0, 0, 1), metric
        assert not test.significant
    pairs = {(p.first.key, p.second.key): p.words for p in pairs_of(comparison.systems, comparison.tests, "chrf")}
    assert pairs["B", "A"] == "no significant difference"
    assert not any(cell.best for line in comparison.board.lines for cell in line.cells.values())
    sentence = verdict([first, second], comparison.tests, main_metric(comparison.board))
    assert sentence.startswith("A and B cannot be told apart by exact match")
    assert base.letters == ("A", "B")


@pytest.mark.slow
def test_a_few_steps_on_voix_passive_are_a_difference_whose_interval_leaves_out_0(tmp_path, monkeypatch):
    from affinage import training

    monkeypatch.chdir(CONFIGS.parent)  # the config names models/petit-llama
    lines = (DATASETS / "voix-passive" / "voix-passive.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    part = [row for split, n in ((0, 128), (1, 8), (2, 40)) for row in [r for r in rows if r["split"] == split][:n]]
    write_jsonl(tmp_path / "rows.jsonl", part)
    config = CONFIGS / "voix-passive" / "petit-llama-lora.yaml"
    steps = (
        "trainer.train_steps=8 trainer.checkpoints_per_epoch=1 trainer.learning_rate=0.01 generation.max_new_tokens=32"
    )
    run = training.train(training.plan(config, str(tmp_path / "rows.jsonl"), steps), tmp_path / "results").run
    comparison = compared(tmp_path / "results", run.folder.name)
    (pair,) = pairs_of(comparison.systems, comparison.tests, main_metric(comparison.board))
    assert (pair.metric, pair.first.key, pair.second.key, pair.test.n) == ("exact_match", "A", "base", 40)
    assert pair.test.low > 0 and pair.test.p < 0.05 and pair.words == "A is better"
    groups = len({row["group"] for row in part if row["split"] == 2})
    assert 5 < pair.test.better_groups <= groups < 40
