"""The section `judge` of metrics.json: there after judging and after scoring, whole, and never that of a demo."""

import json
import runpy
import threading
from pathlib import Path

import pytest

from affinage.errors import AffinageError
from affinage.judging.demo_server import DEMO_JUDGE, demo_judge
from affinage.judging.in_metrics import judge_section, record, with_judges
from affinage.paths import ROOT

helper = runpy.run_path(str(Path(__file__).with_name("judged_rows.py")))
rows, run_folder, server_of, write_rows = (helper[n] for n in ("rows", "run_folder", "server_of", "write_rows"))
judge, score = (runpy.run_path(str(ROOT / "evaluate" / name))["main"] for name in ("judge.py", "score.py"))


@pytest.fixture
def evaluated(tmp_path):
    """The predictions of a run, and what calls a script with that run and further options."""
    folder = run_folder(tmp_path, rows(4))

    def call(script, *options):
        return script(["--run", str(folder), "--results", str(tmp_path), *options])

    return folder / "evaluation/default/predictions.jsonl", call


def metrics_of(predictions):
    return json.loads(predictions.with_name("metrics.json").read_text("utf-8"))


def test_a_judge_s_result_is_added_and_scoring_again_keeps_it(evaluated):
    predictions, call = evaluated
    call(score)
    before = metrics_of(predictions)
    with server_of() as server:
        call(judge, "--host", server.url)
        call(judge, "--host", server.url, "--mode", "pairwise")
    after = metrics_of(predictions)
    assert {key: value for key, value in after.items() if key != "judge"} == before
    section = after["judge"]
    assert section["version"] == 1 and section["outdated"] == []
    assert list(section["results"]) == ["pairwise-llama3.1-8b", "score-llama3.1-8b"]
    summary = json.loads((predictions.parent / "judge/score-llama3.1-8b/summary.json").read_text("utf-8"))
    result = section["results"]["score-llama3.1-8b"]
    assert result["judge"]["digest"] == summary["judge"]["digest"] and result["coverage"] == 1
    assert result["systems"]["tuned"]["mean"] == summary["systems"]["tuned"]["mean"]
    assert result["controls"] == dict.fromkeys(["reference", "unrelated", "empty", "injection", "padded"], True)
    assert section["results"]["pairwise-llama3.1-8b"]["pairwise"]["wins"] == {"tuned": 4, "base": 0}
    call(score)
    assert metrics_of(predictions) == after


def test_a_judge_that_comes_before_the_scores_is_added_with_them(evaluated):
    predictions, call = evaluated
    with server_of() as server:
        call(judge, "--host", server.url)
    assert not predictions.with_name("metrics.json").exists()
    call(score)
    assert list(metrics_of(predictions)["judge"]["results"]) == ["score-llama3.1-8b"]


def test_a_panel_is_added_beside_its_judges(evaluated):
    predictions, call = evaluated
    call(score)
    with server_of(models=("one:1b", "two:1b")) as server:
        call(judge, "--host", server.url, "--judge", "one:1b", "--judge", "two:1b")
    results = metrics_of(predictions)["judge"]["results"]
    assert list(results) == ["score-one-1b", "score-panel", "score-two-1b"]
    assert results["score-panel"]["judges"] == ["one:1b", "two:1b"]


def test_the_demo_is_never_written_there(evaluated):
    predictions, call = evaluated
    call(score)
    with demo_judge() as server:
        call(judge, "--host", server.url, "--judge", DEMO_JUDGE)
    call(score)
    assert "judge" not in metrics_of(predictions) and "demo" not in predictions.with_name("metrics.json").read_text()
    assert (predictions.parent / "judge/score-demo-judge-latest/summary.json").exists()


def test_what_was_said_of_other_answers_is_named_and_not_shown(evaluated, capfd):
    predictions, call = evaluated
    with server_of() as server:
        call(judge, "--host", server.url)
    write_rows(predictions, [row | {"tuned": "autre chose"} for row in rows(4)])
    call(score)
    assert metrics_of(predictions)["judge"] == {"version": 1, "results": {}, "outdated": ["score-llama3.1-8b"]}
    assert "judge/score-llama3.1-8b is about other answers" in capfd.readouterr().out


def test_a_broken_summary_is_an_error_that_names_the_file(evaluated):
    predictions, call = evaluated
    with server_of() as server:
        call(judge, "--host", server.url)
    (predictions.parent / "judge/score-llama3.1-8b/summary.json").write_text('{"demo": fal')
    with pytest.raises(AffinageError, match=r"summary\.json: cannot be read.*make judge"):
        judge_section(predictions)


def test_scores_and_judges_that_end_at_once_lose_nothing(evaluated):
    predictions, call = evaluated
    call(score)
    with server_of() as server:
        call(judge, "--host", server.url)
    metrics = metrics_of(predictions)
    wanted = with_judges(metrics, predictions)

    def write(given):
        for _ in range(20):
            record(predictions, given)

    threads = [threading.Thread(target=write, args=(given,)) for given in (metrics, None, None)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics_of(predictions) == wanted and "score-llama3.1-8b" in wanted["judge"]["results"]
    assert list(predictions.parent.glob("*.partial")) == []
