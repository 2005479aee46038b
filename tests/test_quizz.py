"""The quiz: what ships, and leave-one-out on it through the script, as a person runs it."""

import json
import os
import subprocess
import sys

import pytest

from affinage.data import sha256
from affinage.paths import CONFIGS, DATASETS, ROOT

QUIZ = DATASETS / "quizz" / "quizz.jsonl"


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_quiz_has_ten_questions_with_ten_short_answers_and_a_card_that_fits():
    rows = read(QUIZ)
    assert [row["id"] for row in rows] == [row["group"] for row in rows] == [f"quizz-{n:02d}" for n in range(1, 11)]
    assert len({row["instruction"] for row in rows}) == len({row["output"] for row in rows}) == 10
    assert all(row["instruction"].endswith(" ?") and len(row["output"].split()) <= 2 for row in rows)
    assert [row["split"] for row in rows] == [0] * 9 + [2]
    card = QUIZ.with_name("README.md").read_text(encoding="utf-8")
    assert sha256(QUIZ) in card
    assert [row for row in rows if f"| {row['instruction']} | {row['output']} |" not in card] == []


@pytest.mark.slow
def test_the_quiz_is_answered_one_by_one_and_the_script_says_what_came_out(tmp_path, tiny_model):
    command = [sys.executable, str(ROOT / "evaluate" / "kfold.py"), "--results", str(tmp_path)]
    small = f"base_model={tiny_model()} trainer.epochs=1 generation.max_new_tokens=4"
    config = CONFIGS / "quizz" / "petit-llama-lora.yaml"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    command += ["--config", str(config), "--k", "10", "--set", small]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    (series,) = (path.parent for path in tmp_path.rglob("kfold.json"))
    questions = read(QUIZ)
    answered = read(series / "predictions.jsonl")
    asked = [(question["id"], question["instruction"], question["output"]) for question in questions]
    assert [(record["id"], record["instruction"], record["reference"]) for record in answered] == asked
    assert sorted(record["fold"] for record in answered) == list(range(1, 11))
    expected = ("Fold by fold", "mean ± standard deviation", "Held-out split: 10 rows", "fewer than 30", str(series))
    assert [text for text in expected if text not in done.stdout] == []
    assert "Next: make train CONFIG=ludwig_configs/quizz/petit-llama-lora.yaml SET=" in done.stdout
    assert "fold 10 of 10: 9 rows to train on, 1 held out" in done.stderr
    assert "Model config" not in done.stderr and "Loading model" not in done.stdout
