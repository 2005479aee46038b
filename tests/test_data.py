"""Rows from files of every kind, and splits, against Ludwig's own preprocessing."""

import hashlib
import json

import pandas as pd
import pytest
from ludwig.schema.model_types.base import ModelConfig

from affinage.data import (
    READERS,
    check_columns,
    dataset_files,
    drop_rows_without_answer,
    load_splits,
    read_rows,
    sha256,
    split_rows,
)
from affinage.errors import AffinageError

FORMATS = list(READERS)
ROWS = [
    {"instruction": "mets au passif", "input": "Le chat mange la souris.", "output": "« La souris »"},
    {"instruction": 'dit "oui", puis\nnon', "input": "", "output": "à\tb ; c"},
    {"instruction": "NA", "input": "null", "output": "nan"},
    {"instruction": "None", "input": " espaces ", "output": "2024-01-31"},
]


def write(path, rows):
    """The rows as another program would write them; an absent value is the empty cell of the format."""
    frame = pd.DataFrame(rows)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path, suffix):
    assert read_rows(write(tmp_path / f"rows{suffix}", ROWS)).to_dict("records") == ROWS


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_empty_cell_is_an_empty_text(tmp_path, suffix):
    rows = [{"input": "a", "note": None, "output": "b"}, {"input": None, "note": None, "output": "c"}]
    read = read_rows(write(tmp_path / f"rows{suffix}", rows))
    assert read.to_dict("records") == [{k: v or "" for k, v in row.items()} for row in rows]


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_empty_cell_among_numbers_is_an_empty_text(tmp_path, suffix):
    # fault: a null among numbers makes them floats, and the prompt then says "1990.0" and "nan"
    rows = [{"year": 1990, "output": "a"}, {"year": None, "output": "b"}]
    if suffix == ".parquet":
        path = tmp_path / "rows.parquet"
        pd.DataFrame(rows).astype({"year": "Int64"}).to_parquet(path)
    else:
        path = write(tmp_path / f"rows{suffix}", rows)
    if suffix in (".csv", ".tsv"):
        path.write_text(path.read_text().replace("1990.0", "1990"))
    assert [str(cell) for cell in read_rows(path)["year"]] == ["1990", ""]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("text", ["007", "1.50", "true", "1e5", "12345678901234567890"])
def test_text_that_looks_like_something_else_stays_as_written(tmp_path, suffix, text):
    # fault: from CSV, "007" comes back as 7, "1.50" as 1.5 and "true" as True
    read = read_rows(write(tmp_path / f"rows{suffix}", [{"input": "a", "output": text}] * 2))
    assert [str(cell) for cell in read["output"]] == [text] * 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n'),
        ("a.json", b"{"),
        ("a.csv", b"a,b\n1,2,3,4\n1,2,3,4,5,6\n"),
        ("a.csv", b"a,a\n1,2\n"),
        ("a.parquet", b"PAR?"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AffinageError, match=rf"{name}: cannot be read as {name[2:]}: "):
        read_rows(tmp_path / name)


def folder_with(tmp_path, *names):
    for name in names:
        write(tmp_path / name, ROWS)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["rows.csv"], ["rows.csv"]),
        (["test.jsonl", "train.jsonl", "validation.jsonl"], ["train.jsonl", "validation.jsonl", "test.jsonl"]),
        (["train.jsonl", "test.csv"], ["train.jsonl", "test.csv"]),
        (["train.jsonl"], ["train.jsonl"]),
        (["train.jsonl", "notes.csv"], ["train.jsonl"]),
    ],
)
def test_a_folder_gives_its_splits_in_order_or_its_one_file(tmp_path, names, expected):
    (tmp_path / "README.md").write_text("card")
    assert [path.name for path in dataset_files("task", folder_with(tmp_path, *names))] == expected


def test_a_file_is_taken_as_it_is_named(tmp_path):
    folder_with(tmp_path, "train.jsonl", "autre.csv")
    assert dataset_files("task", str(tmp_path / "autre.csv")) == [tmp_path / "autre.csv"]


def test_without_a_dataset_the_task_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("affinage.data.DATASETS", tmp_path)
    (tmp_path / "voix-passive").mkdir()
    write(tmp_path / "voix-passive" / "rows.jsonl", ROWS)
    assert dataset_files("voix-passive") == [tmp_path / "voix-passive" / "rows.jsonl"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "0 data files, none called train"),
        (["a.csv", "b.csv"], "2 data files, none called train"),
        (["validation.csv", "test.csv"], "2 data files, none called train"),
    ],
)
def test_a_folder_that_leaves_a_choice_is_an_error(tmp_path, names, words):
    with pytest.raises(AffinageError, match=f"{words}.*{', '.join(FORMATS)}.*DATASET="):
        dataset_files("task", folder_with(tmp_path, *names))


def test_a_split_in_two_formats_is_an_error(tmp_path):
    # fault: train.csv and train.jsonl both count as the train split, and one of them is lost without a word
    with pytest.raises(AffinageError, match="train"):
        dataset_files("task", folder_with(tmp_path, "train.csv", "train.jsonl", "test.jsonl"))


def test_a_place_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(AffinageError, match=r"nowhere: no such file or folder\."):
        dataset_files("task", str(tmp_path / "nowhere"))


def test_a_file_of_another_kind_is_an_error_that_lists_the_kinds(tmp_path):
    (tmp_path / "rows.xlsx").write_bytes(b"x")
    with pytest.raises(AffinageError, match=r"cannot read '\.xlsx'.*\.jsonl, \.json, \.csv, \.tsv, \.parquet"):
        dataset_files("task", str(tmp_path / "rows.xlsx"))


@pytest.mark.parametrize("names", [("train", "test"), ("train", "validation", "test")])
def test_split_files_are_the_splits(tmp_path, names):
    expected = {name: ROWS[i : i + 2] for i, name in enumerate(names)}
    for name, rows in expected.items():
        write(tmp_path / f"{name}.jsonl", rows)
    splits = load_splits(dataset_files("task", str(tmp_path)), config=None, seed=42)
    assert {name: rows.to_dict("records") for name, rows in splits.items()} == expected


SPLITS = {
    "random": {"type": "random", "probabilities": [0.6, 0.2, 0.2]},
    "random without test": {"type": "random", "probabilities": [0.8, 0.2, 0.0]},
    "fixed": {"type": "fixed", "column": "split"},
    "hash": {"type": "hash", "column": "input", "probabilities": [0.5, 0.25, 0.25]},
}


def numbered(sentences, n=40):
    """Rows that can be told apart by their answer."""
    rows = sentences(n)
    return rows.assign(output=[f"answer {i}" for i in range(n)], split=[(0, 0, 1, 0, 2)[i % 5] for i in range(n)])


@pytest.mark.parametrize(("kind", "seed"), [*((kind, 42) for kind in SPLITS), ("random", 7)])
def test_a_split_is_the_one_ludwig_makes_in_its_own_preprocessing(affinage, llm_config, sentences, kind, seed):
    from ludwig.api import LudwigModel

    config, rows = llm_config(preprocessing={"split": SPLITS[kind]}), numbered(sentences)
    ludwig = LudwigModel(config, backend="local")
    made = ludwig.preprocess(dataset=rows.copy(), skip_save_processed_input=True, random_seed=seed)
    whole = ludwig.preprocess(training_set=rows.copy(), skip_save_processed_input=True)
    splits = split_rows(rows.copy(), ModelConfig.from_dict(config), seed)
    answers = {"train": made.training_set, "validation": made.validation_set, "test": made.test_set}
    text_of = {
        tuple(i for i in ids if i != 2): text
        for ids, text in zip(answer_ids(whole.training_set), rows["output"], strict=True)
    }
    expected = {
        name: [text_of[tuple(i for i in ids if i != 2)] for ids in answer_ids(part)]
        for name, part in answers.items()
        if part is not None and len(answer_ids(part))
    }
    assert {name: part["output"].tolist() for name, part in splits.items()} == expected
    assert sum(map(len, expected.values())) == len(rows)


def answer_ids(dataset):
    """The padded ids of every answer (pad is 2)."""
    [column] = [name for name in dataset.dataset if name.startswith("output")]
    return [list(ids) for ids in dataset.dataset[column]]


def test_a_split_column_that_is_missing_is_an_error_with_the_columns(affinage, llm_config, sentences):
    config = ModelConfig.from_dict(llm_config(preprocessing={"split": {"type": "fixed", "column": "part"}}))
    with pytest.raises(AffinageError, match=r"'part' is no column.*instruction, input, output"):
        split_rows(sentences(4), config, 42)


@pytest.mark.parametrize("values", [["train", "test"], [0, 3], ["", 0]])
def test_split_values_that_name_no_split_are_an_error(affinage, llm_config, sentences, values):
    # fault: words end in a ValueError with its traceback, and rows marked 3 are lost without a word
    config = ModelConfig.from_dict(llm_config(preprocessing={"split": {"type": "fixed", "column": "split"}}))
    with pytest.raises(AffinageError, match="split"):
        split_rows(sentences(4).assign(split=values * 2), config, 42)


@pytest.mark.parametrize("empty", ["", "  \n\t", None, float("nan")])
def test_rows_without_an_answer_are_dropped_and_counted(empty):
    # fault: None and NaN, which ludwig:// data sets hold, stay as the answers "None" and "nan"
    splits = {
        "train": pd.DataFrame({"input": ["a", "b", "c"], "output": ["x", empty, "z"]}),
        "test": pd.DataFrame({"input": ["d"], "output": ["0"]}),
    }
    assert drop_rows_without_answer(splits, "output") == {"train": 1, "test": 0}
    assert splits["train"].to_dict("list") == {"input": ["a", "c"], "output": ["x", "z"]}
    assert splits["train"].index.tolist() == [0, 1]
    assert len(splits["test"]) == 1


def test_every_missing_column_of_every_split_is_named():
    splits = {"train": pd.DataFrame({"a": [1], "c": [1]}), "test": pd.DataFrame({"b": [1]})}
    with pytest.raises(AffinageError) as raised:
        check_columns(splits, ["a", "b", "c"])
    assert [str(problem) for problem in raised.value.problems] == [
        "the train split: no column 'b'. Allowed: a, c.",
        "the test split: no column 'a'. Allowed: b.",
        "the test split: no column 'c'. Allowed: b.",
    ]
    assert check_columns(splits, []) is None


def test_sha256_is_that_of_the_bytes(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
