"""Every script in tools/ and evaluate/, run by path as a person runs it."""

import json
import os
import subprocess
import sys

import pytest

from affinage.paths import ROOT

SCRIPTS = sorted([*(ROOT / "tools").glob("*.py"), *(ROOT / "evaluate").glob("*.py")])


def run(*arguments, cwd=ROOT):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=environment, check=False
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_shows_the_command_to_copy(script):
    done = run(script, "--help")
    assert done.returncode == 0
    assert f"{script.parent.name}/{script.name}" in done.stdout
    assert "usage:" in done.stdout


def test_help_of_no_script_loads_torch_ludwig_or_transformers():
    code = "import sys, runpy\n"
    code += f"for script in {list(map(str, SCRIPTS))!r}:\n"
    code += "    sys.argv = [script, '--help']\n"
    code += "    try: runpy.run_path(script, run_name='__main__')\n"
    code += "    except SystemExit: pass\n"
    code += "    loaded = [name for name in ('torch', 'ludwig', 'transformers') if name in sys.modules]\n"
    code += "    if loaded: sys.exit(f'{script} loads {loaded}')\n"
    assert run("-c", code).returncode == 0


def test_a_config_that_is_not_there_gives_exit_code_2_and_the_nearest_name(tmp_path):
    done = run(ROOT / "tools" / "train.py", "--config", "ludwig_configs/voix-passive/petit-lama-qlora.yaml")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Did you mean ludwig_configs/voix-passive/petit-llama-qlora.yaml?" in done.stderr


def test_a_list_without_runs_says_how_to_make_one(tmp_path):
    done = run(ROOT / "tools" / "list_runs.py", "--results", tmp_path)
    assert done.returncode == 0 and "No run in" in done.stdout and "Next: make train" in done.stdout


def test_showing_a_run_that_is_not_there_is_an_error_without_a_traceback(tmp_path):
    done = run(ROOT / "tools" / "show_run.py", "--run", "20200101-000000", "--results", tmp_path)
    assert done.returncode == 2 and "0 runs of that name" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_train_says_on_stdout_what_it_made_and_what_to_type_next(tmp_path):
    overrides = "trainer.train_steps=3 generation.max_new_tokens=4"
    config = "ludwig_configs/voix-passive/petit-llama-lora.yaml"
    done = run(
        ROOT / "tools" / "train.py", "--config", ROOT / config, "--set", overrides, "--results", tmp_path, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (manifest,) = tmp_path.rglob("run.json")
    for expected in (
        "Test split: 400 rows",
        "exact match",
        "Sample 3",
        "reference:",
        str(manifest.parent),
        "Next: make",
    ):
        assert expected in done.stdout, expected
    assert "step 3: train loss" in done.stderr
    assert "answering the test rows" in done.stderr
    assert json.loads(manifest.read_text())["metrics"]["scores"]["all"]["tuned"]["n"] == 400
    listed = run(ROOT / "tools" / "list_runs.py", "--results", tmp_path)
    assert manifest.parent.name in listed.stdout and "finished" in listed.stdout
    one = run(ROOT / "tools" / "show_run.py", "--run", "last", "--results", tmp_path)
    assert "3 of 3" in one.stdout and "Test split: 400 rows" in one.stdout and "Next: make list" in one.stdout
    again = run(ROOT / "tools" / "reproduce.py", "--run", manifest.parent.name, "--results", tmp_path)
    assert again.returncode == 0, again.stderr
    assert "all 3 losses are identical. repeated" in again.stdout and "not as it was" not in again.stdout
    for noise in ("Warning", "gemm_4bit", "Setting generation", "Loading weights", "trainable params"):
        assert noise not in done.stdout + done.stderr, noise
