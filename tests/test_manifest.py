"""What the record of a dataset counts, and what it does not say."""

import json

import pytest

from affinage import __version__
from affinage.curation.manifest import Sizes, file_entry, name_of, shortened, steps, write
from affinage.curation.rows import Counts
from affinage.paths import ROOT


def counted():
    counts = Counts()
    counts.add("read", "seen", 10)
    counts.add("read", "dropped: empty answer", 2, example="/home/me/data/mails.csv:3: écrire à lucie@example.org")
    counts.add("lengths", "seen", 8)
    counts.add("lengths", "dropped: over 9 characters", 1, example="q4: lucie@example.org")
    counts.add("personal data", "seen", 7)
    counts.add("personal data", "changed", 3, example="q1 output: l***@***.org")
    counts.add("balance", "seen", 7)
    counts.add("balance", "dropped: too many", 2)
    counts.add("balance", "added: repeated", 5)
    counts.add("model", "changed: relabelled", 1)
    return counts


def test_steps_keep_their_order_and_add_up():
    assert [(step["step"], step["in"], step["out"]) for step in steps(counted())] == [
        ("read", 10, 8),
        ("lengths", 8, 7),
        ("personal data", 7, 7),
        ("balance", 7, 10),
        ("model", None, None),
    ]


def test_private_steps_show_no_text_from_before_personal_data_was_masked():
    read, lengths, personal, *_ = steps(counted(), private=True, folder="/home/me/data")
    assert read["reasons"]["dropped: empty answer"] == {"rows": 2, "examples": ["mails.csv:3"]}
    assert lengths["reasons"]["dropped: over 9 characters"] == {"rows": 1, "examples": []}
    assert personal["reasons"]["changed"]["examples"] == ["q1 output: l***@***.org"]


def test_other_steps_show_their_examples_without_the_folder():
    read, lengths, *_ = steps(counted(), folder="/home/me/data")
    assert read["reasons"]["dropped: empty answer"]["examples"] == ["mails.csv:3: écrire à lucie@example.org"]
    assert lengths["reasons"]["dropped: over 9 characters"]["examples"] == ["q4: lucie@example.org"]


def test_sizes_are_by_split_label_and_file():
    sizes = Sizes()
    rows = [("train", "a", "x.csv#1"), ("train", "b", "x.csv#2"), ("test", "a", "y#z.csv#9"), ("test", "", "plain")]
    for split, label, source in rows:
        sizes.add(split, {"label": label, "source": source})
    assert sizes.to_json() == {
        "rows": {"train": 2, "validation": 0, "test": 2},
        "labels": {
            "a": {"train": 1, "validation": 0, "test": 1},
            "b": {"train": 1, "validation": 0, "test": 0},
            "": {"train": 0, "validation": 0, "test": 1},
        },
        "sources": {
            "x.csv": {"train": 2, "validation": 0, "test": 0},
            "y#z.csv": {"train": 0, "validation": 0, "test": 1},
            "plain": {"train": 0, "validation": 0, "test": 1},
        },
    }


def test_of_very_many_labels_the_largest_are_named():
    sizes = Sizes()
    for number in range(600):
        for _ in range(1 + (number >= 590)):
            sizes.add("train", {"label": f"l{number}", "source": "x.csv#1"})
    labels = sizes.to_json()["labels"]
    assert len(labels) == 501 and labels["l599"]["train"] == 2
    assert labels["(others)"]["train"] == 100 and sum(n["train"] for n in labels.values()) == 610


def test_a_path_is_named_without_its_folder_unless_it_is_the_projects(tmp_path, monkeypatch):
    (tmp_path / "rows.csv").write_text("x")
    monkeypatch.chdir(tmp_path)
    assert name_of(str(tmp_path / "rows.csv")) == name_of("rows.csv") == name_of("./rows.csv") == "rows.csv"
    assert name_of(str(ROOT / "datasets" / "README.md")) == "datasets/README.md"
    assert name_of("") == "" and name_of("hf://user/name") == "hf://user/name"


def test_long_texts_of_leaks_are_cut():
    example = {"first_id": "a", "first_text": "x" * 500, "similarity": 1.0}
    report = {"rows": {"train": 1}, "near_threshold": 0.8, "leaks": [{"first": "train", "examples": [example]}]}
    [leak] = shortened(report)["leaks"]
    assert leak["examples"] == [{"first_id": "a", "first_text": "x" * 199 + "…", "similarity": 1.0}]
    assert len(example["first_text"]) == 500


def test_what_is_written_is_sorted_and_says_version_and_date(tmp_path):
    made = write(tmp_path, {"task": "x", "notes": ["é"]})
    text = (tmp_path / "manifest.json").read_text(encoding="utf-8")
    assert json.loads(text) == made and made["affinage"] == __version__ and made["made"].endswith("+00:00")
    assert list(json.loads(text)) == sorted(made) and "é" in text and text.endswith("}\n")


def test_a_number_that_json_cannot_hold_is_a_bug(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path, {"x": float("nan")})


def test_a_file_is_known_by_name_hash_and_size(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert file_entry(tmp_path / "a.jsonl") == {"name": "a.jsonl", "sha256": digest, "bytes": 3}
