"""A source is a file or a folder; what was guessed is told, what was not read is named, and rows come as a stream."""

import hashlib
import json

import pytest

from affinage.curation.rows import Counts
from affinage.curation.sources import open_source
from affinage.data import dataset_files, read_rows
from affinage.errors import AffinageError

CHAT = {"id": "c", "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}


def alpaca(n, start=0):
    return [{"instruction": f"Q{i}", "input": "", "output": f"A{i}"} for i in range(start, start + n)]


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def test_a_folder_gives_the_rows_of_its_files_in_order_and_names_what_is_not_read(tmp_path):
    write(tmp_path / "b" / "1.jsonl", alpaca(2))
    write(tmp_path / "a.jsonl", alpaca(1, start=5))
    write(tmp_path / ".hidden" / "x.jsonl", alpaca(1))
    for name in ("README.md", "manifest.json", "LICENSE.txt", "notes.txt", "plot.png"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    source = open_source(str(tmp_path))
    assert [(row["output"], row["source"]) for row in source.rows(Counts())] == [
        ("A5", "a.jsonl#1"),
        ("A0", "b/1.jsonl#1"),
        ("A1", "b/1.jsonl#2"),
    ]
    assert source.notes == [
        "not read: LICENSE.txt, README.md, manifest.json, notes.txt, plot.png",
        "2 files: recognised as alpaca by its columns instruction, input, output",
    ]


def test_links_in_a_folder_are_told_and_never_followed(tmp_path):
    folder = tmp_path / "data"
    write(folder / "a.jsonl", alpaca(1))
    write(tmp_path / "outside" / "b.jsonl", alpaca(1))
    (folder / "up").symlink_to(folder)
    (folder / "away").symlink_to(tmp_path / "outside")
    (folder / "same.jsonl").symlink_to(folder / "a.jsonl")
    (folder / "gone.jsonl").symlink_to(folder / "nothing.jsonl")
    source = open_source(str(folder))
    assert len(list(source.rows(Counts()))) == 1
    assert source.notes[:-1] == [
        "away is not read: a link out of the folder",
        "gone.jsonl is not read: a link that leads nowhere or in a circle",
        "same.jsonl is not read: a link to a place in the same folder",
        "up is not read: a link to a place in the same folder",
    ]


def test_a_link_that_is_named_is_read(tmp_path):
    write(tmp_path / "data" / "a.jsonl", alpaca(2))
    (tmp_path / "file.jsonl").symlink_to(tmp_path / "data" / "a.jsonl")
    (tmp_path / "folder").symlink_to(tmp_path / "data")
    for name in ("file.jsonl", "folder"):
        assert len(list(open_source(str(tmp_path / name)).rows(Counts()))) == 2


def test_the_format_chooses_among_the_files_of_a_folder(tmp_path):
    write(tmp_path / "a.jsonl", alpaca(1))
    (tmp_path / "b.csv").write_text("question,answer\na,b\n", encoding="utf-8")
    source = open_source(str(tmp_path), format="csv")
    assert [file.path.name for file in source.files] == ["b.csv"]
    assert source.notes[0] == "not read: a.jsonl"


def test_every_file_is_known_again_by_its_bytes(tmp_path):
    write(tmp_path / "a.jsonl", alpaca(3))
    [file] = open_source(str(tmp_path / "a.jsonl")).files
    content = (tmp_path / "a.jsonl").read_bytes()
    assert (file.path, file.sha256, file.bytes) == (
        tmp_path / "a.jsonl",
        hashlib.sha256(content).hexdigest(),
        len(content),
    )


def test_rows_can_be_read_again_and_again(tmp_path):
    write(tmp_path / "a.jsonl", alpaca(3))
    source, first, second = open_source(str(tmp_path / "a.jsonl")), Counts(), Counts()
    assert list(source.rows(first)) == list(source.rows(second))
    assert first.to_json() == second.to_json() == {"read": {"seen": {"rows": 3, "examples": []}}}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train.jsonl", "validation.jsonl", "test.jsonl"], {"train", "validation", "test"}),
        (["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl", "dev.jsonl"], {"train", "validation"}),
        (["train.jsonl"], {None}),
        (["train.jsonl", "autres.jsonl"], {None}),
        (["trains.jsonl", "tests.jsonl"], {None}),
    ],
)
def test_files_named_after_splits_are_the_splits(tmp_path, names, expected):
    for name in names:
        write(tmp_path / name, alpaca(1))
    rows = list(open_source(str(tmp_path)).rows(Counts()))
    assert {row.get("split") for row in rows} == expected


def test_a_split_column_wins_over_the_name_of_the_file(tmp_path):
    write(tmp_path / "train.jsonl", [{**alpaca(1)[0], "split": "test"}])
    write(tmp_path / "test.jsonl", [{**alpaca(1)[0], "split": 0}])
    assert [row["split"] for row in open_source(str(tmp_path)).rows(Counts())] == ["train", "test"]


def test_what_was_written_for_training_comes_back_as_it_is(tmp_path):
    record = {
        "instruction": "Q",
        "input": "",
        "output": "A",
        "id": "1",
        "group": "g",
        "label": "l",
        "source": "m.csv#3",
    }
    write(tmp_path / "train.jsonl", [record | {"lang": "fr", "split": "train"}])
    [path] = dataset_files("task", str(tmp_path))
    [trained] = read_rows(path).to_dict("records")
    [row] = open_source(str(tmp_path)).rows(Counts())
    assert row == trained | {"source": "train.jsonl#1", "original_source": "m.csv#3"}
    assert list(row)[-1] == "split"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", "".join(json.dumps(row) + "\n" for row in alpaca(7)), 7),
        ("a.csv", "question,answer\n" + "a,b\n" * 5, 5),
        ("a.json", json.dumps(alpaca(7)), None),
        ("a.jsonl", json.dumps(CHAT), None),
        ("a.txt", "a\n\nb\n", None),
    ],
)
def test_the_number_of_rows_is_told_beforehand_where_it_is_known(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert open_source(str(tmp_path / name)).total_hint == expected


@pytest.mark.parametrize("first", ["{", "[", "<"])
def test_a_file_without_a_telling_name_is_known_by_its_first_bytes(tmp_path, first):
    xml = '<Document id="1"><QAPair><Question>Q0</Question><Answer>A0</Answer></QAPair></Document>'
    content = {"{": json.dumps(alpaca(1)[0]), "[": json.dumps(alpaca(1)), "<": xml}[first]
    (tmp_path / "data").write_text("\ufeff" + content, encoding="utf-8")
    [row] = open_source(str(tmp_path / "data")).rows(Counts())
    assert (row["instruction"], row["output"]) == ("Q0", "A0")


@pytest.mark.parametrize("name", ["a.JSONL", "a.Csv"])
def test_the_ending_of_a_name_may_be_in_capitals(tmp_path, name):
    text = "question,answer\nQ,A\n" if "sv" in name else json.dumps(alpaca(1)[0])
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert len(list(open_source(str(tmp_path / name)).rows(Counts()))) == 1


@pytest.mark.parametrize(
    ("format", "columns", "words"),
    [
        ("alpacca", {}, r"FORMAT=alpacca: no such format for this source\. Allowed: auto, alpaca, sharegpt"),
        ("sharegpt", {}, r"a\.jsonl: no sharegpt: the columns are id, messages\. Allowed: conversations"),
        ("messages", {"output": "messages"}, r"COLUMNS output=messages: messages has no such columns to name"),
        ("squad", {}, r"no squad: .* Allowed: paragraphs or answers, context, question"),
    ],
)
def test_a_format_that_does_not_fit_is_an_error(tmp_path, format, columns, words):
    write(tmp_path / "a.jsonl", [CHAT])
    with pytest.raises(AffinageError, match=words):
        open_source(str(tmp_path / "a.jsonl"), format, columns)


def test_a_record_that_lacks_the_answer_is_counted_with_its_place(tmp_path):
    write(tmp_path / "a.jsonl", [*alpaca(2), {"instruction": "Q"}, {"instruction": None, "output": None}])
    counts = Counts()
    assert len(list(open_source(str(tmp_path / "a.jsonl")).rows(counts))) == 2
    assert counts.steps["read"] == {"seen": 4, "dropped: no 'output'": 1, "dropped: blank row": 1}
    [example] = counts.examples["read", "dropped: no 'output'"]
    assert example.endswith("a.jsonl:3")


def test_a_column_that_the_first_records_lack_is_still_read(tmp_path):
    records = [*[{"question": "Q", "answer": "A"}] * 200, {"question": "Q", "answer": "A", "input": "I", "id": "x"}]
    write(tmp_path / "a.jsonl", records)
    last = list(open_source(str(tmp_path / "a.jsonl")).rows(Counts()))[-1]
    assert (last["input"], last["id"]) == ("I", "x")
