"""The statistics of a summary, against scipy; duels, the panel and the warnings."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from affinage.errors import AffinageError
from affinage.judging.doubts import families
from affinage.judging.forms import form_of
from affinage.judging.items import spread
from affinage.judging.panel import panel_of
from affinage.judging.run import Judging
from affinage.judging.settings import JudgeSettings
from affinage.judging.summary import difference, estimate, spearman
from affinage.scoring.predictions_file import read_predictions
from affinage.scoring.suite import Bootstrap, Suite

helper = runpy.run_path(str(Path(__file__).with_name("judged_rows.py")))
judged, rows, server_of = helper["judged"], helper["rows"], helper["server_of"]
N = 40
FIRST = np.random.default_rng(1).integers(0, 101, N).astype(float)
SECOND = np.clip(FIRST - np.random.default_rng(2).integers(-10, 30, N), 0, 100)
IDS = [f"r{i}" for i in range(N)]
ALONE = dict.fromkeys(IDS, "")


def scipy_interval(values, n=2000):
    found = stats.bootstrap((values,), np.mean, n_resamples=n, method="percentile", rng=0, batch=n)
    return tuple(found.confidence_interval)


def test_the_mean_and_its_interval_are_those_of_scipy():
    found = estimate(FIRST, [""] * N, Bootstrap())
    assert found["value"] == pytest.approx(FIRST.mean())
    assert (found["low"], found["high"]) == pytest.approx(scipy_interval(FIRST), abs=1e-9)


def test_a_paired_difference_has_the_interval_and_the_sign_test_of_scipy():
    found = difference(dict(zip(IDS, FIRST, strict=True)), dict(zip(IDS, SECOND, strict=True)), ALONE, Bootstrap())
    gain = FIRST - SECOND
    wins, losses, ties = (gain > 0).sum(), (gain < 0).sum(), (gain == 0).sum()
    assert (found["low"], found["high"]) == pytest.approx(scipy_interval(gain), abs=1e-9)
    assert found["p"] == pytest.approx(stats.binomtest(int(wins), int(wins + losses)).pvalue)
    assert found["win_rate"] == pytest.approx((wins + ties / 2) / N)
    assert (found["better"], found["worse"], found["equal"]) == (wins, losses, ties)


def test_a_difference_counts_only_rows_that_both_have():
    found = difference({"a": 10, "b": 90}, {"b": 50, "c": 0}, {"a": "", "b": "", "c": ""}, Bootstrap())
    assert (found["n"], found["value"]) == (1, 40)
    assert difference({"a": 1}, {}, {"a": ""}, Bootstrap())["value"] is None


def test_rows_of_a_group_are_resampled_together():
    together = estimate(np.repeat(FIRST[:10], 4), [str(i // 4) for i in range(N)], Bootstrap())
    assert (together["low"], together["high"]) == pytest.approx(scipy_interval(FIRST[:10]), abs=1e-9)


def test_the_correlation_with_length_is_that_of_scipy_and_none_where_nothing_varies():
    assert spearman(FIRST, SECOND) == pytest.approx(stats.spearmanr(FIRST, SECOND).statistic)
    assert spearman([1, 1, 1], [1, 2, 3]) is None and spearman([1, 2], [3, 4]) is None


def test_a_summary_has_the_numbers_of_its_lines(tmp_path):
    with server_of() as server:
        found = judged(server, tmp_path)
    scores = {s: [line["score"] for line in found.lines if line["system"] == s] for s in ("base", "tuned")}
    entry, gap = found.summary["systems"]["tuned"], found.summary["differences"]["tuned - base"]
    assert entry["mean"]["value"] == pytest.approx(np.mean(scores["tuned"]))
    assert entry["median"] == np.median(scores["tuned"])
    assert entry["standard_deviation"] == pytest.approx(np.std(scores["tuned"], ddof=1))
    assert sum(entry["histogram"]) == 12 and entry["histogram"][-1] == sum(score >= 90 for score in scores["tuned"])
    assert gap["value"] == pytest.approx(np.mean(scores["tuned"]) - np.mean(scores["base"]))
    lengths = [line["characters"][0] for line in found.lines if line["system"] == "tuned"]
    rho = stats.spearmanr(scores["tuned"], lengths).statistic
    assert found.summary["verbosity"]["spearman"]["tuned"] == pytest.approx(rho)


def test_a_judge_that_always_says_a_gives_no_win_and_a_position_bias_of_1(tmp_path):
    with server_of(lambda messages, schema: {"reasoning": "first", "verdict": "judged", "better": "A"}) as server:
        summary = judged(server, tmp_path, mode="pairwise").summary
    duels = summary["pairwise"]
    assert duels["wins"] == {"tuned": 0, "base": 0} and duels["ties"] == duels["inconsistent"] == 12
    assert duels["first_position_rate"] == 1.0 and duels["consistency_rate"] == 0.0
    assert duels["win_rate"]["value"] == 0.5 and duels["p"] == 1.0
    assert any("prefers a place" in warning for warning in summary["warnings"])


def test_a_fair_judge_lets_the_better_answer_win_in_both_orders(tmp_path):
    content = rows()
    content[0]["base"] = content[0]["reference"]
    content[1]["tuned"] = content[1]["base"]
    with server_of() as server:
        found = judged(server, tmp_path, content, mode="pairwise")
        asked = len(server.chats)
    duels = found.summary["pairwise"]
    assert duels["wins"] == {"tuned": 10, "base": 1} and (duels["ties"], duels["ties_by_rule"]) == (1, 1)
    assert duels["first_position_rate"] == 0.5 and duels["consistency_rate"] == 1.0
    assert duels["p"] == pytest.approx(stats.binomtest(10, 11).pvalue)
    # Not asked: the row with the same answer twice, and the reference against itself the second time.
    assert asked == 2 * 11 + 2 * 5 - 1
    assert [line["order"] for line in found.lines[:2]] == [["base", "tuned"], ["tuned", "base"]]


def test_a_row_with_one_failed_order_is_not_decided(tmp_path):
    with server_of() as server:
        server.script(*["ok"] * 10, "refusal")
        found = judged(server, tmp_path, mode="pairwise")
    assert [line["outcome"] for line in found.lines[:2]] == [None, None]
    assert (found.summary["pairwise"]["decided"], found.summary["coverage"]) == (11, 11 / 12)


def test_pairwise_needs_both_answers(tmp_path):
    content = [{key: value for key, value in row.items() if key != "base"} for row in rows()]
    with server_of() as server, pytest.raises(AffinageError, match="no answers of base"):
        judged(server, tmp_path, content, mode="pairwise")


def test_a_judge_that_changes_its_mind_with_the_seed_is_called_unstable(tmp_path):
    # The first 29 questions are the controls and the rows; those after them are asked once more.
    with server_of() as server:
        steady = server.responder

        def respond(messages, schema):
            shift = 1 if len(server.chats) > 29 else 0
            return steady(messages, schema) | ({"score": 50} if shift else {})

        server.responder = respond
        summary = judged(server, tmp_path, stability=6).summary
    assert summary["stability"]["asked"] == 6 and summary["stability"]["same"] == 0
    assert any("6 of 6 questions asked again" in warning for warning in summary["warnings"])
    assert {body["options"]["seed"] for body in server.chats[29:]} == {1_000_123}


def test_a_panel_averages_its_judges_and_says_how_far_they_agree(tmp_path):
    halves = []
    for name, least in (("one", 0), ("two", 40)):
        (tmp_path / name).mkdir()
        with server_of() as server:
            server.script(*["ok"] * 5, *["refusal"] * (name == "two"))
            steady = server.responder
            server.responder = lambda m, s, steady=steady, least=least: (
                (said := steady(m, s)) | {"score": max(least, said["score"])}
            )
            found = judged(server, tmp_path / name)
        found.summary["judge"]["name"] = name
        halves.append(found)
    settings = JudgeSettings()
    predictions = read_predictions(tmp_path / "one" / "predictions.jsonl")
    panel = panel_of(halves, Judging(predictions, Suite(), settings, form_of(settings, "score")))
    # The second judge has no score for the first base answer, so the first judge's is left out as well.
    base = [np.mean([line["score"] for line in one.lines if line["system"] == "base"][1:]) for one in halves]
    assert panel["systems"]["base"]["mean"]["value"] == pytest.approx(np.mean(base))
    (agreement,) = panel["agreement"]
    assert agreement["n"] == 23 and agreement["bias"] > 0 and 0 < agreement["spearman"] <= 1
    assert panel["coverage"] == pytest.approx(23 / 24)


def test_a_judge_of_the_same_family_is_named():
    assert families("llama3.1:8b") == families("models/petit-llama") == {"llama"}
    assert families("mistral:7b") & families("meta-llama/Llama-3.2-1B") == set()
    assert families("demo-judge") == set()


def test_some_rows_are_evenly_spread():
    assert spread(10, 3) == [0, 3, 6] and spread(3, 10) == spread(3, None) == [0, 1, 2]
