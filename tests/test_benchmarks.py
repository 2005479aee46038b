"""The benchmark script still runs and says what it measured; its timings are not judged here."""

import json
import subprocess
import sys

import pytest

from affinage.paths import ROOT

SPREAD = {"min", "median", "max"}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    output = tmp_path_factory.mktemp("benchmark") / "train_step.json"
    command = [sys.executable, "benchmarks/train_step.py", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not judged" in done.stdout
    return json.loads(output.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(("part", "above", "below"), [("time", "stock", "affinage"), ("memory", "affinage", "stock")])
def test_each_ratio_comes_with_its_pairs(result, part, above, below):
    found = result[part]
    assert found["n"] == len(found["pairs"]) == 2
    assert found["ratio_of"] == f"{above} / {below}"
    assert set(found["stock"]) == set(found["affinage"]) == set(found["ratio"]) == SPREAD
    ratios = [pair[above] / pair[below] for pair in found["pairs"]]
    assert (found["ratio"]["min"], found["ratio"]["max"]) == (min(ratios), max(ratios))
    assert all(value > 0 for pair in found["pairs"] for value in pair.values())


@pytest.mark.slow
def test_affinage_has_the_loss_of_plain_transformers_and_stock_only_without_padding(result):
    row, batch = result["losses"]["row"], result["losses"]["batch"]
    assert row["stock"] == pytest.approx(row["plain"], rel=1e-5)
    assert batch["affinage"] == pytest.approx(batch["plain"], rel=1e-5)
    assert batch["stock"] != pytest.approx(batch["plain"], rel=1e-5)
    assert result["losses"]["as_expected"]


@pytest.mark.slow
def test_the_result_says_what_was_measured_on_what(result):
    assert result["quick"]
    assert result["settings"]["tokens_per_row"]["min"] < result["settings"]["tokens_per_row"]["max"]
    assert result["threads"] >= 1
    assert {"cpu", "packages", "git", "memory_bytes"} <= set(result["environment"])


@pytest.mark.slow
def test_answers_of_both_contestants_agree(tmp_path):
    output = tmp_path / "answers.json"
    command = [sys.executable, "benchmarks/answers.py", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["different_answers"] == 0 and found["rows"] == 8
    assert found["n"] == 2 and set(found["ratio"]) == SPREAD
