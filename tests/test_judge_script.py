"""evaluate/judge.py and its demo: killed and started again, twice at once, a part of the rows, nobody there."""

import json
import multiprocessing
import os
import random
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from affinage.console import run_script
from affinage.paths import ROOT
from affinage.runs import held

helper = runpy.run_path(str(Path(__file__).with_name("judged_rows.py")))
rows, run_folder, server_of = helper["rows"], helper["run_folder"], helper["server_of"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
SCRIPT = ROOT / "evaluate" / "judge.py"
EVALUATION = Path("evaluation/default")
SUMMARY = EVALUATION / "judge/score-llama3.1-8b/summary.json"
main = runpy.run_path(str(SCRIPT))["main"]


def options(results, *more):
    return ["--run", str(results / "alone" / "config" / "20260101-000000"), "--results", str(results), *more]


def start(script, results, *more, python=()):
    command = [sys.executable, *python, str(ROOT / "evaluate" / script), *options(results, *more)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)


def run(results, *more):
    return run_script(lambda: main(options(results, *more)))


@pytest.mark.parametrize("script", ["judge.py", "judge_demo.py"])
def test_help_shows_the_command_to_copy(script):
    done = subprocess.run([sys.executable, ROOT / "evaluate" / script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and f"evaluate/{script} --run last" in done.stdout


class Killed:
    """Starts the script again and again on one run. The processes are forks of one that has imported everything."""

    def __init__(self, server, results, monkeypatch):
        self.context = multiprocessing.get_context("forkserver")
        self.server, self.summary = server, results / "alone/config/20260101-000000" / SUMMARY
        monkeypatch.setattr(sys, "argv", ["judge.py", *options(results, "--host", server.url)])

    def start(self):
        self.server.chats.clear()
        process = self.context.Process(target=runpy.run_path, args=(str(SCRIPT), None, "__main__"))
        process.start()
        return process

    def kill_when(self, reached, seconds):
        """Kills it `seconds` after `reached` has become true; gives whether it was still at work."""
        process = self.start()
        while not reached() and process.is_alive():
            time.sleep(0.002)
        time.sleep(seconds)
        at_work = process.is_alive()
        process.kill()
        process.join()
        return at_work


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_gives_the_same_summary(tmp_path, monkeypatch):
    whole, killed = (run_folder(tmp_path / name, rows(30)) / SUMMARY for name in ("whole", "killed"))
    with server_of(delay_s=0.01) as server:
        done = start("judge.py", tmp_path / "whole", "--host", server.url, python=("-X", "importtime"))
        assert done.returncode == 0, done.stderr[-2000:]
        assert "| torch\n" not in done.stderr, "torch takes longer to import than many a judge to answer"
        again, draw = Killed(server, tmp_path / "killed", monkeypatch), random.Random(0)
        for _ in range(8):  # 5 controls, 60 answers and 10 once more are 75 questions: it cannot end before
            questions = draw.randint(1, 9)
            assert again.kill_when(lambda n=questions: len(server.chats) >= n, draw.uniform(0, 0.02))
            assert not killed.exists()
        written = killed.with_name("verdicts.jsonl").exists
        for reached, longest in ((written, 0.1), (lambda: True, 0.5)):  # while it writes; while it reads what is known
            again.kill_when(reached, draw.uniform(0, longest))
            assert not killed.exists() or killed.read_bytes() == whole.read_bytes()
        last = again.start()
        last.join()
        assert last.exitcode == 0 and server.chats == []
    assert whole.read_bytes() == killed.read_bytes()
    lines = [path.with_name("verdicts.jsonl").read_text("utf-8").splitlines() for path in (whole, killed)]
    scores = [[json.loads(line)["score"] for line in text] for text in lines]
    assert scores[0] == scores[1] and len(scores[0]) == 60


def test_too_few_verdicts_give_exit_code_1_and_name_the_failures(tmp_path, capfd):
    folder = run_folder(tmp_path, rows(4), base_model="meta/llama-1b")
    with server_of() as server:
        server.script(*["ok"] * 5, "refusal")
        assert run(tmp_path, "--host", server.url) == 1
    said = capfd.readouterr().out
    for words in ("coverage is 87.5%", "(base): refused 1", "are both llama", "passed", "Next: make compare"):
        assert words in said
    assert json.loads((folder / SUMMARY).read_text("utf-8"))["coverage"] == 0.875
    assert (folder / SUMMARY).with_name("histogram.png").read_bytes().startswith(b"\x89PNG")
    assert [body for path, body in server.others if body.get("keep_alive") == 0], "the model's memory was not freed"


def test_without_a_server_it_says_how_to_start_one(tmp_path, capfd):
    run_folder(tmp_path, rows(2))
    assert run(tmp_path, "--host", "127.0.0.1:1") == 2
    assert "ollama serve" in capfd.readouterr().err


def test_a_model_that_is_missing_is_offered_and_pulled_with_a_bar(tmp_path, capfd):
    folder = run_folder(tmp_path, rows(2))
    with server_of(models=("mistral:7b",)) as server:
        assert run(tmp_path, "--host", server.url) == 2
        assert "PULL=1 with make" in capfd.readouterr().err and not (folder / SUMMARY).exists()
        assert run(tmp_path, "--host", server.url, "--pull") == 0
    assert "pulling llama3.1:8b" in capfd.readouterr().err and (folder / SUMMARY).exists()


def test_a_part_of_the_rows_has_a_folder_of_its_own_and_is_not_asked_about_again(tmp_path):
    folder = run_folder(tmp_path, rows(6))
    part = folder / EVALUATION / "judge/score-llama3.1-8b-2-rows/summary.json"
    with server_of() as server:
        run(tmp_path, "--host", server.url, "--limit", "2")
        assert json.loads(part.read_text("utf-8"))["n"] == 2 and not (folder / SUMMARY).exists()
        server.chats.clear()
        run(tmp_path, "--host", server.url)
        whole = (folder / SUMMARY).read_bytes()
        assert len(server.chats) == (6 - 2) * 2 + (10 - 4), "what was judged for the part was asked again"
        run(tmp_path, "--host", server.url, "--limit", "3")
        run(tmp_path, "--host", server.url, "--limit", "60")  # of 6: all of them
    assert (folder / SUMMARY).read_bytes() == whole and json.loads(whole)["n"] == 6


def test_a_second_run_on_the_same_work_is_refused_before_it_asks_anything(tmp_path, capfd):
    folder = run_folder(tmp_path, rows(2))
    with server_of() as server:
        with held(folder / EVALUATION / ".score-llama3.1-8b.lock", "the first"):
            assert run(tmp_path, "--host", server.url) == 2
            assert run(tmp_path, "--host", server.url, "--limit", "1") == 2
        assert server.chats == server.others == []
        assert "another process is working on it" in capfd.readouterr().err
        assert run(tmp_path, "--host", server.url) == 0


@pytest.mark.slow
def test_the_demo_says_demo_in_everything_it_writes(tmp_path):
    folder = run_folder(tmp_path, rows(6))
    done = start("judge_demo.py", tmp_path, "--mode", "pairwise")
    assert done.returncode == 0, done.stderr
    assert " DEMO " in done.stdout and " DEMO " in done.stderr
    (written,) = (folder / EVALUATION / "judge").iterdir()
    assert "demo" in written.name
    summary = json.loads((written / "summary.json").read_text("utf-8"))
    assert summary["demo"] is True and summary["warnings"][0].startswith("DEMO")
    assert all(json.loads(line)["demo"] for line in (written / "verdicts.jsonl").read_text("utf-8").splitlines())
