"""Every command in the README is one that a test runs, and every path in it exists."""

import csv
import json
import os
import re
import subprocess

import pytest

from affinage.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = set(re.findall(r"`(make[^`]*)`", README)) | set(re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL))

CHAT = 'make chat RUN=last SYSTEM="Mets la phrase à la voix passive." ASK="Ma tante archive sa brochure."'
RUN_HERE = {
    "make",
    "make check",
    "make env",
    "make list",
    "make lint",
    "make data-quickstart",
    "make check-data TASK=voix-passive",
    'make rouge A="modàle pré-entraîné" B="modèle pré-entraîné"',
    'make train SET="trainer.train_steps=20 adapter.r=2"',
    "make train CONFIG=ludwig_configs/voix-passive/petit-llama-lora.yaml",
    "make train CONFIG=ludwig_configs/voix-passive/petit-llama-full.yaml",
}
ELSEWHERE = {
    "make train": "test_make_train_teaches_petit_llama below",
    "make train RESUME=last": "test_resume.py, through tools/train.py",
    "make reproduce RUN=last": "test_scripts.py, on the run of a test",
    "make data SOURCE=my_file.csv TASK=my-task": "test_prepare_data.py, through tools/prepare_data.py",
    "make card TASK=my-task": "test_card.py, through tools/make_card.py",
    "make curate TASK=archives-demo": "test_curate.py, against a test server",
    **dict.fromkeys(("make data", "make evaluate", "make compare"), "below, with what they are asked for"),
    "make evaluate RUN=last": "test_make_train_teaches_petit_llama below",
    "make evaluate RUN=last FEWSHOT=3": "test_make_train_teaches_petit_llama below",
    "make compare RUNS=voix-passive": "test_make_train_teaches_petit_llama below",
    "make judge RUN=last JUDGE=llama3.1:8b": "test_judge_script.py, against a test server",
    "make judge-demo RUN=last LIMIT=40": "test_make_train_teaches_petit_llama below",
    "make kfold CONFIG=ludwig_configs/quizz/petit-llama-lora.yaml K=10": "test_quizz.py, for a few steps",
    "make sweep SWEEP=my_sweep.yaml": "test_sweeps.py",
    "make annotate RUN=last N=40 PAGE=1": "test_make_train_teaches_petit_llama below",
    "make calibrate RUN=last HUMAN=sheet.csv": "test_make_train_teaches_petit_llama below, on a sheet it fills",
    "make fit MEMORY=16GB": "test_fit.py, through tools/fit.py",
    "make bench BATCHES=1,4 BITS=4,32 LENGTH=64": "test_bench.py, through tools/bench.py",
    "make chat RUN=last": "test_chat.py, through a pipe",
    CHAT: "test_make_train_teaches_petit_llama below",
    "make serve RUN=last": "test_serving.py, with OpenAI's client",
    "make app RUN=last": "test_app_chat_page.py, in a browser, through tools/app.py",
    "make recipe NAME=alpaca": "test_recipes.py, with the other recipes",
    "make recipe NAME=alignment": "test_recipes.py, with the other recipes",
    "make train CONFIG=ludwig_configs/sentiment/bert-base.yaml": "test_shipped_configs.py, on a tiny model",
    "make preferences RUN=last TASK=my-preferences": "test_preferences.py, on the verdicts of a test",
    "make merge RUN=last": "test_make_train_teaches_petit_llama below",
    "make llama-cpp": "CI, before the tests",
    "make ray": "CI, before the tests",
    "make train GPUS=2": "test_workers.py, for a few steps",
    "make evaluate RUN=last GPUS=2": "test_evaluate_workers.py, through evaluate/generate.py",
    "make gguf RUN=last QUANT=q8_0": "test_gguf.py, where llama.cpp is compiled",
    "make ollama RUN=last NAME=my-model": "test_export_ollama.py, against a test server",
    "make upload-plan RUN=last REPO=user/name BASE=user/petit-llama LICENCE=apache-2.0": "test_upload*.py",
    "make upload RUN=last REPO=user/name BASE=user/petit-llama LICENCE=apache-2.0": "test_upload*.py",
    "make upload-data TASK=voix-passive REPO=user/name": "test_upload*.py",
    "make leaderboard": "test_leaderboard.py, on the runs of a test",
    "make show RUN=last": "test_scripts.py, on the run of a test",
    "make test": "the run that this test is part of",
    "make test-fast": "a part of the run that this test is part of",
    "make benchmark": "test_benchmarks.py, on a small model",
    "make model-quickstart": "test_petit_llama.py, for two steps",
    **{
        f"make train CONFIG=ludwig_configs/alpaca/{name}.yaml DATASET=ludwig://alpaca": "test_shipped_configs.py"
        for name in ("mistral-7b-qlora", "llama-3.1-8b-qlora", "gpt2-lora")
    },
}

WITH_RESULTS = tuple(
    f"make {target}" for target in "train evaluate compare judge check-data annotate calibrate chat merge".split()
)


def make(command, results):
    """Runs a README command in the project; its run folder goes to `results` instead of results/."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    where = f' RESULTS="{results}"' if command.startswith(WITH_RESULTS) else ""
    where += (
        ' SET="trainer.train_steps=20"' if "train CONFIG=" in command else ""
    )  # the whole run is that of `make train`
    return subprocess.run(
        command + where, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_every_command_is_run_by_a_test():
    assert RUN_HERE | set(ELSEWHERE) == COMMANDS


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted(RUN_HERE))
def test_the_command_works_as_printed(command, tmp_path):
    done = make(command, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip()


@pytest.mark.slow
def test_make_train_teaches_petit_llama(tmp_path):
    done = make("make train", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder,) = (path.parent for path in tmp_path.rglob("run.json"))
    scores = json.loads((folder / "metrics.json").read_text())["scores"]["all"]
    assert scores["tuned"]["n"] == 400
    assert scores["tuned"]["exact_match"] >= 0.85
    assert scores["base"]["exact_match"] < 0.10
    assert (folder / "model" / "training_checkpoints" / "latest.pt").stat().st_size < 1_000_000
    for command in (
        "make evaluate RUN=last FEWSHOT=3",
        "make evaluate RUN=last",
        "make judge-demo RUN=last LIMIT=40",
        "make compare RUNS=voix-passive",
        "make annotate RUN=last N=40 PAGE=1",
        "make merge RUN=last",
        CHAT,
    ):
        done = make(command, tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
    assert "Sa brochure est archivée par ma tante." in done.stdout
    done = make(f"make calibrate RUN=last HUMAN={fill_sheet(folder)}", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "DEMO" in done.stdout
    metrics = json.loads((folder / "evaluation" / "voix-passive" / "metrics.json").read_text())
    assert metrics["n"] == 400
    assert metrics["systems"]["tuned"]["exact_match"]["value"] == scores["tuned"]["exact_match"]
    assert metrics["differences"]["tuned - base"]["exact_match"]["low"] > 0
    (page,) = (tmp_path / "comparisons").glob("*.html")
    assert folder.name in page.read_text(encoding="utf-8")


def fill_sheet(folder):
    """The sheet of `make annotate` with a score on every line: that of a person who likes some answers more."""
    (sheet,) = folder.rglob("annotation/sheet.csv")
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    for i, line in enumerate(lines):
        line["score"] = 10 * (i % 10)
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return sheet


def test_every_path_in_the_readme_exists():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    tree = re.findall(r"^(\S+/|Makefile)  ", README, re.MULTILINE)
    named = re.findall(r"`((?:src|tests|tools|results|datasets|ludwig_configs)/[\w./-]+)`", README)
    paths = [path for path in links + tree + named if "://" not in path]
    assert len(tree) >= 10
    made_by_people = ("datasets/<task>", "results/<task>")
    assert [path for path in paths if not (ROOT / path).exists() and not path.startswith(made_by_people)] == []


def test_the_modules_in_the_tree_exist_and_none_is_missing():
    tree = README.split("## Where things are")[1].split("```")[1]
    named = set(re.findall(r"\b(\w+\.py)\b", tree))
    real = {path.name for path in (ROOT / "src" / "affinage").glob("*.py")}
    assert named <= real
