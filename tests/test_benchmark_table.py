"""The table of benchmarks/README.md is what the JSON files give, and says what has not been measured."""

import json
import shutil

import pytest

from affinage.benchmark_table import END, START, table, written
from affinage.errors import AffinageError
from affinage.paths import ROOT

FOLDER = ROOT / "benchmarks"


def test_the_readme_holds_the_table_that_the_files_give():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert readme == written(readme, table(FOLDER)), "run .venv/bin/python tools/benchmark_table.py"


# float32 gains 1.66 times: the arithmetic itself takes longer than that allows on the machine it was measured on
MISSED = {"whole training with evaluations, stock / affinage"}


def test_every_figure_that_was_measured_meets_its_bar_but_those_that_are_said_to_miss_it():
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(FOLDER).splitlines()[2:]]
    assert {line[0] for line in lines if line[3] == "no"} == MISSED
    unmeasured = [line[0] for line in lines if line[1].startswith("not measured")]
    assert unmeasured in ([], ["4-bit training on a GPU"])


def test_a_figure_of_a_file_stands_in_its_line_with_its_bar(tmp_path):
    shutil.copy(FOLDER / "train_step.json", tmp_path)
    found = json.loads((tmp_path / "train_step.json").read_text(encoding="utf-8"))
    found["time"]["ratio"] = {"min": 1.0, "median": 1.25, "max": 2.0}
    found["time"]["met"] = False
    (tmp_path / "train_step.json").write_text(json.dumps(found), encoding="utf-8")
    line = next(line for line in table(tmp_path).splitlines() if line.startswith("| time of a training step, stock"))
    assert [cell.strip() for cell in line.split("|")[2:6]] == ["1.25 (1.00 to 2.00)", "at least 1.6", "no", "12"]


def test_what_has_no_file_is_said_to_be_not_measured(tmp_path):
    lines = table(tmp_path).splitlines()[2:]
    assert len(lines) == 12 and all("not measured" in line for line in lines)
    assert "it has not run on one yet" in lines[-1]


def test_a_gpus_file_takes_the_place_of_that_line(tmp_path):
    spread = {"n": 2, "min": 0.9, "median": 1.1, "max": 1.3}
    found = {
        "speed_affinage_to_trl": {"Mistral-7B, batch 4, no checkpointing": spread},
        "least_peak_gb": {"1": 4.6, "16": 27.0},
        "course_gb": {"1": 5, "16": 26},
    }
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "some-gpu.json").write_text(json.dumps(found), encoding="utf-8")
    text = table(tmp_path)
    assert "has not run" not in text
    assert "affinage / TRL on some-gpu | 1.10 (0.90 to 1.30) | at least 1 | yes | 2 | `results/some-gpu.json` |" in text
    assert "batch 1, on some-gpu | 4.6 GB | under 5 GB | yes |" in text
    assert "batch 16, on some-gpu | 27.0 GB | under 26 GB | no |" in text


def test_the_table_replaces_what_stood_between_the_marks_and_nothing_else():
    assert written(f"above\n{START}\nold\n{END}\nbelow\n", "new") == f"above\n{START}\nnew\n{END}\nbelow\n"
    with pytest.raises(AffinageError, match="marks"):
        written(f"{START}\nno end", "new")
