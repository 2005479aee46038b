"""The sheet that people fill in: blind, fairly chosen, safe in a spreadsheet, and never overwritten."""

import csv
import re
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from affinage.calibration.evaluation import Judge, add_to_key, judges_of, open_evaluation, read_key
from affinage.calibration.sampling import sample
from affinage.calibration.sheet import (
    COLUMNS,
    cells_of,
    guarded,
    read_lines,
    refuse_to_overwrite,
    unguarded,
    write_sheet,
)
from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.runs import find_run

helper = runpy.run_path(str(Path(__file__).with_name("judged_rows.py")))
run_folder, judged, server_of = (helper[name] for name in ("run_folder", "judged", "server_of"))
HOSTILE = '<img src=x onerror="document.title=\'hit\'"></script><script>document.title="hit"</script><!--'
WORDS = "le petit chat noir mange une belle pomme rouge dans notre grand jardin".split()


def graded(n=60):
    """Rows whose base answer shares more and more words with the reference; five of six tuned ones are right."""
    rows = []
    for i in range(n):
        reference = f"{' '.join(WORDS)} numéro {i}."
        asked = {
            "id": f"r{i}",
            "label": "ab"[i % 2],
            "instruction": "Recopie la phrase.",
            "input": "",
            "reference": reference,
        }
        rows.append(
            asked | {"base": " ".join(reference.split()[: i % 12]), "tuned": reference if i % 6 else "rien du tout"}
        )
    return rows


def evaluation_in(tmp_path, rows=None, judge=False):
    folder = run_folder(tmp_path, graded() if rows is None else rows)
    if judge:
        with server_of() as server:
            judged(server, folder / "evaluation" / "default", graded() if rows is None else rows)
    return open_evaluation(find_run(str(folder)))


@pytest.fixture(scope="module")
def judged_evaluation(tmp_path_factory):
    return evaluation_in(tmp_path_factory.mktemp("judged"), judge=True)


def lines_of(evaluation, items):
    return cells_of(evaluation, items, add_to_key(evaluation, items))


def test_the_sheet_says_nothing_of_systems_and_the_key_tells_them(judged_evaluation, tmp_path):
    chosen = sample(judged_evaluation, judges_of(judged_evaluation)[0], 40, 0).items
    write_sheet(tmp_path / "sheet.csv", lines_of(judged_evaluation, chosen))
    content = (tmp_path / "sheet.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf") and not re.search(b"base|tuned|r1[0-9]", content)
    key, answers = read_key(judged_evaluation), judged_evaluation.answers()
    lines = [line for _, line in read_lines(tmp_path / "sheet.csv")]
    assert [key[line["item"]].item for line in lines] == chosen and len(lines) == 40
    assert [line["answer"] for line in lines] == [answers[item] for item in chosen]
    assert {line["score"] + line["comment"] for line in lines} == {""}
    assert tuple(lines[0]) == COLUMNS


def test_rare_scores_are_on_the_sheet_as_often_as_common_ones(judged_evaluation):
    (judge,), notes = judges_of(judged_evaluation)
    of_stratum = Counter(min(line["score"] // 10, 9) for line in judge.verdicts.values() if not line["rule"])
    assert max(of_stratum.values()) > 5 * min(of_stratum.values()) and notes == []
    found = sample(judged_evaluation, [judge], 30, 0)
    fair = 30 // len(of_stratum)
    counts = {int(stratum[:2]) // 10: n for stratum, n in found.strata.items()}
    assert all(counts[stratum] >= min(fair, n) for stratum, n in of_stratum.items())
    assert max(counts.values()) <= fair + 3


def test_without_a_judge_systems_and_labels_come_equally_often(tmp_path):
    evaluation = evaluation_in(tmp_path)
    assert set(sample(evaluation, [], 40, 0).strata.values()) == {10}
    assert len(sample(evaluation, [], 40, 0).strata) == 4


def test_a_demo_has_no_say_where_a_model_judged(judged_evaluation):
    (judge,), _ = judges_of(judged_evaluation)
    zeros = {item: line | {"score": 0} for item, line in judge.verdicts.items()}
    demo = Judge(judge.folder, judge.summary | {"demo": True}, zeros)
    assert sample(judged_evaluation, [demo, judge], 30, 0) == sample(judged_evaluation, [judge], 30, 0)
    assert list(sample(judged_evaluation, [demo], 30, 0).strata) == ["00 to 10"]


def test_the_same_seed_gives_the_same_sheet_in_an_order_that_tells_nothing(judged_evaluation):
    judges = judges_of(judged_evaluation)[0]
    first, again, other = (sample(judged_evaluation, judges, 40, seed).items for seed in (0, 0, 1))
    assert first == again and set(first) != set(other)
    scores = [judges[0].verdicts[item]["score"] for item in first]
    assert scores not in (sorted(scores), sorted(scores, reverse=True))
    strata = [min(score // 10, 9) for score in scores]
    k = len(set(strata))
    assert strata[:k] != strata[k : 2 * k], "the scores come round in turn"
    assert len({system for _, system in first[:8]}) == 2


def test_no_row_or_group_comes_twice_while_another_is_left(tmp_path):
    rows = [row | {"group": f"g{i // 3}"} for i, row in enumerate(graded())]
    evaluation = evaluation_in(tmp_path, rows)
    groups = [evaluation.units()[id] for id, _ in sample(evaluation, [], 20, 0).items]
    assert len(set(groups)) == 20


def test_empty_answers_and_those_without_a_verdict_are_left_out_and_counted(tmp_path):
    rows = [row | ({"base": "  "} if i < 4 else {}) for i, row in enumerate(graded(12))]
    folder = run_folder(tmp_path, rows)
    with server_of() as server:
        server.script(*["ok"] * 5, "refusal")
        judged(server, folder / "evaluation" / "default", rows)
    evaluation = open_evaluation(find_run(str(folder)))
    found = sample(evaluation, judges_of(evaluation)[0], 100, 0)
    # graded() has one more empty answer, that of row 0, which is among the four
    assert found.left_out == {"empty answers": 4, "answers without a judge's score": 1}
    assert len(found.items) == 24 - 5


def test_codes_look_like_no_word_number_or_date_and_stay_when_sheets_are_added(tmp_path):
    evaluation = evaluation_in(tmp_path)
    items = list(evaluation.answers())
    few = add_to_key(evaluation, items[:3])
    codes = add_to_key(evaluation, items)
    assert {item: codes[item] for item in items[:3]} == few
    assert len(set(codes.values())) == len(items) == 120
    assert all(re.fullmatch("[bcdfghjklmnpqrstvwxz]{7}", code) for code in codes.values())


DANGEROUS = [
    "=1+1",
    "+33 6",
    "-5",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "'=1",
    "''@x",
    "'tis",
    "plain",
    "",
    "a=b",
]


@pytest.mark.parametrize("text", DANGEROUS)
def test_no_cell_is_a_formula_and_reading_gives_the_text_back(text):
    assert not re.match("[=+\\-@\t\r\n＝＋－＠]", guarded(text))
    assert unguarded(guarded(text)) == text


def test_texts_survive_the_file_as_they_are(tmp_path):
    texts = [*DANGEROUS, 'a "quoted", text;\r\nwith é, 日本語 and a tab\t.', HOSTILE, "x" * 40_000]
    rows = [{"id": str(i), "instruction": "=i", "reference": "r", "tuned": text} for i, text in enumerate(texts)]
    evaluation = evaluation_in(tmp_path, rows)
    items = list(evaluation.answers())
    write_sheet(tmp_path / "s.csv", lines_of(evaluation, items))
    read = [line for _, line in read_lines(tmp_path / "s.csv")]
    assert [line["answer"] for line in read[:-1]] == texts[:-1]
    assert len(read[-1]["answer"]) == 30_000 and read[-1]["answer"].endswith("…")
    with (tmp_path / "s.csv").open(encoding="utf-8-sig", newline="") as file:
        assert all(not re.match("[=+\\-@\t\r\n]", cell) for cells in csv.reader(file) for cell in cells)


def test_a_sheet_in_which_something_was_filled_in_is_never_overwritten(tmp_path):
    path, line = tmp_path / "sheet.csv", dict.fromkeys(COLUMNS, "x") | {"score": "", "comment": ""}
    write_sheet(path, [line])
    write_sheet(path, [line])  # nothing is lost
    for filled in ({"score": "50"}, {"comment": "hm"}):
        path.unlink()
        write_sheet(path, [line | filled, line])
        before = path.read_bytes()
        with pytest.raises(AffinageError, match="1 of its lines are filled in already"):
            write_sheet(path, [line])
        assert path.read_bytes() == before
    (tmp_path / "other.csv").write_text("my,own\ntable,1\n", encoding="utf-8")
    with pytest.raises(AffinageError, match="is there already and is no sheet"):
        refuse_to_overwrite(tmp_path / "other.csv")
    with pytest.raises(AffinageError, match=r"a name that ends in \.csv"):
        refuse_to_overwrite(tmp_path / "sheet.xlsx")


@pytest.mark.slow
def test_the_script_writes_sheet_page_and_key_and_says_what_to_type_next(tmp_path):
    folder = run_folder(tmp_path / "results", graded(20))
    sheet = tmp_path / "alice.csv"
    command = [sys.executable, str(ROOT / "evaluate" / "annotate.py"), "--run", str(folder), "--n", "8", "--page"]
    done = subprocess.run([*command, "--output", str(sheet)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "8 answers, spread over systems and labels" in done.stdout
    assert f"Next: make calibrate RUN={folder.name} HUMAN={sheet}" in done.stdout
    assert len(read_lines(sheet)) == 8 and sheet.with_suffix(".html").is_file()
    assert (folder / "evaluation/default/annotation/key.json").is_file()


def test_the_script_leaves_filled_sheets_and_says_when_there_are_fewer_answers(tmp_path, capsys):
    folder, sheet = run_folder(tmp_path / "results", graded(3)), tmp_path / "a.csv"
    main = runpy.run_path(str(ROOT / "evaluate" / "annotate.py"))["main"]
    asked = ["--run", str(folder), "--output", str(sheet)]
    main(asked)
    assert "fewer than the 40 asked for" in capsys.readouterr().out
    sheet.write_text(sheet.read_text(encoding="utf-8-sig").replace(",,\n", ",50,\n"), encoding="utf-8-sig")
    with pytest.raises(AffinageError, match="5 of its lines are filled in already"):
        main(asked)
    with pytest.raises(AffinageError, match="no predictions there yet"):
        main([*asked, "--suite", "voix-passive"])


def test_a_sheet_is_not_biased_towards_the_rows_at_the_beginning(tmp_path):
    evaluation = evaluation_in(tmp_path)
    places = [int(id[1:]) for seed in range(20) for id, _ in sample(evaluation, [], 10, seed).items]
    assert abs(sum(places) / len(places) - 29.5) < 4  # 17.3 / sqrt(200) is 1.2
    assert len(set(places)) > 50
