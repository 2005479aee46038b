"""What a build does with splits that are given, leaks, personal data, errors and datasets that are there already."""

import json

import pytest

from affinage.curation.build import build
from affinage.curation.options import read_options
from affinage.data import SPLITS, dataset_files, load_splits
from affinage.errors import AffinageError

WORDS = "abaque bélier cadran dévers émail fermail gabelle hallier instance jachère".split()


def rows_of(n=40, start=0):
    """Rows that are nothing like one another."""
    return [
        {
            "instruction": f"Définis {WORDS[i % 10]} {chr(97 + i // 10) * 7}.",
            "output": " ".join(chr(97 + (i * 7 + k * (i + 3)) % 26) * (3 + (i * k) % 5) for k in range(8)),
            "id": f"q{i}",
        }
        for i in range(start, start + n)
    ]


def split_by(rows, *counts):
    """The rows with a split each, the first of them train, the next validation, the rest test."""
    names = [name for name, n in zip(SPLITS, counts, strict=True) for _ in range(n)]
    return [row | {"split": name} for row, name in zip(rows, names, strict=True)]


@pytest.fixture
def make(tmp_path):
    """Builds tmp_path/datasets/task from rows; returns the manifest."""

    def made(rows, **typed):
        source = tmp_path / "rows.jsonl"
        source.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return build(read_options({"source": str(source), "task": "task", **typed}), tmp_path / "datasets").manifest

    return made


def ids(tmp_path):
    files = dataset_files("task", str(tmp_path / "datasets" / "task"))
    return {name: rows["id"].tolist() for name, rows in load_splits(files, None, 42).items()}


def texts(tmp_path):
    """Every file of the dataset, manifest included, as one text."""
    return "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "datasets" / "task").iterdir())


@pytest.mark.parametrize("typed", [{}, {"split": "given"}])
def test_splits_that_the_source_names_are_kept(make, tmp_path, typed):
    manifest = make(split_by(rows_of(), 10, 5, 25), **typed)
    assert ids(tmp_path) == {
        "train": [f"q{i}" for i in range(10)],
        "validation": [f"q{i}" for i in range(10, 15)],
        "test": [f"q{i}" for i in range(15, 40)],
    }
    assert "40 rows keep the split that the source names" in manifest["notes"]


def test_rows_without_a_split_are_split_among_themselves(make):
    rows = split_by(rows_of(20), 10, 0, 10) + rows_of(20, start=20)
    manifest = make(rows)
    assert manifest["sizes"]["rows"] == {"train": 10 + 16, "validation": 2, "test": 10 + 2}
    assert "20 rows keep the split that the source names; the other 20 are split" in manifest["notes"]


def test_parts_that_are_asked_for_win_over_the_splits_of_the_source_and_that_is_said(make):
    manifest = make(split_by(rows_of(), 10, 5, 25), split="0.5/0.25/0.25")
    assert manifest["sizes"]["rows"] == {"train": 20, "validation": 10, "test": 10}
    assert "the splits that the source names for 40 rows are not kept" in manifest["notes"]


def test_a_source_that_is_all_train_is_split_anew_and_that_is_said(make):
    manifest = make(split_by(rows_of(), 40, 0, 0))
    assert manifest["sizes"]["rows"] == {"train": 32, "validation": 4, "test": 4}
    assert "all of the source is train, so it was split anew" in manifest["notes"]


def test_test_rows_that_the_source_names_stay_in_the_test_split(make, tmp_path):
    make(split_by(rows_of(10), 0, 0, 10) + rows_of(30, start=10))
    assert {f"q{i}" for i in range(10)} < set(ids(tmp_path)["test"])


def test_given_needs_a_split_in_every_row(make, tmp_path):
    with pytest.raises(AffinageError, match="--split given: 5 rows name no split"):
        make(split_by(rows_of(35), 20, 5, 10) + rows_of(5, start=35), split="given")
    assert not (tmp_path / "datasets" / "task").exists()


def test_words_that_name_no_split_are_an_error_unless_parts_are_given(make):
    rows = [row | {"split": "dernière" if i % 2 else "train"} for i, row in enumerate(rows_of())]
    with pytest.raises(AffinageError, match=r"'split': holds 'dernière' in 20 rows.*train, validation, test.*--split"):
        make(rows)
    assert make(rows, split="0.8/0.1/0.1")["sizes"]["rows"]["train"] == 32


def leaking():
    """20 rows of train, 10 of validation, 10 of test; q0 asks what q30 asks, q1 nearly what q31 asks, q21 what q32."""
    rows = split_by(rows_of(), 20, 10, 10)
    rows[0]["instruction"] = rows[30]["instruction"].upper()
    asked = "Où sont gardés aujourd'hui les registres des délibérations de la ville de Lyon pour l'année {} ?"
    rows[1]["instruction"], rows[31]["instruction"] = asked.format(1792), asked.format(1793)
    rows[21]["instruction"] = rows[32]["instruction"]
    return rows


def test_leaks_are_dropped_from_the_split_farther_from_the_test(make, tmp_path):
    manifest = make(leaking())
    kept = ids(tmp_path)
    assert "q0" not in kept["train"] and "q1" in kept["train"] and len(kept["train"]) == 19
    assert "q21" not in kept["validation"] and len(kept["validation"]) == 9
    assert len(kept["test"]) == 10
    assert manifest["sizes"]["rows"] == {"train": 19, "validation": 9, "test": 10}


def test_with_near_duplicates_dropped_near_leaks_go_as_well(make, tmp_path):
    make(leaking(), near="0.8")
    assert not {"q0", "q1"} & set(ids(tmp_path)["train"])


def test_a_leak_can_be_an_error(make, tmp_path):
    with pytest.raises(AffinageError, match=r"train and test.*drop_from_train"):
        make(leaking(), on_leak="error")
    assert not (tmp_path / "datasets" / "task").exists()


def test_a_leak_can_be_only_a_warning(make, tmp_path):
    manifest = make(leaking(), on_leak="warn")
    assert sum(map(len, ids(tmp_path).values())) == 40
    assert {(leak["first"], leak["second"], leak["kind"]) for leak in manifest["leaks"]["leaks"]} == {
        ("train", "test", "exact"),
        ("validation", "test", "exact"),
        ("train", "test", "near"),
    }


def test_near_leaks_are_not_looked_for_when_off(make):
    manifest = make(leaking(), near_leaks="off")
    assert manifest["leaks"]["near_threshold"] is None
    assert {leak["kind"] for leak in manifest["leaks"]["leaks"]} == {"exact"}


def test_split_by_row_a_group_in_two_splits_is_no_leak(make):
    rows = [row | {"group": f"g{i // 20}"} for i, row in enumerate(rows_of())]
    manifest = make(rows, by="row")
    assert manifest["sizes"]["rows"] == {"train": 32, "validation": 4, "test": 4}
    assert manifest["leaks"]["leaks"] == []


def test_a_validation_split_that_is_all_leaks_leaves_no_file_but_a_warning(make, tmp_path):
    rows = split_by(rows_of(), 20, 1, 19)
    rows[20]["instruction"] = rows[21]["instruction"]
    manifest = make(rows)
    assert list(ids(tmp_path)) == ["train", "test"]
    assert any("All rows of validation" in warning for warning in manifest["warnings"])


def test_when_no_training_row_is_left_that_is_an_error(make, tmp_path):
    rows = split_by(rows_of(), 1, 0, 39)
    rows[0]["instruction"] = rows[1]["instruction"]
    with pytest.raises(AffinageError, match="train: no row is left"):
        make(rows)
    assert not (tmp_path / "datasets" / "task").exists()


def with_personal_data():
    rows = rows_of()
    rows[3]["output"] += " Écrivez à lucie.exemple@example.org, ou au 01 99 00 12 34."
    rows[4]["instruction"] += " De : lucie.exemple@example.org"
    rows[5] |= {"instruction": rows[3]["instruction"], "output": rows[3]["output"]}  # a duplicate, shown as example
    rows[6] |= {"instruction": "Rendre <b>lucie.exemple@example.org</b>", "output": "lucie.exemple@example.org"}
    return rows


def test_masked_personal_data_is_in_no_file_of_the_dataset(make, tmp_path):
    manifest = make(with_personal_data(), pii="mask")
    assert "lucie" not in texts(tmp_path)
    assert texts(tmp_path).count("<EMAIL_1>") == 4
    [step] = [step for step in manifest["steps"] if step["step"] == "exact duplicates"]
    assert step["reasons"]["dropped: exact duplicate"]["rows"] == 1


@pytest.mark.parametrize(("mode", "rows"), [("report", 39), ("drop", 36)])
def test_rows_with_personal_data_are_reported_or_dropped(make, tmp_path, mode, rows):
    make(with_personal_data(), pii=mode)
    assert sum(map(len, ids(tmp_path).values())) == rows
    assert ("lucie" in texts(tmp_path)) is (mode == "report")


def test_personal_data_can_be_an_error_that_leaves_nothing(make, tmp_path):
    with pytest.raises(AffinageError, match="email"):
        make(with_personal_data(), pii="error")
    assert list((tmp_path / "datasets").iterdir()) == []


def test_a_source_that_breaks_in_the_middle_leaves_nothing(make, tmp_path):
    rows = rows_of(3000)
    with pytest.raises(AffinageError, match=r"broken\.jsonl:3001"):
        source = tmp_path / "broken.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"instruction": "x", "outp\n')
        build(read_options({"source": str(source), "task": "task"}), tmp_path / "datasets")
    assert list((tmp_path / "datasets").iterdir()) == []


def test_when_cleaning_leaves_no_row_the_reasons_are_told(make, tmp_path):
    with pytest.raises(AffinageError, match=r"no row is left: 40 in the step 'lengths' \(dropped: over 3 characters\)"):
        make(rows_of(), max_chars="3")
    assert list((tmp_path / "datasets").iterdir()) == []


def test_a_dataset_that_is_there_is_refused_and_with_replace_stays_until_the_new_one_is_whole(make, tmp_path):
    make(rows_of())
    before = texts(tmp_path)
    with pytest.raises(AffinageError, match=r"holds data already.*--replace"):
        make(rows_of(30))
    with pytest.raises(AffinageError, match="no row is left"):
        make(rows_of(30), max_chars="3", replace=True)
    assert texts(tmp_path) == before
    (tmp_path / "datasets" / "task" / "README.md").write_text("card")
    make(rows_of(30), replace=True)
    assert sum(map(len, ids(tmp_path).values())) == 30
    assert (tmp_path / "datasets" / "task" / "README.md").read_text() == "card"


def test_raw_data_in_the_folder_of_the_dataset_may_be_the_source(tmp_path):
    folder = tmp_path / "datasets" / "task"
    folder.mkdir(parents=True)
    (folder / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of()))
    build(read_options({"source": str(folder / "raw.jsonl"), "task": "task"}), tmp_path / "datasets")
    assert sum(map(len, ids(tmp_path).values())) == 40
    assert (folder / "raw.jsonl").exists()
