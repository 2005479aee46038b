"""Runs that are broken, unfinished or unlike each other: a comparison refuses them by name, or shows what is odd."""

import json
import runpy
from pathlib import Path

import pytest

from affinage.comparison.gather import find_runs, gather
from affinage.comparison.page import compare, render
from affinage.errors import AffinageError
from affinage.runs import write_json, write_jsonl

made = runpy.run_path(str(Path(__file__).with_name("compared_runs.py")))
make_run, questions, predictions, history = (made[name] for name in ("make_run", "questions", "predictions", "history"))
ROWS = questions(30)
ANSWERED = Path("evaluation", "voix-passive")
FIRST, SECOND = "20261120-100001", "20261120-100002"


def compared(results, *names):
    return compare(gather(find_runs(names or ["last"], results)[0]))


def notes_of(comparison):
    return " ".join([*comparison.notes, *(note for entry in comparison.entries for note in entry.notes)])


def left_by_train(folder, **second):
    """predictions.jsonl as make train leaves it, its second line with other columns."""
    records = [
        {key: record[key] for key in ("id", "instruction", "input", "reference", "base", "tuned")}
        for record in predictions(ROWS)
    ]
    records[1] |= second
    write_jsonl(folder / "predictions.jsonl", records)
    return folder / "predictions.jsonl"


BROKEN = {
    "answers that are not UTF-8": (
        ANSWERED / "predictions.jsonl",
        b'{"id": "\xe9"}\n',
        "predictions.jsonl:1: not UTF-8",
    ),
    "no answer": (ANSWERED / "predictions.jsonl", b"", "predictions.jsonl: holds no row"),
    "scores cut in the middle": (ANSWERED / "metrics.json", b'{"n": 30, "sys', "metrics.json: cannot be read as JSON"),
    "scores that are a list": (ANSWERED / "metrics.json", b"[]", "metrics.json: holds a list"),
    "scores without systems": (ANSWERED / "metrics.json", b'{"n": 30}', "metrics.json: no section 'systems'"),
    "a description cut in the middle": (
        ANSWERED / "generation.json",
        b'{"split"',
        "generation.json: cannot be read as",
    ),
    "a config that is no YAML": ("config.yaml", b"a: [", "config.yaml:1: not valid YAML"),
    "a manifest cut in the middle": ("run.json", b'{"task": ', "run.json: is no JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_of_a_run_is_an_error_with_its_name(tmp_path, name):
    file, content, found = BROKEN[name]
    folder = make_run(tmp_path, records=predictions(ROWS))
    (folder / file).write_bytes(content)
    with pytest.raises(AffinageError) as raised:
        compared(tmp_path, str(folder))
    assert found in str(raised.value)


def test_a_row_that_make_train_answered_twice_is_an_error_with_its_line(tmp_path):
    left_by_train(make_run(tmp_path), id="r-0")
    with pytest.raises(AffinageError, match=r"predictions\.jsonl:2: the id 'r-0' stood on a line before"):
        compared(tmp_path)


def test_answers_of_make_train_that_are_not_utf_8_are_an_error_with_their_line(tmp_path):
    path = left_by_train(make_run(tmp_path))
    path.write_bytes(path.read_text(encoding="utf-8").encode("latin-1", "replace"))
    with pytest.raises(AffinageError, match=r"predictions\.jsonl:\d+: not UTF-8"):
        compared(tmp_path)


def test_answers_of_make_train_that_are_none_at_all_are_an_error(tmp_path):
    left_by_train(make_run(tmp_path)).write_text("\n\n")
    with pytest.raises(AffinageError, match=r"predictions\.jsonl: holds no row"):
        compared(tmp_path)


def test_a_half_written_line_of_the_history_is_counted_and_the_others_are_drawn(tmp_path):
    folder = make_run(tmp_path, records=predictions(ROWS))
    with (folder / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 41, "lo')
    comparison = compared(tmp_path)
    assert "1 half-written lines of history.jsonl are left out." in notes_of(comparison)
    assert comparison.entries[0].history == history()


def test_a_loss_that_is_no_number_leaves_a_page_without_it(tmp_path):
    folder = make_run(tmp_path, records=predictions(ROWS))
    records = [record | ({"loss": float("nan")} if record["step"] == 7 else {}) for record in history()]
    (folder / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    page = render(compared(tmp_path))
    assert "NaN" not in page and "nan," not in page and 'data-run="A"' in page


def test_runs_that_share_no_row_are_not_compared_and_say_so(tmp_path):
    make_run(tmp_path, run_id=FIRST, records=predictions(ROWS))
    make_run(tmp_path, run_id=SECOND, records=predictions([row | {"id": f"x-{row['id']}"} for row in ROWS]))
    page = render(compared(tmp_path, FIRST, SECOND))
    assert "Not comparable as they stand." in page and "no row in common" in page


def test_rows_that_one_run_lacks_are_a_red_flag_and_the_shared_ones_are_compared(tmp_path):
    make_run(tmp_path, run_id=FIRST, records=predictions(ROWS))
    make_run(tmp_path, run_id=SECOND, records=predictions(ROWS)[:25])
    comparison = compared(tmp_path, FIRST, SECOND)
    first, second = comparison.systems[-2:]
    assert comparison.tests.differences(first, second)["chrf"].n == 25
    page = render(comparison)
    assert "Not comparable as they stand." in page and "30 rows, fingerprint" in page and "25 rows, fingerprint" in page


def test_a_run_of_another_task_is_a_red_flag(tmp_path):
    make_run(tmp_path, run_id=FIRST, records=predictions(ROWS))
    make_run(tmp_path, run_id=SECOND, records=predictions(ROWS), task="autre")
    page = render(compared(tmp_path, FIRST, SECOND))
    assert "Comparison: voix-passive, autre" in page


def test_a_run_without_a_history_is_shown_and_said_to_have_none(tmp_path):
    folder = make_run(tmp_path, records=predictions(ROWS))
    (folder / "history.jsonl").unlink()
    assert "No step was trained." in notes_of(compared(tmp_path))


def test_an_answer_of_a_million_characters_is_cut_on_the_page_alone_and_says_so(tmp_path):
    records = predictions(ROWS)
    records[0]["tuned"] = "é" * 1_000_000
    folder = make_run(tmp_path, records=records)
    page = render(compared(tmp_path))
    assert "994,000 more characters in predictions.jsonl" in page and len(page) < 1_000_000
    assert len(json.loads((folder / ANSWERED / "predictions.jsonl").read_text().splitlines()[0])["tuned"]) == 1_000_000


def test_scores_of_an_older_form_are_a_note_and_no_crash(tmp_path):
    folder = make_run(tmp_path, records=predictions(ROWS))
    metrics = json.loads((folder / ANSWERED / "metrics.json").read_text())
    metrics["systems"]["tuned"] = {"exact_match": {"value": 0.123}}
    write_json(folder / ANSWERED / "metrics.json", metrics)
    comparison = compared(tmp_path)
    assert "The stored scores of A are not those of the answers" in notes_of(comparison)
    assert "0.123" in render(comparison)
