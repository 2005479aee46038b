"""Predictions that cannot be scored are refused, all faults at once and with the numbers of their lines."""

import json
from pathlib import Path

import pytest

from affinage.errors import AffinageError
from affinage.scoring import read_predictions

ROW = {
    "label": "a",
    "group": "g",
    "instruction": "copie",
    "input": "",
    "prompt": "copie : ",
    "reference": "l'été",
    "reference_tokens": 3,
    "reference_bytes": 7,
    **dict.fromkeys(("base", "tuned"), "été"),
    **{f"{name}_tokens": 2 for name in ("base", "tuned")},
    **{f"{name}_stop": "end" for name in ("base", "tuned")},
    **{f"{name}_flags": [] for name in ("base", "tuned")},
    **{f"{name}_nll": 1.5 for name in ("base", "tuned")},
}
GOOD = [{"id": f"r{i}", **ROW} for i in range(4)]


def lines(**second):
    """Four rows as text, the second one with other columns; a column set to ... is taken away."""
    rows = [dict(row) for row in GOOD]
    rows[1] = {key: value for key, value in (rows[1] | second).items() if value is not ...}
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def refused(folder: Path, content: str | bytes) -> list[str]:
    path = folder / "predictions.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    with pytest.raises(AffinageError) as raised:
        read_predictions(path)
    return [str(problem) for problem in raised.value.problems]


CUT = lines()[:-30]
BROKEN = {
    "empty file": ("", "predictions.jsonl: holds no row."),
    "blank lines": ("\n \n\n", "predictions.jsonl: holds no row."),
    "half-written last line": (CUT, "jsonl:4: half-written, as if the writing was stopped."),
    "cut in the middle": (CUT + "\n" + lines().splitlines()[0].replace("r0", "r9"), "jsonl:4: no JSON: "),
    "no JSON": (lines() + "id: 5\n", "jsonl:5: no JSON: Expecting value."),
    "a list": (lines() + "[1, 2]\n", "jsonl:5: holds [1, 2], no object with columns."),
    "a number": (lines() + "7\n", "jsonl:5: holds 7, no object with columns."),
    "null": (lines() + "null\n", "jsonl:5: holds null, no object with columns."),
    "not UTF-8": (lines().encode("latin-1"), "jsonl:1: not UTF-8: "),
    "UTF-16": (lines().encode("utf-16"), "jsonl:1: not UTF-8: "),
    "nested too deeply": (lines() + "[" * 100_000 + "\n", "jsonl:5: no JSON: "),
    "the same column twice": ('{"id": "r", "id": "s"}\n', "jsonl:1: no JSON: the column 'id' stands there twice."),
    "the same id twice": (lines(id="r0"), "jsonl:2: the id 'r0' stood on line 1 before."),
    "another reference": (lines(id="r0", reference="x", reference_bytes=1), "on line 1 before with another reference."),
    "no id": (lines(id=...), "jsonl:2: no column 'id', which other lines have."),
    "an empty id": (lines(id=" "), "jsonl:2: the column 'id' is empty."),
    "an id that is null": (lines(id=None), "jsonl:2: the column 'id' is null, no text."),
    "no reference": (lines(reference=...), "jsonl:2: no column 'reference', which other lines have."),
    "a reference that is null": (lines(reference=None), "jsonl:2: the column 'reference' is null, no text."),
    "no answer on one line": (lines(tuned=...), "jsonl:2: no column 'tuned', which other lines have."),
    "an answer that is null": (lines(tuned=None), "jsonl:2: the column 'tuned' is null, no text."),
    "an answer that is a list": (lines(base=["a"]), """jsonl:2: the column 'base' is ["a"], no text."""),
    "half a character": (lines(tuned="a\ud83d"), "jsonl:2: not UTF-8: "),
    "half a character, escaped": (
        lines().replace('"tuned": "été"', '"tuned": "\\ud83d"'),
        "jsonl:1: the column 'tuned' holds half a character (a lone surrogate). The same on lines 2, 3, 4.",
    ),
    "a stop that is none": (lines(base_stop="eos"), """'base_stop' is "eos", neither 'end' nor 'length'."""),
    "flags as text": (lines(base_flags="limit"), """jsonl:2: the column 'base_flags' is "limit", no list of texts."""),
    "flags as numbers": (lines(base_flags=[1]), "jsonl:2: the column 'base_flags' is [1], no list of texts."),
    "NaN": (lines(tuned_nll=float("nan")), "jsonl:2: no JSON: NaN is no number."),
    "infinity": (lines(tuned_nll=float("inf")), "jsonl:2: no JSON: Infinity is no number."),
    "a number beyond all": (
        lines().replace("1.5", "1e999", 1),
        "jsonl:1: the column 'base_nll' is Infinity, no number",
    ),
    "a negative nll": (lines(base_nll=-0.5), "jsonl:2: the column 'base_nll' is -0.5, no number of 0 or more."),
    "an nll as text": (lines(base_nll="3"), """jsonl:2: the column 'base_nll' is "3", no number of 0 or more."""),
    "no tokens": (lines(reference_tokens=0), "'reference_tokens' is 0, no whole number of 1 or more."),
    "half a token": (lines(base_tokens=1.5), "'base_tokens' is 1.5, no whole number of 0 or more."),
    "true for a number": (lines(base_tokens=True), "'base_tokens' is true, no whole number of 0 or more."),
    "wrong bytes": (lines(reference_bytes=5), "jsonl:2: reference_bytes is 5, and the reference has 7 bytes."),
    "a label that is a number": (lines(label=3), "jsonl:2: the column 'label' is 3, no text."),
    "no system": (
        '{"id": "a", "reference": "b"}\n',
        "no system's answers. Allowed: a column base or fewshot or tuned.",
    ),
    "a page of HTML": ("<!doctype html>\n<p>404\n", "jsonl:1: no JSON: Expecting value."),
}


def test_there_are_thirty_broken_files_or_more():
    assert len(BROKEN) >= 30


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_with_line_and_reason(tmp_path, name):
    content, expected = BROKEN[name]
    found = refused(tmp_path, content)
    assert any(expected in problem for problem in found), found


def test_everything_that_is_wrong_is_named_at_once_in_the_order_of_the_lines(tmp_path):
    content = lines(tuned=None, base_stop="x") + "{\n" + json.dumps(GOOD[0]) + "\n" + CUT.splitlines()[-1]
    found = refused(tmp_path, content)
    assert [problem.split("jsonl:")[1].split(":")[0] for problem in found] == ["2", "2", "5", "6", "7"]


def test_the_same_fault_on_many_lines_is_one_problem_with_some_of_their_numbers(tmp_path):
    rows = [{"id": str(i), "reference": "a", "base": None} for i in range(300)]
    [found] = refused(tmp_path, "".join(json.dumps(row) + "\n" for row in rows))
    assert "jsonl:1: the column 'base' is null, no text. The same on lines 2, 3, 4, 5 and 295 more." in found


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir], ids=["nothing", "a folder"])
def test_a_place_without_a_file_is_an_error(tmp_path, make):
    make(tmp_path / "predictions.jsonl")
    with pytest.raises(AffinageError, match=r"predictions\.jsonl: (no such file|cannot be read)"):
        read_predictions(tmp_path / "predictions.jsonl")


@pytest.mark.parametrize(
    ("content", "n"),
    [
        (lines(), 4),
        (lines().removesuffix("\n"), 4),
        ("\ufeff" + lines(), 4),
        (lines().replace("\n", "\r\n"), 4),
        (lines().replace("\n", "\n\n"), 4),
        (lines(tuned="a\u2028b\u0085c"), 4),
        (lines(base_nll=None), 4),
        (lines(mine={"kept": 1}), 4),
        ('{"id": 7, "reference": "", "base": ""}', 1),
    ],
)
def test_files_that_only_look_odd_are_read(tmp_path, content, n):
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(content.encode())
    assert len(read_predictions(path)) == n


def test_rows_remember_their_lines_behind_blank_ones(tmp_path):
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n\n" + lines())
    assert read_predictions(path).where(1).endswith("predictions.jsonl:4")
