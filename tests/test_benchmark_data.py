"""The data benchmark still runs, finds what it plants and says what it measured; its timings are not judged here."""

import json
import subprocess
import sys

import pytest

from affinage.paths import ROOT


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    output = tmp_path_factory.mktemp("benchmark") / "data.json"
    command = [sys.executable, "benchmarks/data.py", "--quick", "--near", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not judged" in done.stdout
    return json.loads(output.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_every_fault_that_is_planted_is_found(result):
    [build] = result["builds"]
    assert build["planted"].keys() == build["found"].keys() and min(build["planted"].values()) > 0
    assert {name: n for name, n in build["found"].items() if name != "near duplicate"} == {
        name: n for name, n in build["planted"].items() if name != "near duplicate"
    }
    assert build["as_expected"] and result["near_duplicates"]["as_expected"]


@pytest.mark.slow
def test_time_and_memory_are_given_beside_their_bars(result):
    for part in (*result["builds"], result["near_duplicates"]):
        assert part["seconds"] > 0 and part["processor_seconds"] > 0 and part["peak_memory_bytes"] > 50e6
    assert set(result["bars"]) == {"peak_memory_bytes", "near_seconds"}
    assert 150 < result["near_duplicates"]["mean_characters"] < 250


@pytest.mark.slow
def test_the_result_says_what_was_measured_on_what(result):
    assert result["quick"]
    assert {"cpu", "packages", "git", "memory_bytes"} <= set(result["environment"])
