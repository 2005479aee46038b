"""Rows with answers, a run folder around them, and a judge on a test server, for the tests of judging."""

import json
import runpy
from pathlib import Path

from affinage.answer_cache import AnswerCache
from affinage.judging.demo_rules import judged_by_rules
from affinage.judging.forms import form_of
from affinage.judging.run import Judging, judge
from affinage.judging.settings import JudgeSettings
from affinage.ollama_chat import Chat
from affinage.scoring.predictions_file import read_predictions
from affinage.scoring.suite import Suite

OllamaServer = runpy.run_path(str(Path(__file__).with_name("ollama_server.py")))["OllamaServer"]
WORDS = "le chat mange une pomme rouge|la voisine ouvre sa porte|un élève lit ce livre|notre sœur part demain".split(
    "|"
)


def rows(n=12):
    """Rows whose base answer shares one word with the reference; of the tuned ones each third says too much."""
    made = []
    for i in range(n):
        reference = f"{WORDS[i % 4]} numéro {i}."
        wrong = f"{reference.split()[0]} rien."
        tuned = reference if i % 3 else f"{reference} Et encore autre chose."
        asked = {"instruction": "Recopie la phrase.", "input": f"{reference} {{x}}", "reference": reference}
        made.append({"id": f"r{i}", **asked, "base": wrong, "tuned": tuned})
    return made


def write_rows(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content), encoding="utf-8")
    return path


def run_folder(results, content, base_model="models/petit"):
    """A run of the task alone, which has no suite, with predictions."""
    folder = results / "alone" / "config" / "20260101-000000"
    write_rows(folder / "evaluation" / "default" / "predictions.jsonl", content)
    manifest = {
        "task": "alone",
        "started": "2026-01-01T00:00:00",
        "status": "finished",
        "base_model": {"id": base_model},
    }
    (folder / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def judged(server, tmp_path, content=None, mode="score", cache=True, backoff_s=0.001, **settings):
    """What judging the rows on this server gives."""
    path = write_rows(tmp_path / "predictions.jsonl", rows() if content is None else content)
    chosen = JudgeSettings(mode=mode, **({"stability": 0} | settings))
    judging = Judging(read_predictions(path), Suite(), chosen, form_of(chosen, mode))
    kept = AnswerCache(tmp_path / "answers.jsonl") if cache else None
    with Chat(server.url, "llama3.1:8b", chosen.options, cache=kept, backoff_s=backoff_s, timeout_s=1.0) as chat:
        chat.preflight()
        return judge(chat, judging)


def server_of(responder=judged_by_rules, **options):
    return OllamaServer(responder, **options)
