"""What a comparison gathers, refuses, measures and says of runs, before any of it is drawn."""

import runpy
from pathlib import Path

import pytest

from affinage.comparison.comparability import obstacles, surroundings
from affinage.comparison.gather import find_runs, gather, letter
from affinage.comparison.page import compare
from affinage.comparison.verdicts import main_metric, pairs_of, verdict
from affinage.errors import AffinageError
from affinage.runs import Run, write_jsonl

made = runpy.run_path(str(Path(__file__).with_name("compared_runs.py")))
make_run, questions, predictions, changed, CONFIG = (
    made[name] for name in ("make_run", "questions", "predictions", "changed", "CONFIG")
)
ROWS = questions(40)
NAMES = [f"20261120-1000{place:02d}" for place in range(12)]


def runs_with(results, skills, **entries):
    """One run per skill, all on the same rows, as entries of a comparison."""
    for place, skill in enumerate(skills):
        make_run(results, run_id=NAMES[place], records=predictions(ROWS, skill, seed=place), **entries)
    return gather(find_runs(NAMES[: len(skills)], results)[0])


def test_letters_never_repeat():
    letters = [letter(place) for place in range(80)]
    assert letters[:3] + letters[25:28] == ["A", "B", "C", "Z", "A2", "B2"]
    assert len(set(letters)) == 80


def test_runs_are_found_by_id_folder_task_and_last(tmp_path):
    folders = [make_run(tmp_path, run_id=name) for name in NAMES[:3]]
    for given, expected in (
        ([NAMES[1]], [1]),
        ([str(folders[2]), NAMES[0]], [2, 0]),
        (["voix-passive"], [0, 1, 2]),
        (["voix-passive/petit-llama-lora"], [0, 1, 2]),
        (["last"], [2]),
    ):
        found, notes = find_runs(given, tmp_path)
        assert ([run.folder for run in found], notes) == ([folders[place] for place in expected], [])


def test_a_run_that_is_named_twice_is_shown_once_and_said_to_be(tmp_path):
    folder = make_run(tmp_path, run_id=NAMES[0])
    found, notes = find_runs([NAMES[0], str(folder)], tmp_path)
    assert [run.folder for run in found] == [folder]
    assert notes == [f"{NAMES[0]} is named twice and shown once."]


def test_a_task_stands_for_its_finished_runs_and_the_others_are_counted(tmp_path):
    make_run(tmp_path, run_id=NAMES[0])
    make_run(tmp_path, run_id=NAMES[1], status="failed")
    found, notes = find_runs(["voix-passive"], tmp_path)
    assert [run.folder.name for run in found] == [NAMES[0]]
    assert notes == ["voix-passive: 1 of 2 runs are not finished and left out."]


def test_every_name_without_a_run_is_reported_at_once(tmp_path):
    make_run(tmp_path, run_id=NAMES[0], status="failed")
    with pytest.raises(AffinageError) as error:
        find_runs(["nowhere", NAMES[0], "nobody", "voix-passive"], tmp_path)
    assert [problem.where for problem in error.value.problems] == ["run nowhere", "run nobody", "voix-passive"]


def test_no_name_at_all_is_an_error(tmp_path):
    with pytest.raises(AffinageError, match=r"RUNS: names no run\. Allowed: no run yet\."):
        find_runs([], tmp_path)


def test_broken_files_of_all_runs_are_reported_at_once(tmp_path):
    folders = [make_run(tmp_path, run_id=name, records=predictions(ROWS)) for name in NAMES[:3]]
    cut = folders[0] / "evaluation/voix-passive/predictions.jsonl"
    cut.write_bytes(cut.read_bytes()[:-20])
    (folders[1] / "evaluation/voix-passive/metrics.json").write_text('{"n": ', encoding="utf-8")
    (folders[2] / "config.yaml").unlink()
    with pytest.raises(AffinageError) as error:
        gather([Run(folder, made["manifest"]("petit-llama-lora", folder.name)) for folder in folders])
    found = "\n".join(map(str, error.value.problems))
    assert len(error.value.problems) == 3
    assert "predictions.jsonl:40: half-written" in found
    assert "metrics.json: cannot be read as JSON" in found
    assert "config.yaml: no such file" in found


def test_scores_of_other_answers_are_an_error(tmp_path):
    folder = make_run(tmp_path, records=predictions(ROWS))
    write_jsonl(folder / "evaluation/voix-passive/predictions.jsonl", predictions(ROWS[:30]))
    with pytest.raises(AffinageError, match=r"scores of 40 rows for 30 answers\..*make score"):
        gather(find_runs(["last"], tmp_path)[0])


def test_stored_scores_that_the_answers_do_not_give_are_named(tmp_path):
    folder = make_run(tmp_path, records=predictions(ROWS, skill=0.9))
    write_jsonl(folder / "evaluation/voix-passive/predictions.jsonl", predictions(ROWS, skill=0.1))
    comparison = compare(gather(find_runs(["last"], tmp_path)[0]))
    assert [note for note in comparison.notes if "stored scores of A are not those of the answers" in note]


def test_an_evaluation_without_scores_is_scored_and_said_to_be(tmp_path):
    folder = make_run(tmp_path, records=predictions(ROWS))
    stored = gather(find_runs(["last"], tmp_path)[0])[0].answers.metrics["systems"]
    (folder / "evaluation/voix-passive/metrics.json").unlink()
    (entry,) = gather(find_runs(["last"], tmp_path)[0])
    assert entry.answers.metrics["systems"] == stored
    assert any("not scored yet" in note for note in entry.notes)


def test_a_run_of_make_train_alone_is_shown_with_its_own_answers(tmp_path):
    folder = make_run(tmp_path)
    kept = ("instruction", "input", "label", "reference", "base", "tuned", "base_stop", "tuned_stop")
    records = [{key: record[key] for key in kept} | {"label": 7} for record in predictions(ROWS, skill=0.5)]
    write_jsonl(folder / "predictions.jsonl", records)
    (entry,) = gather(find_runs(["last"], tmp_path)[0])
    right = sum(record["tuned"] == record["reference"] for record in records) / len(records)
    assert entry.answers.by_train
    assert entry.answers.metrics["systems"]["tuned"]["exact_match"]["value"] == pytest.approx(right)
    assert [row.id for row in entry.answers.rows][:2] == ["test-0", "test-1"]
    assert any("Not evaluated" in note for note in entry.notes)
    assert not any("repetition" in note for note in entry.notes)


@pytest.mark.parametrize(
    "line", ['{"reference": "a", "base": "b"', "[1]", '{"reference": "a", "base": "b", "tuned": 3}']
)
def test_a_broken_line_of_make_train_is_named(tmp_path, line):
    folder = make_run(tmp_path)
    good = '{"reference": "a", "base": "b", "tuned": "c"}\n'
    (folder / "predictions.jsonl").write_text(good + line, encoding="utf-8")
    with pytest.raises(AffinageError, match=r"predictions\.jsonl:2: .*make evaluate"):
        gather(find_runs(["last"], tmp_path)[0])


def test_one_of_several_suites_must_be_named(tmp_path):
    folder = make_run(tmp_path)
    for suite in ("alpaca", "other"):
        made["evaluated"](folder, predictions(ROWS), suite)
    run = find_runs(["last"], tmp_path)[0]
    with pytest.raises(AffinageError, match=r"2 suites\. Allowed: alpaca, other\. Name one with SUITE="):
        gather(run)
    assert gather(run, "other")[0].answers.suite is not None


def test_a_failed_run_keeps_its_line_without_scores(tmp_path):
    make_run(tmp_path, run_id=NAMES[0], records=predictions(ROWS))
    make_run(tmp_path, run_id=NAMES[1], status="failed", error="RuntimeError('out of memory')")
    comparison = compare(gather(find_runs(NAMES[:2], tmp_path)[0]))
    line = comparison.board.lines[-1]
    assert (line.key, line.status, line.n, line.cells) == ("B", "failed", 0, {})
    assert "out of memory" in comparison.entries[1].notes[0]


def test_runs_whose_base_models_answer_alike_share_its_line(tmp_path):
    entries = runs_with(tmp_path, [0.4, 0.6])
    assert [(s.key, s.letters) for s in compare(entries).systems if s.kind == "base"] == [("base", ("A", "B"))]
    records = [record | {"base": "autre"} for record in predictions(ROWS, 0.5)]
    make_run(tmp_path, run_id=NAMES[5], records=records)
    systems = compare(gather(find_runs(["voix-passive"], tmp_path)[0])).systems
    assert [(s.key, s.letters) for s in systems if s.kind == "base"] == [("base 1", ("A", "B")), ("base 2", ("C",))]


def test_the_base_model_asked_with_examples_has_a_line_of_its_own(tmp_path):
    shots = [record | {"fewshot": record["reference"], "fewshot_stop": "end"} for record in predictions(ROWS, 0.5)]
    folder = make_run(tmp_path)
    made["evaluated"](folder, shots, fewshot={"k": 3, "seed": 0, "ids": ["1", "2", "3"]})
    comparison = compare(gather(find_runs(["last"], tmp_path)[0]))
    line = next(line for line in comparison.board.lines if line.key == "few-shot")
    assert line.name.endswith("asked with 3 examples")
    assert (line.cells["exact_match"].value, line.cells["exact_match"].best) == (1.0, True)
    pairs = pairs_of(comparison.systems, comparison.tests, "exact_match")
    assert [(p.first.key, p.second.key, p.words) for p in pairs][1] == ("A", "few-shot", "few-shot is better")


def right_on(n):
    """Records whose tuned answer equals the reference on the first `n` rows alone."""
    return [record | {"tuned": record["reference"] if i < n else "non"} for i, record in enumerate(predictions(ROWS))]


def compared(results, *rights):
    for place, n in enumerate(rights):
        make_run(results, run_id=NAMES[place], records=right_on(n))
    return compare(gather(find_runs(NAMES[: len(rights)], results)[0]))


def test_pairs_count_rows_and_test_them_as_binomial_coefficients_do(tmp_path):
    comparison = compared(tmp_path, 20, 26)
    pairs = {(p.first.key, p.second.key): p for p in pairs_of(comparison.systems, comparison.tests, "exact_match")}
    assert list(pairs) == [("A", "base"), ("B", "base"), ("B", "A")]
    test = pairs["B", "A"].test
    assert (test.better, test.worse, test.equal) == (6, 0, 34)
    assert test.p == pytest.approx(2 / 2**6)  # all of six rows on one side, on either side
    assert test.value == pytest.approx(6 / 40)
    assert pairs["B", "A"].words == "B is better"


@pytest.mark.parametrize(
    ("rights", "best"),
    [((20, 26), "B"), ((26, 20, 0), "A"), ((20, 24), None), ((20, 20), None), ((0, 0), None)],
)
def test_the_best_is_marked_only_when_it_is_significantly_better_than_the_second(tmp_path, rights, best):
    comparison = compared(tmp_path, *rights)
    assert [line.key for line in comparison.board.lines if line.cells["exact_match"].best] == ([best] if best else [])
    sentence = verdict(comparison.systems, comparison.tests, main_metric(comparison.board))
    assert (f"{best} has the best exact match" in sentence) if best else ("cannot be told apart" in sentence)


def test_perplexity_is_best_where_it_is_lowest(tmp_path):
    board = compare(runs_with(tmp_path, [0.05, 0.95])).board
    values = {line.key: line.cells["perplexity"] for line in board.lines}
    assert values["B"].value < values["A"].value < values["base"].value
    assert [key for key, cell in values.items() if cell.best] == ["B"]


def test_runs_on_the_same_rows_have_no_obstacle(tmp_path):
    entries = runs_with(tmp_path, [0.4, 0.6])
    assert (obstacles(entries), surroundings(entries)) == ([], [])


BASE = {"id": "models/autre", "files": {"model.safetensors": "9" * 64}}
DATA = {"dataset": "", "files": [{"name": "rows.jsonl", "sha256": "9" * 64}]}


@pytest.mark.parametrize(
    ("what", "rows", "config", "entries"),
    [
        ("test rows", questions(40, seed=9), {}, {}),
        ("rows in the split", ROWS[:30], {}, {}),
        ("data", ROWS, {}, {"data": DATA}),
        ("base model", ROWS, {}, {"base_model": BASE}),
        ("prompt template", ROWS, {"prompt__template": "{instruction} {input}"}, {}),
    ],
)
def test_what_keeps_scores_from_being_compared_is_named(tmp_path, what, rows, config, entries):
    make_run(tmp_path, run_id=NAMES[0], records=predictions(ROWS))
    make_run(tmp_path, run_id=NAMES[1], records=predictions(rows), config=changed(CONFIG, **config), **entries)
    found = {difference.what: difference for difference in obstacles(gather(find_runs(NAMES[:2], tmp_path)[0]))}
    assert what in found
    assert set(found[what].values) == {"A", "B"} and len(set(found[what].values.values())) == 2


def test_another_split_and_other_generation_are_named(tmp_path):
    folders = [make_run(tmp_path, run_id=name) for name in NAMES[:2]]
    made["evaluated"](folders[0], predictions(ROWS))
    made["evaluated"](folders[1], predictions(ROWS), split="validation", generation={"do_sample": True, "top_p": 0.9})
    found = {difference.what for difference in obstacles(gather(find_runs(NAMES[:2], tmp_path)[0]))}
    assert found == {"split", "generation"}
