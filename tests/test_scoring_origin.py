"""Where predictions come from, what makes a score doubtful, and evaluate/score.py on real run folders."""

import json
import runpy

import pytest

from affinage.console import run_script
from affinage.data import sha256
from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.runs import create_run, write_json
from affinage.scoring import enclosing_run, origin_of, read_predictions

ANSWERS = ["un", "deux", "trois", "l'été", "où"]
CONFIG = "output_features:\n- name: output\n  column: output\n"


@pytest.fixture
def run(tmp_path):
    """A finished run of the task `nombres`, its test rows on disk, and predictions for them."""
    rows = [{"id": f"r{i}", "instruction": "dis", "output": text} for i, text in enumerate(ANSWERS)]
    data = tmp_path / "data" / "test.jsonl"
    write_lines(data, rows)
    write_lines(data.with_name("train.jsonl"), rows[:1])
    files = [{"name": path.name, "sha256": sha256(path)} for path in (data.with_name("train.jsonl"), data)]
    described = {"dataset": str(data.parent), "files": files, "rows": {"train": 1, "test": len(rows)}}
    made = create_run("nombres", "petit", tmp_path / "results", {"config.yaml": CONFIG}, data=described)
    made.record(status="finished")
    write_lines(predictions_of(made), [record(i) for i in range(len(ANSWERS))])
    generation = {"split": "test", "rows_in_split": len(rows), "data": described, "fewshot": {"k": 0}}
    write_json(predictions_of(made).with_name("generation.json"), generation)
    return made


def record(i, **columns):
    row = {"id": f"r{i}", "label": "[/b]", "reference": ANSWERS[i], "base": "un", "base_stop": "length"}
    row |= {"base_flags": ["limit"], "tuned": ANSWERS[i], "tuned_stop": "end", "tuned_flags": []}
    return row | columns


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def predictions_of(run, suite="default"):
    return run.folder / "evaluation" / suite / "predictions.jsonl"


def origin(run):
    return origin_of(read_predictions(predictions_of(run)))


def test_predictions_of_an_untouched_run_carry_no_warning(run):
    found = origin(run)
    assert (found.split, found.rows_in_split, found.warnings) == ("test", 5, [])
    assert found.data_sha256 == sha256(run.folder.parents[3] / "data" / "test.jsonl")
    assert found.asked == {"fewshot": {"k": 0}}
    assert enclosing_run(predictions_of(run)).folder == run.folder


def test_the_hash_is_that_of_the_one_file_that_a_config_splits(run):
    generation = json.loads(predictions_of(run).with_name("generation.json").read_text())
    generation["data"] |= {"dataset": "ludwig://x", "files": [{"name": "rows.jsonl", "sha256": "abc"}]}
    write_json(predictions_of(run).with_name("generation.json"), generation)
    assert origin(run).data_sha256 == "abc"


def test_fewer_rows_than_the_split_has_is_a_warning(run):
    write_lines(predictions_of(run), [record(i) for i in range(3)])
    assert origin(run).warnings == ["only 3 of the 5 rows of the test split have predictions."]


@pytest.mark.parametrize(
    ("status", "shown"), [("failed", "failed"), ("interrupted", "interrupted"), ("running", "killed")]
)
def test_a_run_that_is_not_finished_is_a_warning(run, status, shown):
    run.record(status=status)
    [warning] = origin(run).warnings
    assert f"is not finished (status: {shown})" in warning


def test_data_that_changed_since_is_a_warning(run):
    data = run.folder.parents[3] / "data"
    write_lines(data / "test.jsonl", [{"id": "r0", "output": "autre"}])
    assert origin(run).warnings == ["the data has changed since these predictions were made: test.jsonl."]
    (data / "train.jsonl").unlink()
    assert "train.jsonl" in origin(run).warnings[0]


def test_data_that_is_gone_is_a_warning(run):
    data = run.folder.parents[3] / "data"
    data.rename(data.with_name("elsewhere"))
    [warning] = origin(run).warnings
    assert warning.startswith("the data of these predictions is gone: ") and "no such file or folder" in warning


def test_a_reference_that_is_not_the_answer_in_unchanged_data_is_refused_with_its_line(run):
    write_lines(predictions_of(run), [record(0), record(1, reference="dix"), record(2)])
    with pytest.raises(AffinageError, match=r"jsonl:2: 1 references differ .*test\.jsonl, such as that of 'r1'"):
        origin(run)


def test_ids_that_unchanged_data_does_not_have_are_a_warning(run):
    write_lines(predictions_of(run), [record(i) for i in range(3)] + [record(3, id="x"), record(4, id="test-4")])
    [warning] = origin(run).warnings
    assert warning.startswith("1 ids are in no row of ") and warning.endswith("such as 'x'.")


def test_a_description_that_is_no_json_is_refused(run):
    predictions_of(run).with_name("generation.json").write_text("{")
    with pytest.raises(AffinageError, match=r"generation\.json: cannot be read as JSON"):
        origin(run)


def test_predictions_from_elsewhere_say_that_nothing_is_known_of_their_split(tmp_path):
    write_lines(tmp_path / "answers.jsonl", [record(0)])
    found = origin_of(read_predictions(tmp_path / "answers.jsonl"))
    assert (found.rows_in_split, found.data_sha256) == (None, None)
    assert "no generation.json beside the predictions" in found.warnings[0]


@pytest.fixture
def script(capsys, run):
    """Runs evaluate/score.py; gives exit code, standard output and error."""
    main = runpy.run_path(str(ROOT / "evaluate" / "score.py"))["main"]
    results = ["--results", str(run.folder.parents[2])]
    return lambda *arguments: (run_script(lambda: main([*results, *map(str, arguments)])), *capsys.readouterr())


def test_the_script_writes_sorted_metrics_and_shows_them_with_what_to_type_next(run, script):
    code, out, error = script("--run", "last")
    assert code == 0, error
    text = (predictions_of(run).with_name("metrics.json")).read_text(encoding="utf-8")
    metrics = json.loads(text)
    assert text == json.dumps(metrics, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    assert metrics["systems"]["tuned"]["exact_match"]["value"] == 1
    assert metrics["rows_in_split"] == 5
    assert "Test split: 5 rows, suite default" in out
    assert "0.200 (0.000 to 0.600)" in out and "1.000 (0.478 to 1.000)" in out
    assert "warning: n = 5: fewer than 30 rows" in out
    assert out.rstrip().endswith(f"Next: make compare RUNS={run.folder.name}")


def test_scoring_twice_gives_the_same_bytes(run, script):
    target = predictions_of(run).with_name("metrics.json")
    assert script("--run", run.folder.name)[0] == 0
    first = target.read_bytes()
    assert script("--run", run.folder)[0] == 0
    assert target.read_bytes() == first


def test_the_script_shows_labels_as_they_are_and_a_confusion_matrix(run, script, monkeypatch):
    # fault: a label such as [/b] is read as markup, and the table ends in a traceback
    write_lines(predictions_of(run), [record(i, label="[/b]" if i else "a") for i in range(5)])
    suites = run.folder.parents[3] / "suites"
    suites.mkdir()
    (suites / "nombres.yaml").write_text(f"classification: {{labels: {json.dumps([*ANSWERS, '[x]'])}}}")
    monkeypatch.setattr("affinage.scoring.suite_file.SUITES", suites)
    (predictions_of(run).parent).rename(run.folder / "evaluation" / "nombres")
    code, out, error = script("--run", "last")
    assert code == 0, error
    assert "[/b]" in out and "[x]" in out and "(unparsed)" in out and "macro-F1" in out


def test_predictions_named_by_their_file_are_scored_with_the_suite_of_their_folder(run, script, monkeypatch):
    suites = run.folder.parents[3] / "suites"
    suites.mkdir()
    (suites / "autre.yaml").write_text("metrics: [chrf]")
    monkeypatch.setattr("affinage.scoring.suite_file.SUITES", suites)
    predictions_of(run).parent.rename(predictions_of(run, "autre").parent)
    assert script("--predictions", predictions_of(run, "autre"))[0] == 0
    metrics = json.loads(predictions_of(run, "autre").with_name("metrics.json").read_text())
    assert (metrics["suite"], list(metrics["systems"]["base"])) == ("autre", ["chrf"])


def test_a_run_without_predictions_says_how_to_make_them(run, script):
    predictions_of(run).parent.rename(run.folder / "evaluation" / "autre")
    code, _, error = script("--run", "last")
    assert code == 2 and "no predictions there yet" in error
    assert f"make evaluate RUN={run.folder.name}, or choose another suite: autre." in error


@pytest.mark.parametrize(
    ("name", "target"), [("predictions.jsonl", "predictions.metrics.json"), ("a.jsonl", "a.metrics.json")]
)
def test_the_metrics_that_make_train_wrote_are_never_overwritten(run, script, name, target):
    (run.folder / "metrics.json").write_text("{}")
    write_lines(run.folder / name, [record(i) for i in range(5)])
    code, _, error = script("--predictions", run.folder / name)
    assert code == 0, error
    assert (run.folder / "metrics.json").read_text() == "{}"
    assert json.loads((run.folder / target).read_text())["n"] == 5


def test_predictions_that_cannot_be_scored_leave_nothing_behind(run, script):
    with predictions_of(run).open("a") as file:
        file.write('{"id": "r9", "reference')
    code, _, error = script("--run", "last")
    assert code == 2 and "jsonl:6: half-written" in error
    assert not predictions_of(run).with_name("metrics.json").exists()
