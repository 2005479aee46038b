"""A judge against people: the figures are those of scipy and sklearn, and what is said of them depends on them."""

import json
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from affinage.calibration.agreement import BINS, LABELS, agreement, bins_of, kappa, weighted_spearman
from affinage.calibration.annotators import Annotator
from affinage.calibration.calibrate import calibrate
from affinage.calibration.conclusion import HEADLINES, ceiling, conclude, grades, remarks
from affinage.calibration.evaluation import chosen_judges, open_evaluation
from affinage.errors import AffinageError
from affinage.runs import find_run, write_json
from affinage.scoring.suite import Bootstrap

helper = runpy.run_path(str(Path(__file__).with_name("judged_rows.py")))
run_folder, judged, server_of = (helper[name] for name in ("run_folder", "judged", "server_of"))
BOOTSTRAP = Bootstrap(n=400)
WORDS = "le petit chat noir mange une belle pomme rouge dans notre grand jardin".split()


def raters(n, noise=15.0, bias=0.0, seed=0):
    """Two lists of whole scores with ties, the second the first with noise and a shift."""
    random = np.random.default_rng(seed)
    first = random.choice([0, 10, 25, 40, 50, 66, 75, 90, 100], n)
    second = np.clip(np.round(first + random.normal(bias, noise, n) if noise else first + bias), 0, 100)
    return first.tolist(), second.tolist()


def apart(n):
    return [f"row {i}" for i in range(n)]


def sklearn_quadratic(first, second):
    return cohen_kappa_score(first, second, labels=range(BINS), weights="quadratic")  # else empty bins are left out


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [4, 40])
def test_the_figures_equal_those_of_scipy_and_sklearn(n, seed):
    x, y = raters(n, seed=seed)
    found = agreement(x, y, apart(n), BOOTSTRAP)
    bins = [np.digitize(scores, [20, 40, 60, 80]) for scores in (x, y)]
    assert found["spearman"]["value"] == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found["kendall"] == pytest.approx(stats.kendalltau(x, y, variant="b").statistic)
    assert found["kappa"] == pytest.approx(cohen_kappa_score(*bins, labels=range(BINS)))
    assert found["weighted_kappa"]["value"] == pytest.approx(sklearn_quadratic(*bins))
    assert found["bias"]["value"] == pytest.approx(np.mean(x) - np.mean(y))
    assert found["mean_distance"] == pytest.approx(np.mean(np.abs(np.subtract(x, y))))
    assert found["table"][4][4] == np.sum((bins[0] == 4) & (bins[1] == 4)) and np.sum(found["table"]) == n


def test_the_statistics_of_a_resample_are_those_of_the_items_repeated():
    random, (x, y) = np.random.default_rng(3), map(np.array, raters(25, seed=1))
    counts = random.integers(0, 4, (20, 25)).astype(float)
    for drawn, rho in zip(counts, weighted_spearman(counts, x, y), strict=True):
        again = np.repeat(x, drawn.astype(int)), np.repeat(y, drawn.astype(int))
        assert rho == pytest.approx(stats.spearmanr(*again).statistic)
    tables = random.integers(0, 6, (20, BINS, BINS))
    for table, plain, squared in zip(tables, kappa(tables), kappa(tables, quadratic=True), strict=True):
        first, second = (np.repeat(axis.ravel(), table.ravel()) for axis in np.indices((BINS, BINS)))
        assert plain == pytest.approx(cohen_kappa_score(first, second))
        assert squared == pytest.approx(sklearn_quadratic(first, second))


def test_the_intervals_equal_those_of_scipys_bootstrap():
    x, y = raters(30, seed=2)
    found = agreement(x, y, apart(30), BOOTSTRAP)
    options = {"paired": True, "n_resamples": 400, "method": "percentile", "rng": np.random.default_rng(0)}
    mean = stats.bootstrap((np.subtract(x, y),), np.mean, **{**options, "paired": False}).confidence_interval
    assert [found["bias"][end] for end in ("low", "high")] == pytest.approx([mean.low, mean.high])
    options["rng"] = np.random.default_rng(0)
    rank = stats.bootstrap((x, y), lambda a, b: stats.spearmanr(a, b).statistic, vectorized=False, **options)
    low, high = rank.confidence_interval
    assert [found["spearman"][end] for end in ("low", "high")] == pytest.approx([low, high])


def test_answers_to_the_same_row_do_not_count_as_independent():
    x, y = raters(20, noise=30, seed=4)
    alone, doubled = agreement(x, y, apart(20), BOOTSTRAP), agreement(x * 2, y * 2, apart(20) * 2, BOOTSTRAP)
    assert doubled["n"] == 40 and doubled["units"] == 20
    assert doubled["bias"] == pytest.approx(alone["bias"])
    assert conclude(doubled)[0] == "too few"


@pytest.mark.parametrize("score", [0, 19.9, 20, 79.99, 80, 100])
def test_the_bins_are_those_that_their_labels_say(score):
    low, high = map(int, LABELS[bins_of(np.array([score]))[0]].split("-"))
    assert low <= score < high + 1


def test_constant_scores_are_said_and_give_neither_nan_nor_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = agreement([50] * 40, raters(40)[0], apart(40), BOOTSTRAP)
        both = agreement([50] * 40, [50] * 40, apart(40), BOOTSTRAP)
    assert (one["spearman"]["value"], one["kendall"], one["kappa"]) == (None, None, 0.0)
    assert both["kappa"] is None and both["weighted_kappa"] == {"value": None, "low": None, "high": None}
    assert "NaN" not in json.dumps([one, both])
    assert conclude(one) == ("undefined", f"n = 40: {HEADLINES['undefined']}")
    assert remarks(one) == ["the judge gave every answer the same score: no rank correlation is defined."]
    assert len(remarks(both)) == 2 and grades(both)["weighted_kappa"] == "fails"
    two = agreement([1, 2], [3, 4], apart(2), BOOTSTRAP)
    assert two["kendall"] is None and remarks(two)[0].startswith("fewer than three")


@pytest.mark.parametrize(
    ("n", "noise", "bias", "level"),
    [
        (60, 8, 0, "calibrated"),
        (29, 8, 0, "too few"),
        (60, 8, 25, "ranks"),
        (60, 400, 0, "disagrees"),
        (32, 42, 0, "unsure"),
    ],
)
def test_what_is_said_depends_on_the_figures(n, noise, bias, level):
    people, judge = raters(n, noise, bias, seed=1)
    found = agreement(judge, people, apart(n), BOOTSTRAP)
    said, sentence = conclude(found)
    assert said == level, found
    assert sentence.startswith(f"n = {n}: ")
    assert ("n = 60: calibrated." in sentence) == (level == "calibrated")
    assert level == "calibrated" or "calibrated" not in sentence.replace("too few to call the judge calibrated", "")


def test_good_figures_with_wide_intervals_are_unsure_and_not_passed():
    people, judge = raters(32, 42, 0, seed=1)
    found = agreement(judge, people, apart(32), BOOTSTRAP)
    assert found["spearman"]["low"] < 0.5 <= found["spearman"]["value"] and grades(found)["spearman"] == "unsure"


def test_a_demo_is_never_called_calibrated():
    people, judge = raters(60, 2)
    assert conclude(agreement(judge, people, apart(60), BOOTSTRAP), demo=True) == ("demo", HEADLINES["demo"])


def test_people_who_disagree_are_told_to_mend_the_rubric_first():
    def pair(seed, noise, n=40):
        return agreement(*raters(n, noise, seed=seed), apart(n), BOOTSTRAP)

    assert ceiling([pair(1, 10)], []) == ""
    assert "make the rubric clearer first" in ceiling([pair(1, 10)], [pair(2, 400)])
    assert "as well as another person does" in ceiling([pair(1, 5)], [pair(2, 20)])
    assert "the most that can be asked" in ceiling([pair(1, 40)], [pair(2, 5)])
    assert "a first impression" in ceiling([pair(1, 10)], [pair(2, 10, n=20)])
    constant = agreement([1] * 40, [2] * 40, apart(40), BOOTSTRAP)
    assert "undefined" in ceiling([pair(1, 5)], [constant])


def graded(n=40):
    rows = []
    for i in range(n):
        reference = f"{' '.join(WORDS)} numéro {i}."
        asked = {"id": f"r{i}", "instruction": "Recopie.", "input": "", "reference": reference}
        rows.append(asked | {"tuned": " ".join(reference.split()[: 2 + i % 13]) if i else ""})
    return rows


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    folder = run_folder(tmp_path_factory.mktemp("results"), graded())
    with server_of() as server:
        server.script(*["ok"] * 5, "refusal")
        judged(server, folder / "evaluation" / "default", graded())
    return open_evaluation(find_run(str(folder)))


def person(evaluation, name, noise, seed, only=slice(None)):
    judge, random = chosen_judges(evaluation)[0][0], np.random.default_rng(seed)
    items = list(evaluation.answers())[only]
    truth = {item: judge.verdicts[item]["score"] or 0 for item in items}
    return Annotator(name, name, {i: float(np.clip(s + random.normal(0, noise), 0, 100)) for i, s in truth.items()}, 0)


def test_the_files_hold_every_figure_and_are_the_same_bytes_each_time(evaluation):
    ((judge,), _), people = chosen_judges(evaluation), [person(evaluation, name, 6, name) for name in (1, 2)]
    done = calibrate(evaluation, judge, people)
    first = (done.folder / "calibration.json").read_bytes()
    assert calibrate(evaluation, judge, people) and (done.folder / "calibration.json").read_bytes() == first
    content = json.loads(first)
    assert list(content) == sorted(content) and content["version"] == 1 and content["demo"] is False
    assert content["level"] == "calibrated" and content["judge_people"]["n"] == 38
    assert [pair["raters"] for pair in content["pairs"]] == [["judge llama3.1:8b", 1], ["judge llama3.1:8b", 2], [1, 2]]
    assert content["sheets"][0]["scored"] == 40 and content["predictions_sha256"] == evaluation.sha256
    assert (done.folder / "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_what_the_judge_did_not_score_itself_is_counted_and_not_compared(evaluation):
    judge = chosen_judges(evaluation)[0][0]
    found = calibrate(evaluation, judge, [person(evaluation, "a", 6, 1)]).content
    assert found["left_out"] == {"empty_answer": 1, "refused": 1}
    with pytest.raises(AffinageError, match=r"none of the 1 answers .* \(empty_answer 1\)"):
        calibrate(evaluation, judge, [person(evaluation, "a", 6, 1, slice(0, 1))])


def test_two_people_count_by_their_mean_on_what_either_scored(evaluation):
    judge = chosen_judges(evaluation)[0][0]
    first, second = person(evaluation, "a", 0, 1, slice(0, 30)), person(evaluation, "b", 0, 1, slice(20, 40))
    shifted = Annotator("b", "b", {item: max(0.0, score - 10) for item, score in second.scores.items()}, 3)
    found = calibrate(evaluation, judge, [first, shifted]).content
    both = [item for item in first.scores if item in shifted.scores]
    lone = [item for item in shifted.scores if item not in first.scores]
    gap = sum(5 for _ in both) + sum(10 for _ in lone)
    assert found["judge_people"]["bias"]["value"] == pytest.approx(gap / 38)
    assert [pair["n"] for pair in found["pairs"]] == [28, 20, 10] and found["sheets"][1]["empty"] == 3


def test_verdicts_that_do_not_fit_are_named_and_not_used(evaluation, tmp_path):
    content = evaluation.folder / "judge" / "score-llama3.1-8b" / "summary.json"
    before = json.loads(content.read_text("utf-8"))
    with pytest.raises(AffinageError, match=r"no scores of a judge called mistral.*llama3\.1:8b"):
        chosen_judges(evaluation, "mistral")
    for change, said in (({"mode": "pairwise"}, "pairwise"), ({"predictions_sha256": "0"}, "made again since")):
        write_json(content, before | change)
        with pytest.raises(AffinageError, match=rf"(?s){said}.*no judge has scored these answers\..*make judge RUN="):
            chosen_judges(evaluation)
    write_json(content, before)
    assert chosen_judges(evaluation, "score-llama3.1-8b")[0][0].name == "llama3.1:8b"
