"""The contestants of the benchmarks of whole trainings and of GPUs do equal work; timings are not judged here."""

import json
import sys
import time

import pytest

from affinage import benchmark_gpu
from affinage.benchmark_gpu import Case, measure_cases
from affinage.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def script(monkeypatch):
    """A script of benchmarks/ as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def load(name):
        monkeypatch.delitem(sys.modules, name, raising=False)
        return __import__(name)

    return load


def lines_of(contestant, shape, cases, folder, deadline=None):
    output = folder / contestant / "rows.jsonl"
    output.parent.mkdir()
    measure_cases(contestant, shape, cases, deadline or time.time() + 60, output)
    return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def test_affinage_and_trl_have_one_loss_on_the_quantized_model_and_rows_of_a_gpu(script, tmp_path):
    gpu = script("gpu")
    (_, shape), cases = gpu.QUICK_ORDER[0], gpu.QUICK_CASES
    rows = [row for name in gpu.CONTESTANTS for row in lines_of(name, shape, cases, tmp_path)]
    assert not any("refused" in row for row in rows), rows
    assert [row["tokens_per_step"] for row in rows] == [32, 64, 32, 64]
    assert all(len(row["seconds"]) == case.steps for row, case in zip(rows, [*cases, *cases], strict=True))
    verdict = gpu.judge([{"shape": "tiny", "turn": 0, **row} for row in rows])
    assert verdict["same_loss"] and len(verdict["speed_affinage_to_trl"]) == 2
    assert not verdict["memory_met"]


def test_the_random_weights_are_in_4_bits_and_the_same_every_time(script, tmp_path):
    gpu = script("gpu")
    shape = gpu.QUICK_ORDER[0][1]
    benchmark_gpu._config(shape).save_pretrained(tmp_path)
    first, again = (dict(benchmark_gpu.make_quantized(tmp_path).named_parameters()) for _ in range(2))
    assert {name for name, weight in first.items() if weight.dtype.itemsize == 1} == {
        name for name in first if "proj" in name
    }
    assert first.keys() == again.keys() and all(first[name].equal(again[name]) for name in first)


def test_what_fails_and_what_there_is_no_time_for_are_lines_of_the_result(script, tmp_path):
    shape = script("gpu").QUICK_ORDER[0][1]
    impossible = {**shape, "num_attention_heads": 3}
    (failed,) = lines_of("trl", impossible, [Case(1, False, 32, 8, 1)], tmp_path)
    assert failed["refused"] and "Traceback" in failed["traceback"] and str(ROOT) not in failed["traceback"]
    (late,) = lines_of("affinage", shape, [Case(1, False)], tmp_path, deadline=time.time() - 1)
    assert late["refused"] == "no time left"


def test_the_peaks_are_judged_by_the_lower_of_both_ways(script):
    def row(batch, checkpointing, reserved):
        case = {"shape": "Mistral-7B", "turn": 0, "batch_size": batch, "checkpointing": checkpointing}
        return {**case, "contestant": "affinage", "seconds": [1.0], "loss": 1.0, "reserved": reserved}

    least = [row(1, True, 4.5e9), row(2, True, 7e9), row(4, True, 9e9), row(16, True, 20e9), row(16, False, 60e9)]
    verdict = script("gpu").judge(least)
    assert verdict["least_peak_gb"] == {1: 4.5, 2: 7.0, 4: 9.0, 16: 20.0} and verdict["memory_met"]
    assert not script("gpu").judge([*least[:3], row(16, True, 27e9)])["memory_met"]


def test_a_whole_training_has_the_same_steps_and_its_loss_is_that_of_plain_transformers(script, tmp_path, stock):
    from affinage.ludwig_ext import register

    whole = script("whole_training")
    whole.make_model(whole.TINY.model, tmp_path)
    pair = {}
    for name in whole.CONTESTANTS:  # stock comes first: registering is for good
        if name != whole.STOCK:
            register()
        pair[name] = whole.timed(whole.TINY, tmp_path, tmp_path / name, name)
    found = whole.compare_losses(whole.TINY, tmp_path, pair)
    assert found["as_expected"], found
    assert found["reported"]["stock"] != pytest.approx(found["reported"]["affinage"], rel=1e-5)
    assert found["reported"]["affinage in bfloat16"] != found["reported"]["affinage"]
    assert all(one["seconds"] > 0 for one in pair.values())
