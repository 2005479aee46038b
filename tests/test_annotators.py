"""Filled sheets as people send them back: every spreadsheet's way of saving is read, and every fault is named."""

import csv
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from affinage.calibration.annotators import read_annotators
from affinage.calibration.evaluation import add_to_key, open_evaluation
from affinage.calibration.sheet import COLUMNS, cells_of, write_sheet
from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.runs import find_run

helper = runpy.run_path(str(Path(__file__).with_name("judged_rows.py")))
run_folder, judged, server_of = (helper[name] for name in ("run_folder", "judged", "server_of"))
ANSWERS = [
    "Ça, c’était très « bon » ; n’est-ce pas ?",
    "=1+1",
    "deux\nlignes",
    "1/2",
    "un élève a lu",
    "日本語",
    "fin",
    "x",
]


def answered(prefix=""):
    asked = {"instruction": "Réponds.", "input": "", "reference": "à la fin"}
    return [asked | {"id": f"r{i}", "tuned": prefix + answer} for i, answer in enumerate(ANSWERS)]


@pytest.fixture
def evaluation(tmp_path):
    return open_evaluation(find_run(str(run_folder(tmp_path / "results", answered()))))


def filled(evaluation, path, scores, delimiter=",", encoding="utf-8-sig", change=lambda line, place: line):
    """What a person does with the sheet in a spreadsheet, which may save it in its own way."""
    items = list(evaluation.answers())
    write_sheet(path, cells_of(evaluation, items, add_to_key(evaluation, items)))
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    lines = [
        change(line | {"score": score}, place) for place, (line, score) in enumerate(zip(lines, scores, strict=True))
    ]
    with path.open("w", encoding=encoding, errors="replace", newline="") as file:
        writer = csv.DictWriter(file, lines[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(lines)
    return path


def problems(paths, evaluation):
    with pytest.raises(AffinageError) as caught:
        read_annotators(paths, evaluation)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("delimiter", "encoding"),
    [(",", "utf-8-sig"), (";", "cp1252"), ("\t", "utf-16"), (";", "utf-8"), (",", "mac_roman")],
)
def test_scores_are_read_however_the_spreadsheet_saved_them(evaluation, tmp_path, delimiter, encoding):
    scores = ["87,5", " 100 ", "0", "", "12.25", "\u00a050", "", "7"]
    path = filled(evaluation, tmp_path / "alice.csv", scores, delimiter, encoding)
    (alice,) = read_annotators([path], evaluation)
    assert alice.scores == {
        (f"r{i}", "tuned"): v for i, v in ((0, 87.5), (1, 100), (2, 0), (4, 12.25), (5, 50), (7, 7))
    }
    assert (alice.name, alice.empty) == ("alice", 2)


def test_columns_may_be_moved_or_removed_and_lines_sorted_or_left_empty(evaluation, tmp_path):
    path = filled(evaluation, tmp_path / "a.csv", map(str, range(8)))
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    text = "".join(f"{line['score']};{line['item'].upper()}\r\n" for line in reversed(lines))
    path.write_text(f"Score;Item\r\n;;\r\n{text}", encoding="utf-8")
    (found,) = read_annotators([path], evaluation)
    assert found.scores == {(f"r{i}", "tuned"): i for i in range(8)}


def test_every_fault_of_every_sheet_is_reported_at_once_with_its_line(evaluation, tmp_path):
    def spoil(line, place):
        return line | ({"item": "zzzzzzz"} if place == 4 else {"item": ""} if place == 5 else {})

    scores = ["101", "good", "-1", "1e1", "5", "5", "nan", "8"]
    first = filled(evaluation, tmp_path / "first.csv", scores, change=spoil)
    with first.open("a", encoding="utf-8", newline="") as file:
        code = first.read_text("utf-8-sig").splitlines()[1].split(",")[0]
        file.write(f"{code},,,,,3,\r\n")
    second = tmp_path / "second.csv"
    second.write_text("item,note\nx,1\n", encoding="utf-8")
    said = problems([first, second, tmp_path / "third.csv"], evaluation)
    wanted = [
        ("first.csv:2", "the score 101 is out of range"),
        ("first.csv:3", "the score 'good' is no number. Allowed: a number from 0 to 100"),
        ("first.csv:4", "the score -1 is out of range"),
        ("first.csv:6", "the score '1e1' is no number"),
        ("first.csv:7", "the code 'zzzzzzz' is on no sheet of this run"),
        ("first.csv:8", "a line without a code"),
        ("first.csv:9", "the score 'nan' is no number"),
        ("first.csv:11", f"the code '{code}' stood on line 2 before"),
        ("second.csv:1", "no column score. Allowed: item, instruction"),
        ("third.csv", "cannot be opened"),
    ]
    assert len(said) == len(wanted), said
    for problem, (where, words) in zip(said, wanted, strict=True):
        assert where in problem and words in problem


def test_a_line_number_is_that_on_which_the_line_begins(evaluation, tmp_path):
    path = filled(evaluation, tmp_path / "a.csv", ["1", "1", "bad", "bad", "1", "1", "1", "1"])
    assert [said.split(": ")[0].split(":")[-1] for said in problems([path], evaluation)] == ["4", "6"]


def test_a_column_that_was_sorted_alone_is_seen_and_a_changed_cell_is_not_a_fault(evaluation, tmp_path):
    own = [
        line["answer"]
        for line in cells_of(evaluation, list(evaluation.answers()), dict.fromkeys(evaluation.answers(), "x"))
    ]
    moved = filled(
        evaluation, tmp_path / "a.csv", ["1"] * 8, change=lambda line, place: line | {"answer": sorted(own)[place]}
    )
    assert sum("but that of another line" in said for said in problems([moved], evaluation)) >= 4
    dates = filled(
        evaluation,
        tmp_path / "b.csv",
        ["1"] * 8,
        change=lambda line, place: line | ({"answer": "01-févr"} if place == 3 else {}),
    )
    assert len(read_annotators([dates], evaluation)[0].scores) == 8


def test_a_sheet_of_another_run_or_of_earlier_answers_is_refused_once(evaluation, tmp_path):
    path = filled(evaluation, tmp_path / "a.csv", ["1"] * 8)
    other = open_evaluation(find_run(str(run_folder(tmp_path / "others", answered("autre ")))))
    add_to_key(other, list(other.answers()))
    (said,) = problems([path], other)
    assert "a sheet of another run or suite" in said
    run_folder(tmp_path / "results", answered("refait "))
    again = open_evaluation(find_run(str(evaluation.run.folder)))
    (said,) = problems([path], again)
    assert "made again since" in said and "make annotate" in said


def test_scores_of_answers_that_stayed_the_same_survive_a_new_evaluation(evaluation, tmp_path):
    path = filled(evaluation, tmp_path / "a.csv", ["1", "2", "", "4", "5", "6", "7", "8"])
    changed = [row | {"base": "?", "tuned_nll": 1.5} for row in answered()]
    changed[1]["tuned"] = "another answer now"
    changed[4]["reference"] = "another reference"
    run_folder(tmp_path / "results", changed)
    (found,) = read_annotators([path], open_evaluation(find_run(str(evaluation.run.folder))))
    assert [id for id, _ in found.scores] == ["r0", "r3", "r5", "r6", "r7"]
    assert (found.empty, found.outdated) == (1, 2)
    left = filled(evaluation, tmp_path / "b.csv", ["", "2", "", "", "5", "", "", ""])
    (said,) = problems([left], open_evaluation(find_run(str(evaluation.run.folder))))
    assert "no line has a score of an answer that is still the same; 2 were made again since" in said


def test_a_sheet_without_scores_or_named_twice_is_refused(evaluation, tmp_path):
    empty = filled(evaluation, tmp_path / "empty.csv", [""] * 8)
    header = tmp_path / "header.csv"
    header.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    said = problems([empty, header], evaluation)
    assert "no line has a score" in said[0] and "holds no line" in said[1]
    full = filled(evaluation, tmp_path / "full.csv", ["1"] * 8)
    (said,) = problems([full, full], evaluation)
    assert "two people who always agree" in said


def test_a_run_without_sheets_is_told_how_to_make_one(evaluation, tmp_path):
    (said,) = problems([tmp_path / "a.csv"], evaluation)
    assert "no sheet was made for this run" in said and "make annotate RUN=20260101-000000" in said


def test_a_table_that_breaks_off_and_a_spreadsheet_file_are_named(evaluation, tmp_path):
    path = filled(evaluation, tmp_path / "a.csv", ["1"] * 8)
    path.write_bytes(path.read_bytes() + b'bcdfghj,"open')
    excel = tmp_path / "b.csv"
    excel.write_bytes(b"PK\x03\x04 and so on")
    said = problems([path, excel], evaluation)
    assert "a.csv:11" in said[0] and "Save the sheet as CSV" in said[0] and "zip archive (XLSX" in said[1]


@pytest.mark.slow
def test_the_script_says_what_two_people_and_the_judge_agree_on(evaluation, tmp_path):
    with server_of() as server:
        judged(server, evaluation.folder, answered())
    sheets = [filled(evaluation, tmp_path / f"{name}.csv", scores) for name, scores in people().items()]
    command = [sys.executable, str(ROOT / "evaluate" / "calibrate.py"), "--run", str(evaluation.run.folder)]
    done = subprocess.run([*command, "--human", *map(str, sheets)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for words in (
        "ann: 8 answers scored",
        "bob: 7 answers scored, 1 left empty",
        "n = 8: too few to call",
        "ann and bob",
    ):
        assert words in done.stdout, words
    assert "Traceback" not in done.stderr and (evaluation.folder / "judge/score-llama3.1-8b/calibration.png").is_file()
    main = runpy.run_path(str(ROOT / "evaluate" / "calibrate.py"))["main"]
    with pytest.raises(AffinageError, match="cannot be opened"):
        main(["--run", str(evaluation.run.folder), "--human", str(tmp_path / "none.csv")])


def test_a_judge_without_these_answers_does_not_stop_the_others(evaluation, tmp_path, capsys):
    with server_of() as server:
        judged(server, evaluation.folder, answered())
    whole = evaluation.folder / "judge" / "score-llama3.1-8b"
    part = shutil.copytree(whole, whole.with_name("score-part"))
    (part / "verdicts.jsonl").write_text("", encoding="utf-8")
    sheet = filled(evaluation, tmp_path / "ann.csv", people()["ann"])
    main = runpy.run_path(str(ROOT / "evaluate" / "calibrate.py"))["main"]
    main(["--run", str(evaluation.run.folder), "--human", str(sheet)])
    said = capsys.readouterr().out
    assert "none of the 8 answers that people scored has a score of llama3.1:8b (not judged 8)" in said
    assert (whole / "calibration.json").is_file() and not (part / "calibration.json").exists()
    with pytest.raises(AffinageError, match="none of the 8 answers"):
        main(["--run", str(evaluation.run.folder), "--human", str(sheet), "--judge", "score-part"])


def people():
    return {"ann": [str(10 * i) for i in range(8)], "bob": [*(str(9 * i) for i in range(7)), ""]}
