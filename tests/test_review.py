"""The review sheet survives spreadsheets, keeps marks, and gives a precision with its interval."""

import csv

import pytest

from affinage.curation.steps.asking import Decision
from affinage.curation.steps.review import COLUMNS, key_start, precision_of, precisions, read_sheet, write_sheet
from affinage.errors import AffinageError

PROMPT, DIGEST = "p" * 64, "d" * 64
CURRENT = {"label": key_start(PROMPT, DIGEST)}


def decision(number, result="a", **others):
    facts = {"step": "label", "id": f"r{number}", "source": f"x#{number}", "text": f"Texte {number}; « é »\nsuite"}
    return Decision(**{**facts, "result": result, "prompt_sha256": PROMPT, "digest": DIGEST, **others})


def mark(path, marks, delimiter=",", encoding="utf-8-sig"):
    """What a person does in a spreadsheet, which may save with another delimiter and encoding."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    for line, value in zip(lines, marks, strict=False):
        line["correct"] = value
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter=delimiter)
        writer.writeheader()
        writer.writerows(lines)


# Wilson's interval for k of n at 95 %, worked out from its formula with z = 1.959964 outside this project's code.
@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(18, 20, 0.6990, 0.9721), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0)],
)
def test_the_interval_is_wilsons(k, n, low, high):
    found = precision_of(k, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high) and found.value == k / n
    assert f"n={n}" in str(found) and "95 %" in str(found)


def test_a_sheet_has_a_line_for_each_decision_and_room_for_marks(tmp_path):
    path = tmp_path / "review" / "review.csv"
    assert read_sheet(path) is None
    assert write_sheet(path, [decision(1), decision(2)], None) is None
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    lines = list(read_sheet(path).lines.values())
    assert [(line["id"], line["result"], line["correct"], line["comment"]) for line in lines] == [
        ("r1", "a", "", ""),
        ("r2", "a", "", ""),
    ]
    assert lines[0]["text"] == "Texte 1; « é »\nsuite"
    assert precisions(read_sheet(path), CURRENT) == ({}, 0)


@pytest.mark.parametrize(("delimiter", "encoding"), [(",", "utf-8-sig"), (";", "cp1252"), ("\t", "utf-16")])
def test_marks_are_read_however_the_spreadsheet_saved_them(tmp_path, delimiter, encoding):
    path = tmp_path / "review.csv"
    write_sheet(path, [decision(number) for number in range(6)], None)
    mark(path, ["oui", " YES", "non", "1", ""], delimiter, encoding)
    found, stale = precisions(read_sheet(path), CURRENT)
    assert (found["label"].n, found["label"].correct, stale) == (4, 3, 0)


def test_a_mark_that_is_none_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "review.csv"
    write_sheet(path, [decision(1), decision(2)], None)
    mark(path, ["maybe", "?"])
    with pytest.raises(AffinageError) as raised:
        read_sheet(path)
    assert "review.csv:3: 'maybe'" in str(raised.value) and "review.csv:5: '?'" in str(raised.value)


def test_a_sheet_without_its_columns_is_an_error(tmp_path):
    (tmp_path / "review.csv").write_text("step,id\nlabel,r1\n")
    with pytest.raises(AffinageError, match="no column source"):
        read_sheet(tmp_path / "review.csv")


def test_marks_stay_with_their_decision_when_the_sheet_is_written_again(tmp_path):
    path = tmp_path / "review.csv"
    write_sheet(path, [decision(1), decision(2)], None)
    mark(path, ["yes", ""])
    assert write_sheet(path, [decision(3), decision(1)], read_sheet(path)) is None
    assert {line["id"]: line["correct"] for line in read_sheet(path).lines.values()} == {"r3": "", "r1": "yes"}


def test_marks_of_other_answers_are_set_aside_and_never_lost(tmp_path):
    path = tmp_path / "review.csv"
    write_sheet(path, [decision(1)], None)
    for n in (1, 2):
        mark(path, ["yes"])
        aside = write_sheet(path, [decision(1, result=f"other {n}")], read_sheet(path))
        assert aside == tmp_path / f"review-{n}.csv"
        assert list(read_sheet(aside).marked.values()) == [True] and read_sheet(path).marked == {}


@pytest.mark.parametrize("changed", [{"prompt_sha256": "q" * 64}, {"digest": "e" * 64}])
def test_marks_of_another_prompt_or_model_do_not_count(tmp_path, changed):
    path = tmp_path / "review.csv"
    write_sheet(path, [decision(1), decision(2, **changed)], None)
    mark(path, ["yes", "no"])
    found, stale = precisions(read_sheet(path), CURRENT)
    assert (found["label"].n, found["label"].correct, stale) == (1, 1, 1)


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@x"])
def test_a_text_is_never_a_formula(tmp_path, text):
    path = tmp_path / "review.csv"
    write_sheet(path, [decision(1, text=text, result=text)], None)
    [line] = read_sheet(path).lines.values()
    assert line["text"] == line["result"] == "'" + text


def test_a_cell_is_never_longer_than_a_spreadsheet_holds(tmp_path):
    path = tmp_path / "review.csv"
    write_sheet(path, [decision(1, text="x" * 200_000)], None)
    [line] = read_sheet(path).lines.values()
    assert len(line["text"]) < 32_767 and line["text"].endswith("…")
