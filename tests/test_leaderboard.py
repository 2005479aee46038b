"""The table of what configs measured: only what runs recorded, and always the same way in the same place."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from affinage.comparison.leaderboard import (
    END,
    START,
    leaderboard,
    measured_configs,
    method,
    train_command,
    write_leaderboard,
)
from affinage.data import sha256
from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.runs import write_jsonl

made = runpy.run_path(str(Path(__file__).with_name("compared_runs.py")))
make_run, questions, predictions, changed, CONFIG = (
    made[name] for name in ("make_run", "questions", "predictions", "changed", "CONFIG")
)
ROWS = questions(40)
HEADINGS = (
    "config,base model,method,steps,time,peak memory,hardware,exact match,chrF,rows,date,run"  # as the table names them
).split(",")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder of configs with one config, results beside it, and the data its runs used; gives (configs, results)."""
    monkeypatch.setattr("affinage.data.DATASETS", tmp_path / "datasets")
    data = tmp_path / "datasets" / "voix-passive"
    data.mkdir(parents=True)
    (data / "rows.jsonl").write_text('{"input": "a", "output": "b"}\n', encoding="utf-8")
    write_config(tmp_path / "configs", "petit-llama-lora")
    return tmp_path / "configs", tmp_path / "results"


def write_config(configs, name, config=CONFIG):
    path = configs / "voix-passive" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# a comment\n" + yaml.safe_dump(config), encoding="utf-8")
    return path


def data_of(configs):
    path = configs.parent / "datasets" / "voix-passive" / "rows.jsonl"
    return {"dataset": "", "files": [{"name": path.name, "sha256": sha256(path)}]}


def lines(project):
    """The table as one dict per config, by the name of the config."""
    table = leaderboard(measured_configs(*project)).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table if line.startswith("| [")]
    return {row[0].partition("]")[0].strip("["): dict(zip(HEADINGS, row, strict=True)) for row in cells}


def test_a_config_with_a_run_shows_what_the_run_recorded(project):
    records = [
        record | {"tuned": record["reference"] if i < 30 else "non"} for i, record in enumerate(predictions(ROWS))
    ]
    make_run(project[1], records=records, data=data_of(project[0]))
    line = lines(project)["voix-passive/petit-llama-lora"]
    assert line["config"].endswith("(voix-passive/petit-llama-lora.yaml)")
    assert [line[name] for name in ("base model", "method", "steps", "time")] == [
        "models/petit-llama",
        "LoRA, r 4",
        "40",
        "90 s",
    ]
    assert [line[name] for name in ("peak memory", "hardware")] == ["1.3 GB resident", "A processor, 2 cores"]
    assert [line[name] for name in ("exact match", "rows")] == ["0.000 → 0.750", "40"]
    assert [line[name] for name in ("date", "run")] == ["2026-11-20", "`20261120-100001`"]


def test_a_run_of_make_train_alone_counts_too(project):
    folder = make_run(project[1], data=data_of(project[0]))
    write_jsonl(folder / "predictions.jsonl", predictions(ROWS, skill=1.0))
    line = lines(project)["voix-passive/petit-llama-lora"]
    assert (line["exact match"], line["chrF"].split()[-1], line["rows"]) == ("0.000 → 1.000", "100.0", "40")


def test_a_run_without_a_test_split_has_dashes_and_no_score(project):
    make_run(project[1], data=data_of(project[0]))
    line = lines(project)["voix-passive/petit-llama-lora"]
    assert [line[name] for name in ("exact match", "chrF", "rows", "steps")] == ["–", "–", "–", "40"]


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (None, "not measured"),
        ({"status": "failed"}, "not measured (1 unfinished)"),
        ({"config": changed(CONFIG, trainer__epochs=9)}, "not measured (1 run with other settings)"),
        (
            {"data": {"dataset": "", "files": [{"name": "rows.jsonl", "sha256": "0"}]}},
            "not measured (1 run on other data)",
        ),
    ],
)
def test_a_config_without_a_run_that_fits_has_no_line_and_says_why(project, entries, reason):
    if entries is not None:
        make_run(project[1], **({"data": data_of(project[0])} | entries), records=predictions(ROWS))
    table = leaderboard(measured_configs(*project))
    assert lines(project) == {} and "|" not in table
    link = "[voix-passive/petit-llama-lora](voix-passive/petit-llama-lora.yaml)"
    assert table.endswith(f"\n{reason.capitalize()}: {link}.\n")


def test_measured_configs_have_a_line_and_the_others_are_named_below(project):
    write_config(project[0], "petit-llama-full")
    make_run(project[1], data=data_of(project[0]))
    table = leaderboard(measured_configs(*project))
    assert list(lines(project)) == ["voix-passive/petit-llama-lora"]
    assert table.endswith("\n\nNot measured: [voix-passive/petit-llama-full](voix-passive/petit-llama-full.yaml).\n")


def test_the_next_command_is_the_one_that_the_config_names(project):
    path = write_config(project[0], "petit-llama-full")
    assert train_command(path) == f"make train CONFIG={path}"
    path.write_text(
        "# Teaches.\n# Run:     make train CONFIG=a.yaml DATASET=ludwig://x\n# Values: mine\n", encoding="utf-8"
    )
    assert train_command(path) == "make train CONFIG=a.yaml DATASET=ludwig://x"


def test_the_newest_run_that_fits_is_the_one_shown(project):
    data = data_of(project[0])
    make_run(project[1], run_id="20261120-100001", data=data)
    make_run(project[1], run_id="20261120-100002", data=data)
    make_run(project[1], run_id="20261120-100003", data=data, config=changed(CONFIG, trainer__epochs=9))
    make_run(project[1], run_id="20261120-100004", data=data, status="interrupted")
    assert lines(project)["voix-passive/petit-llama-lora"]["run"] == "`20261120-100002`"


def test_rows_of_ludwigs_own_are_the_data_of_a_config(project):
    make_run(project[1], data={"dataset": "ludwig://alpaca", "files": []})
    assert lines(project)["voix-passive/petit-llama-lora"]["run"] == "`20261120-100001`"


def test_no_folder_of_this_machine_gets_into_the_table(project):
    make_run(project[1], data=data_of(project[0]), base_model={"id": "/home/me/models/mistral"})
    assert lines(project)["voix-passive/petit-llama-lora"]["base model"] == "mistral"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"adapter": {"type": "lora", "r": 8}}, "LoRA, r 8"),
        ({"adapter": {"type": "lora", "r": 8, "use_dora": True}}, "DoRA, r 8"),
        ({"adapter": {"type": "lora", "r": 4}, "quantization": {"bits": 4}}, "LoRA, r 4, base in 4 bits"),
        ({"adapter": {"type": "ia3"}}, "ia3"),
        ({"adapter": None, "quantization": None}, "every weight"),
    ],
)
def test_the_method_is_named_as_people_name_it(config, expected):
    assert method(config) == expected


def test_the_table_stands_between_its_markers_and_the_text_around_it_stays(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"# Configs\n\nbefore\n\n{START}\nold\n{END}\n\nafter\n", encoding="utf-8")
    write_leaderboard("| new |\n", readme)
    assert readme.read_text(encoding="utf-8") == f"# Configs\n\nbefore\n\n{START}\n\n| new |\n\n{END}\n\nafter\n"


@pytest.mark.parametrize("text", [None, "# Configs\n\nmine\n"])
def test_without_markers_they_are_added_once_and_the_second_time_nothing_changes(tmp_path, text):
    readme = tmp_path / "README.md"
    if text:
        readme.write_text(text, encoding="utf-8")
    first = write_leaderboard("| x |\n", readme).read_text(encoding="utf-8")
    assert first.startswith(text or "# ludwig_configs/") and first.count(START) == first.count(END) == 1
    assert write_leaderboard("| x |\n", readme).read_text(encoding="utf-8") == first


@pytest.mark.parametrize("text", [START, END, f"{END}\n{START}", f"{START}\n{END}\n{START}\n{END}"])
def test_markers_that_do_not_fit_are_an_error_and_the_file_stays(tmp_path, text):
    readme = tmp_path / "README.md"
    readme.write_text(text, encoding="utf-8")
    with pytest.raises(AffinageError, match="markers"):
        write_leaderboard("| x |\n", readme)
    assert readme.read_text(encoding="utf-8") == text


def run(script, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    command = [sys.executable, str(ROOT / "evaluate" / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)


@pytest.mark.parametrize("script", ["compare.py", "leaderboard.py"])
def test_help_shows_the_command_to_copy(script):
    done = run(script, "--help")
    assert done.returncode == 0 and f"evaluate/{script}" in done.stdout


def test_the_script_writes_the_table_and_names_what_is_not_measured(project):
    write_config(project[0], "petit-llama-full")
    done = run("leaderboard.py", "--configs", project[0], "--results", project[1])
    assert done.returncode == 0, done.stderr
    assert "voix-passive/petit-llama-full: not measured" in done.stdout
    assert "Next: make train CONFIG=" in done.stdout
    assert "[voix-passive/petit-llama-full]" in (project[0] / "README.md").read_text(encoding="utf-8")


def test_comparing_prints_one_line_per_run_and_the_page(tmp_path):
    for name, skill in (("20261120-100001", 0.1), ("20261120-100002", 0.9)):
        make_run(tmp_path, run_id=name, records=predictions(ROWS, skill))
    done = run("compare.py", "voix-passive", "--results", tmp_path, "--name", "both")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:4]] == ["base", "A", "B"]
    assert "20261120-100002 petit-llama-lora" in done.stdout and "★ 0.9" in done.stdout
    assert (tmp_path / "comparisons" / "both.html").stat().st_size > 20_000
    assert "Next: make leaderboard" in done.stdout


def test_a_wrong_argument_gives_exit_code_2_and_no_traceback(tmp_path):
    done = run("compare.py", "nobody", "--results", tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "run nobody: 0 runs of that name" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"), [([], "RUNS: names no run"), (["a", "--name", "../b"], "NAME: '../b' is a path")]
)
def test_no_run_and_a_name_that_leaves_the_folder_are_refused(tmp_path, arguments, words):
    main = runpy.run_path(str(ROOT / "evaluate" / "compare.py"))["main"]
    with pytest.raises(AffinageError, match=words):
        main([*arguments, "--results", str(tmp_path)])
