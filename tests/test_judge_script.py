"""evaluate/judge.py and its demo, run by path: killed and started again, too few verdicts, nobody there."""

import json
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from affinage.paths import ROOT

helper = runpy.run_path(str(Path(__file__).with_name("judged_rows.py")))
rows, run_folder, server_of = helper["rows"], helper["run_folder"], helper["server_of"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
SUMMARY = "evaluation/default/judge/score-llama3.1-8b/summary.json"


def command(script, results, *options):
    run = results / "alone" / "config" / "20260101-000000"
    return [sys.executable, str(ROOT / "evaluate" / script), "--run", str(run), "--results", str(results), *options]


def run_script(script, results, *options):
    return subprocess.run(
        command(script, results, *options), capture_output=True, text=True, env=ENVIRONMENT, check=False
    )


@pytest.mark.parametrize("script", ["judge.py", "judge_demo.py"])
def test_help_shows_the_command_to_copy(script):
    done = subprocess.run([sys.executable, ROOT / "evaluate" / script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and f"evaluate/{script} --run last" in done.stdout


@pytest.mark.slow
def test_killed_three_times_and_started_again_it_gives_the_same_summary(tmp_path):
    folders = [run_folder(tmp_path / name, rows(30)) for name in ("whole", "killed")]
    with server_of(delay_s=0.02) as server:
        assert run_script("judge.py", tmp_path / "whole", "--host", server.url).returncode == 0
        for questions in (8, 25, 20):
            server.chats.clear()
            process = subprocess.Popen(
                command("judge.py", tmp_path / "killed", "--host", server.url),
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
            )
            while len(server.chats) < questions and process.poll() is None:
                time.sleep(0.005)
            assert process.poll() is None, "it ended before it could be killed"
            process.kill()
            process.wait()
            assert not (folders[1] / SUMMARY).exists()
        server.chats.clear()
        assert run_script("judge.py", tmp_path / "killed", "--host", server.url).returncode == 0
        assert len(server.chats) <= 75 - 50  # 5 controls, 60 answers and 10 once more; at least 50 were kept
    whole, killed = ((folder / SUMMARY).read_bytes() for folder in folders)
    assert whole == killed
    lines = [(folder / SUMMARY).with_name("verdicts.jsonl").read_text("utf-8") for folder in folders]
    scores = [[json.loads(line)["score"] for line in text.splitlines()] for text in lines]
    assert scores[0] == scores[1] and len(scores[0]) == 60


@pytest.mark.slow
def test_too_few_verdicts_give_exit_code_1_and_name_the_failures(tmp_path):
    folder = run_folder(tmp_path, rows(4), base_model="meta/llama-1b")
    with server_of() as server:
        server.script(*["ok"] * 5, "refusal")
        done = run_script("judge.py", tmp_path, "--host", server.url)
    assert done.returncode == 1, done.stderr
    for words in ("coverage is 87.5%", "(base): refused 1", "are both llama", "passed", "Next: make compare"):
        assert words in done.stdout
    assert json.loads((folder / SUMMARY).read_text("utf-8"))["coverage"] == 0.875
    assert (folder / SUMMARY).with_name("histogram.png").read_bytes().startswith(b"\x89PNG")
    assert [body for path, body in server.others if body.get("keep_alive") == 0], "the model's memory was not freed"


@pytest.mark.slow
def test_without_a_server_it_says_how_to_start_one(tmp_path):
    run_folder(tmp_path, rows(2))
    done = run_script("judge.py", tmp_path, "--host", "127.0.0.1:1")
    assert done.returncode == 2 and "ollama serve" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_demo_says_demo_in_everything_it_writes(tmp_path):
    folder = run_folder(tmp_path, rows(6))
    done = run_script("judge_demo.py", tmp_path, "--mode", "pairwise")
    assert done.returncode == 0, done.stderr
    assert " DEMO " in done.stdout and " DEMO " in done.stderr
    (written,) = (folder / "evaluation/default/judge").iterdir()
    assert "demo" in written.name
    summary = json.loads((written / "summary.json").read_text("utf-8"))
    assert summary["demo"] is True and summary["warnings"][0].startswith("DEMO")
    assert all(json.loads(line)["demo"] for line in (written / "verdicts.jsonl").read_text("utf-8").splitlines())
