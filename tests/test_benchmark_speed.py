"""The benchmarks of speed still run and compare equal work; their timings are not judged here."""

import json
import subprocess
import sys

import pytest

from affinage.paths import ROOT

pytestmark = pytest.mark.slow


def quick(script, folder):
    output = folder / "result.json"
    command = [sys.executable, f"benchmarks/{script}", "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not judged" in done.stdout
    return json.loads(output.read_text(encoding="utf-8"))


def test_trl_and_a_plain_loop_have_the_loss_of_affinage_on_the_same_batch(tmp_path):
    found = quick("peers.py", tmp_path)
    losses = found["losses"]
    assert losses["trl"] == pytest.approx(losses["affinage"], rel=1e-4)
    assert losses["plain"] == pytest.approx(losses["affinage"], rel=1e-5)
    assert all(seconds > 0 for each in found["time"]["rounds"] for seconds in each.values())
    assert {"affinage", "plain", "trl"} == set(found["memory"]["runs"][0])


def test_every_layout_has_the_same_loss_and_those_of_affinage_hold_less_padding(tmp_path):
    found = quick("lengths.py", tmp_path)
    assert found["same_loss"]
    for each in found["rounds"]:
        assert each["packed"]["places"] == each["packed"]["tokens"]
        assert each["packed"]["tokens"] <= each["by length"]["places"] < each["fixed order"]["places"]


def test_growth_counts_every_part_of_every_size(tmp_path):
    found = quick("growth.py", tmp_path)
    for parts in found["microseconds_per_row"].values():
        assert 0 < parts["rows"] < parts["all"] and 0 < parts["batches"] < parts["all"]
        assert parts["all"] == pytest.approx(sum(v for k, v in parts.items() if k != "all"), rel=0.2)
    assert found["growth"]["100"] == 0


def test_two_workers_are_compared_with_one_of_the_same_round(tmp_path):
    found = quick("workers.py", tmp_path)
    assert 0 < found["efficiency"]["median"] < 1
    for name in ("two, whole", "two, in parts"):
        (ratio,) = [a / b for a, b in zip(*(found["tokens_per_second"][one] for one in (name, "one")), strict=True)]
        assert found["ratio"][name] == {"min": ratio, "median": ratio, "max": ratio}
        assert found["last_loss"][name] == pytest.approx(found["last_loss"]["one"], abs=1e-5)
