"""The figures of a data check against independent counts, its page, and its script."""

import json
import re
import runpy
import unicodedata
from collections import Counter

import pytest

from affinage.curation.checkup import check_dataset
from affinage.curation.checkup_page import render
from affinage.curation.checkup_remarks import SEVERITIES
from affinage.errors import AffinageError
from affinage.paths import ROOT

EMAIL, KEY = "marie.durand@mairie-exemple.fr", "hf_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
SCRIPT = "<script>alert('oui')</script>"
TOPICS = "notaires cadastre hypothèques recensements passeports naissances mariages décès plans moulins".split()


def question(i):
    """Questions that share few sequences of five characters."""
    return f"{TOPICS[i % 10]} {i} ? " + " ".join(f"{i * 7919 % (k + 11)}{TOPICS[(i + k) % 10][::-1]}" for k in range(6))


def clean_rows(n, start=0):
    return [
        {
            "instruction": question(i),
            "input": "",
            "output": f"Réponse numéro {i * 7919} : {question(i + 500)[::-1]}",
            "id": f"r{i}",
            "group": f"g{i // 2}",
            "label": ("état civil", "cadastre")[i % 3 == 0],
            "source": f"mails.txt#{i}",
            "date": f"{2022 + i % 3}-05-01",
        }
        for i in range(start, start + n)
    ]


def write(folder, **splits):
    folder.mkdir(exist_ok=True)
    for name, rows in splits.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def clean(tmp_path):
    return write(tmp_path / "clean", train=clean_rows(60), validation=clean_rows(20, 100), test=clean_rows(30, 200))


@pytest.fixture
def dirty(tmp_path):
    """A dataset with one fault of each kind, all but the leaks in train."""
    train, validation, test = clean_rows(60), clean_rows(20, 100), clean_rows(12, 200)
    train[0]["output"] = " \n"
    train[1]["instruction"] = ""
    train[2]["output"] = train[2]["instruction"]
    train[3]["output"] += "<br>&nbsp;fin"
    train[4]["output"] += "\x07"
    train[5]["output"] += "</s>"
    train[6]["output"] += unicodedata.normalize("NFD", "été")
    train[7] |= {"instruction": train[8]["instruction"].upper() + " ", "output": train[8]["output"]}
    train[10] |= {"instruction": train[11]["instruction"], "output": train[11]["output"] + "."}
    train[12]["output"] += f" Écrivez à {EMAIL}."
    train[13]["output"] += f" Jeton : {KEY}"
    train[14] |= {"instruction": SCRIPT, "label": SCRIPT, "source": f"{SCRIPT}#1"}
    test[0]["instruction"] = train[20]["instruction"]
    test[1]["instruction"] = train[21]["instruction"] + "!"
    test[2]["group"] = train[22]["group"]
    validation[0]["output"] = train[23]["output"]
    return write(tmp_path / "dirty", train=train, validation=validation, test=test)


def numbers(checkup):
    return {check.name: sum(check.rows.values()) for check in checkup.texts}


def test_rows_labels_sources_years_and_groups_equal_an_independent_count(clean):
    checkup = check_dataset("archives", str(clean))
    rows = [
        json.loads(line) | {"split": name}
        for name in ("train", "validation", "test")
        for line in (clean / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert checkup.rows == Counter(row["split"] for row in rows) == {"train": 60, "validation": 20, "test": 30}
    seen = {
        (name, value, split): n
        for name, tally in checkup.tallies.items()
        if name != "language"
        for value, splits in tally.items()
        for split, n in splits.items()
        if n
    }
    expected = Counter(("label", row["label"], row["split"]) for row in rows)
    expected += Counter(("source", "mails.txt", row["split"]) for row in rows)
    expected += Counter(("year", row["date"][:4], row["split"]) for row in rows)
    assert seen == expected
    groups = Counter(row["group"] for row in rows)
    assert (sum(checkup.groups.groups.values()), checkup.groups.largest, checkup.groups.without) == (len(groups), 2, 0)
    assert sum(sum(splits.values()) for splits in checkup.tallies["language"].values()) == len(rows)


def test_clean_data_gives_no_error_and_no_warning(clean):
    checkup = check_dataset("archives", str(clean))
    assert [remark for remark in checkup.remarks if remark.severity != "note"] == []
    assert checkup.leaks == [] and not any(numbers(checkup).values())


def test_each_planted_fault_is_counted_once(dirty):
    checkup = check_dataset("archives", str(dirty))
    assert numbers(checkup) == {
        "no answer": 1,
        "no question": 1,
        "answer repeats the input": 1,
        "HTML left over": 2,  # the script is markup too
        "control characters": 1,
        "special tokens in text": 1,
        "not in Unicode form NFC": 1,
    }
    assert checkup.duplicates.exact == {"train": 1, "validation": 0, "test": 0}
    assert checkup.duplicates.near == {"train": 1, "validation": 0, "test": 0}
    leaks = {(leak.on, leak.kind, leak.first, leak.second): (leak.second_rows, leak.severity) for leak in checkup.leaks}
    assert leaks == {
        ("question", "exact", "train", "test"): (1, "error"),
        ("question", "near", "train", "test"): (1, "warning"),
        ("group", "exact", "train", "test"): (1, "error"),
        ("answer", "exact", "train", "validation"): (1, "error"),
    }
    assert checkup.personal_data.rows["email"]["train"] == checkup.personal_data.rows["key"]["train"] == 1


def test_remarks_come_errors_first_and_each_says_what_to_do(dirty):
    remarks = check_dataset("archives", str(dirty)).remarks
    ranks = [SEVERITIES.index(remark.severity) for remark in remarks]
    assert ranks == sorted(ranks) and set(ranks) == {0, 1, 2}
    assert all(remark.remedy.endswith(".") for remark in remarks)
    page = render(check_dataset("archives", str(dirty)))
    assert all(f'id="{remark.about}"' in page for remark in remarks)
    said = {remark.severity: " ".join(r.text for r in remarks if r.severity == remark.severity) for remark in remarks}
    assert "key in 1 row" in said["error"] and "email in 1 row" in said["warning"]
    assert "The test split has 12 rows" in said["warning"]


def test_one_file_is_split_by_its_column_or_not_at_all(tmp_path):
    rows = clean_rows(30)
    numbered = [row | {"split": (0, 0, 0, 1, 2)[i % 5]} for i, row in enumerate(rows)]
    words = [row | {"split": ("train", "test")[i % 2]} for i, row in enumerate(rows)]
    assert check_dataset("a", str(write(tmp_path / "a", rows=numbered))).rows == {
        "train": 18,
        "validation": 6,
        "test": 6,
    }
    assert check_dataset("a", str(write(tmp_path / "b", rows=words))).rows == {"train": 15, "test": 15}
    whole = check_dataset("a", str(write(tmp_path / "c", rows=rows)))
    assert whole.rows == {"all": 30} and whole.leaks == []
    assert "not split" in whole.remarks[0].text and "The rows are not split" in render(whole)


def test_training_rows_that_are_missing_or_all_without_an_answer_are_an_error(tmp_path):
    silent = [row | {"output": ""} for row in clean_rows(9)]
    first = check_dataset("a", str(write(tmp_path / "a", train=silent, test=clean_rows(25, 50)))).remarks[0]
    assert first.severity == "error" and first.text.startswith("No training row has an answer")
    tests = [row | {"split": "test"} for row in clean_rows(25)]
    first = check_dataset("a", str(write(tmp_path / "b", rows=tests))).remarks[0]
    assert first.severity == "error" and first.text.startswith("No row is in the train split")


def test_data_without_an_answer_column_or_a_row_is_an_error(tmp_path):
    with pytest.raises(AffinageError, match=r"rows\.jsonl: no column 'output', only question, réponse\..*CONFIG="):
        check_dataset("a", str(write(tmp_path / "a", rows=[{"question": "q", "réponse": "r"}])))
    with pytest.raises(AffinageError, match="no row"):
        check_dataset("a", str(write(tmp_path / "b", rows=[])))


@pytest.fixture
def run_script(monkeypatch):
    """The script's main; it moves to the project's root, and the test comes back."""
    monkeypatch.chdir(ROOT)
    main = runpy.run_path(str(ROOT / "tools" / "check_data.py"))["main"]
    return lambda *arguments: main(list(map(str, arguments)))


def test_the_script_exits_with_1_for_errors_only_and_names_page_and_next_command(
    clean, dirty, tmp_path, run_script, capfd
):
    results = ("--results", tmp_path / "results")
    assert run_script("--task", "archives", "--dataset", clean, *results) == 0
    said = capfd.readouterr().out
    assert "0 errors" in said and "Next: make card TASK=archives" in said
    assert run_script("--task", "archives", "--dataset", dirty, *results) == 1
    said = capfd.readouterr().out
    assert re.search(r"error: Rows ask a question of another split: 1 of test \(8\.3%\) in train", said)
    assert str(tmp_path / "results" / "data" / "archives" / "checkup.html") in said and "Next: make data" in said


def test_the_script_names_every_argument_that_cannot_be_used(run_script):
    with pytest.raises(AffinageError) as raised:
        run_script("--task", "../ailleurs", "--near", "1.5")
    assert [problem.where for problem in raised.value.problems] == ["TASK ../ailleurs", "NEAR 1.5"]
