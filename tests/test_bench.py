"""Measured cells: what is changed in the config, what does not fit, what is drawn and written."""

import json
import subprocess
import sys

import pytest
import yaml

from affinage.errors import AffinageError
from affinage.paths import ROOT


@pytest.mark.parametrize(
    ("bits", "quantized", "mixed"), [(4, {"bits": 4}, False), (8, {"bits": 8}, False), (16, None, True)]
)
def test_a_cell_changes_bits_and_batch_and_keeps_the_rest(llm_config, bits, quantized, mixed):
    from affinage.footprint.bench import Cell, settings

    config = llm_config(quantization={"bits": 4, "bnb_4bit_quant_type": "fp4"})
    found = settings(config, Cell(bits, 16, 64, 3))
    assert found["trainer"]["batch_size"] == 16 and found["trainer"]["use_mixed_precision"] is mixed
    assert found["trainer"]["learning_rate"] == config["trainer"]["learning_rate"]
    assert found["quantization"] == (quantized and {"bnb_4bit_quant_type": "fp4", **quantized})
    assert config["trainer"]["batch_size"] == 4


def test_the_median_leaves_the_first_step_out():
    from affinage.footprint.bench import median

    assert median([9.0, 1.0, 2.0, 3.0]) == 2.0
    assert median([9.0, 1.0, 2.0]) == 1.5
    assert median([9.0]) == 9.0


def test_results_that_do_not_fit_leave_gaps_in_the_picture(tmp_path):
    from affinage.footprint.bench import Result, draw

    refused = Result(8, 2, [], None, None, 2**33, "does not fit")
    draw([Result(4, 1, [0.2, 0.1], 2**30, None, 2**30), refused], 64, tmp_path / "bench.png")
    draw([refused], 64, tmp_path / "none.png")
    for name in ("bench.png", "none.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_what_a_cell_cannot_hold_is_a_result_and_what_is_wrong_is_raised(monkeypatch):
    from affinage.footprint import bench

    class Pool:
        """Stands in for a process: fails as the cell's bits say."""

        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, _, config, cell, folder):
            raise {
                4: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
                8: bench.BrokenProcessPool(),
                16: RuntimeError("shape mismatch"),
            }[cell.bits]

    monkeypatch.setattr(bench, "ProcessPoolExecutor", Pool)
    found = list(bench.measure_cells({}, [bench.Cell(4, 1, 8, 2), bench.Cell(8, 1, 8, 2)]))
    assert [result.refused.partition(":")[0] for result in found] == ["does not fit", "does not fit"]
    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(bench.measure_cells({}, [bench.Cell(16, 1, 8, 2)]))


def test_weights_that_are_not_here_are_an_error_to_mend(affinage, llm_config, tmp_path):
    from affinage.footprint.fitting import check

    path = tmp_path / "task" / "c.yaml"
    path.parent.mkdir()
    config = llm_config(base_model="openai-community/gpt2-medium")
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.raises(AffinageError, match="not on this machine"):
        check(path, config)


def bench(*options):
    command = [sys.executable, "tools/bench.py", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_script_measures_a_cell_and_writes_table_json_and_picture(llm_config, tmp_path):
    path = tmp_path / "task" / "tiny.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(llm_config()), encoding="utf-8")
    options = ["--batches", "2", "--bits", "32", "--steps", "2", "--length", "40", "--results", str(tmp_path)]
    done = bench("--config", str(path), *options)
    assert done.returncode == 0, done.stderr
    assert "One training step on rows of 40 tokens" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Next: make fit")
    [written] = tmp_path.glob("bench/task/tiny/*/bench.json")
    [one] = json.loads(written.read_text(encoding="utf-8"))["results"]
    assert len(one["seconds"]) == 2 and one["median_seconds"] == one["seconds"][1]
    assert one["estimate"] == pytest.approx(one["peak"], rel=0.15)
    assert written.with_name("bench.png").exists()
    wrong = bench("--config", str(path), "--bits", "5")
    assert wrong.returncode == 2 and "BITS: '5'" in wrong.stderr
