"""A dataset made from a source: what is in it, what is not, and that its manifest tells all of it."""

import hashlib
import json
import random
from itertools import pairwise

import pytest

from affinage.curation.build import build, with_unique_ids
from affinage.curation.options import read_options
from affinage.curation.rows import Counts
from affinage.curation.splitting import sample
from affinage.data import SPLITS, dataset_files, load_splits
from affinage.errors import AffinageError
from affinage.paths import MODELS

PLACES = "Lyon Dijon Brest Nantes Rouen Arras Nancy Tours Reims Metz".split()


def archive_rows(n=120):
    """Questions of readers, in groups of 1 to 4, with three labels of different sizes; no two texts are alike."""
    draw, rows = random.Random(0), []
    while len(rows) < n:
        group = f"lettre {len(rows)}"
        for _ in range(draw.randint(1, 4)):
            label = draw.choices(["cadastre", "notaires", "horaires"], [6, 3, 1])[0]
            words = " ".join("".join(draw.choices("abcdefghilmnoprstuv", k=draw.randint(3, 9))) for _ in range(9))
            row = {"instruction": f"Où trouver {words} ?", "input": "", "output": f"À {draw.choice(PLACES)}, {words}."}
            rows.append(row | {"id": f"q{len(rows)}", "group": group, "label": label})
    return rows[:n]


@pytest.fixture
def make(tmp_path):
    """Builds tmp_path/datasets/archives from rows; returns the manifest."""

    def made(rows, **typed):
        source = tmp_path / "rows.jsonl"
        source.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        typed = {"source": str(source), "task": "archives", **typed}
        return build(read_options(typed), tmp_path / "datasets").manifest

    return made


def read(tmp_path, name="archives"):
    """The splits as training reads them."""
    files = dataset_files(name, str(tmp_path / "datasets" / name))
    return {split: rows.to_dict("records") for split, rows in load_splits(files, None, 42).items()}


def test_training_reads_every_row_as_it_was_given(make, tmp_path):
    rows = archive_rows()
    make(rows)
    splits = read(tmp_path)
    assert list(splits) == list(SPLITS)
    found = {row["id"]: row for name in splits for row in splits[name]}
    for row in rows:
        expected = row | {"source": f"rows.jsonl#{rows.index(row) + 1}", "split": found[row["id"]]["split"]}
        assert found[row["id"]] == expected
    assert all(row["split"] == name for name in splits for row in splits[name])
    assert list(found["q0"]) == ["instruction", "input", "output", "id", "group", "label", "source", "split"]


def test_no_group_is_in_two_splits_and_rows_keep_their_order(make, tmp_path):
    rows = archive_rows()
    make(rows, stratify="label")
    splits = read(tmp_path)
    groups = [{row["group"] for row in splits[name]} for name in SPLITS]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    places = {row["id"]: place for place, row in enumerate(rows)}
    assert all(places[a["id"]] < places[b["id"]] for s in splits.values() for a, b in pairwise(s))


def bytes_of(folder):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    manifest = json.loads(files.pop("manifest.json"))
    del manifest["made"]
    return files, manifest


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(make, tmp_path):
    options = {"stratify": "label", "sample": "100", "balance": "upsample", "near": "0.9", "pii": "mask"}
    make(archive_rows(), **options)
    first = bytes_of(tmp_path / "datasets" / "archives")
    make(archive_rows(), **options, replace=True)
    assert bytes_of(tmp_path / "datasets" / "archives") == first
    make(archive_rows(), **options, replace=True, seed="7")
    assert bytes_of(tmp_path / "datasets" / "archives")[0] != first[0]


def test_every_step_adds_up_and_hands_its_rows_to_the_next(make):
    rows = archive_rows()
    rows += [rows[0] | {"id": "again"}, rows[1] | {"output": " "}, {"output": [1]}, rows[2] | {"output": "<br>&nbsp;"}]
    manifest = make(rows, sample="110", balance="upsample", near="0.9")
    at = manifest["steps"][0]["in"]
    assert at == 124
    for step in manifest["steps"]:
        counted = {
            kind: sum(n["rows"] for why, n in step["reasons"].items() if why.startswith(kind))
            for kind in ("dropped:", "added:")
        }
        assert step["in"] == at, step
        assert step["out"] == step["in"] - counted["dropped:"] + counted["added:"], step
        at = step["out"]
    assert at == sum(manifest["sizes"]["rows"].values())
    names = [step["step"] for step in manifest["steps"]]
    assert (
        names.index("exact duplicates") < names.index("personal data") < names.index("sample") < names.index("balance")
    )


def test_the_manifest_says_what_was_read_and_what_was_written(make, tmp_path):
    rows = archive_rows()
    manifest = make(rows, split="0.6/0.2/0.2", by="row")
    folder = tmp_path / "datasets" / "archives"
    assert json.loads((folder / "manifest.json").read_text(encoding="utf-8")) == json.loads(json.dumps(manifest))
    assert {file["name"]: file["sha256"] for file in manifest["files"]} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jsonl")
    }
    content = (tmp_path / "rows.jsonl").read_bytes()
    entry = {"name": "rows.jsonl", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    assert manifest["source"] == {"name": "rows.jsonl", "format": "alpaca", "files": [entry]}
    assert manifest["sizes"]["rows"] == manifest["split"]["asked"] == {"train": 72, "validation": 24, "test": 24}
    splits = read(tmp_path)
    for label, by_split in manifest["sizes"]["labels"].items():
        assert by_split == {name: sum(row["label"] == label for row in splits[name]) for name in SPLITS}
    assert manifest["sizes"]["sources"]["rows.jsonl"] == manifest["sizes"]["rows"]
    assert manifest["command"] == ["tools/prepare_data.py", "--source", "rows.jsonl", "--task", "archives",
                                   "--split", "0.6/0.2/0.2", "--by", "row"]  # fmt: skip


def test_the_manifest_names_no_folder_of_the_machine(make, tmp_path):
    rows = [*archive_rows(), {"instruction": "x", "output": [1]}]
    make(rows, tokenizer=str(MODELS / "petit-llama"))
    text = (tmp_path / "datasets" / "archives" / "manifest.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text and str(MODELS) not in text
    assert "rows.jsonl:121" in text and '"tokenizer": "models/petit-llama"' in text


def test_special_tokens_of_the_tokenizer_are_found_in_texts(make, tmp_path):
    rows = archive_rows()
    rows[3]["output"] += " </s>"
    manifest = make(rows, tokenizer=str(MODELS / "petit-llama"), special_tokens="strip")
    [step] = [step for step in manifest["steps"] if step["step"] == "special tokens"]
    assert step["reasons"]["changed"]["rows"] == 1
    assert {"<s>", "</s>", "<pad>"} <= set(manifest["options"]["rules"]["special_tokens"])
    assert "</s>" not in "".join(row["output"] for rows in read(tmp_path).values() for row in rows)


def test_a_tokenizer_that_is_none_is_an_error(make, tmp_path):
    with pytest.raises(AffinageError, match="--tokenizer: 'nowhere/none' cannot be loaded"):
        make(archive_rows(), tokenizer="nowhere/none")
    assert not (tmp_path / "datasets").exists()


def test_ids_that_are_absent_or_in_use_are_made_unique_and_counted(make, tmp_path):
    rows = archive_rows(40)
    for row in rows[10:14]:
        row["id"] = "twice"
    del rows[20]["id"], rows[20]["group"]
    manifest = make(rows)
    ids = [row["id"] for split in read(tmp_path).values() for row in split]
    assert len(set(ids)) == len(ids) == 40
    assert {"twice", "twice~2", "twice~3", "twice~4", "rows.jsonl#21"} <= set(ids)
    [step] = [step for step in manifest["steps"] if step["step"] == "ids"]
    assert step["reasons"]["changed: id in use already"]["rows"] == 3


def test_rows_without_id_or_group_get_one_that_meets_no_other():
    counts, used = Counts(), set()
    made = list(with_unique_ids([{"id": "row-2"}, {"group": "g"}, {"id": "", "group": ""}], used, counts))
    assert [(row["id"], row["group"]) for row in made] == [("row-2", "row-2"), ("row-2~2", "g"), ("row-3", "row-3")]
    assert used == {"row-2", "row-2~2", "row-3"}
    assert counts.steps["ids"] == {"seen": 3, "changed: no id": 2, "changed: id in use already": 1}


def test_labels_keep_their_shares_when_asked(make):
    labels = make(archive_rows(600), stratify="label", by="row")["sizes"]["labels"]
    for sizes in labels.values():
        assert sizes["validation"] == pytest.approx(0.1 * sum(sizes.values()), abs=1)
        assert sizes["test"] == pytest.approx(0.1 * sum(sizes.values()), abs=1)


def test_a_sample_is_drawn_before_the_split_and_keeps_what_the_rows_say(make, tmp_path):
    rows = [row | {"split": "train" if place % 2 else "test"} for place, row in enumerate(archive_rows())]
    manifest = make(rows, sample="50", by="row", split="0.8/0.1/0.1")
    assert manifest["sizes"]["rows"] == {"train": 40, "validation": 5, "test": 5}
    drawn = sample(120, 50, 42).tolist()
    kept = [row["id"] for split in read(tmp_path).values() for row in split]
    assert sorted(kept) == sorted(rows[place]["id"] for place in drawn)
    make([row | {"group": row["id"]} for row in rows], sample="50", replace=True)
    tests = [row["id"] for row in read(tmp_path)["test"]]
    assert tests == [rows[place]["id"] for place in drawn if place % 2 == 0]
    [step] = [step for step in manifest["steps"] if step["step"] == "sample"]
    assert (step["in"], step["out"]) == (120, 50)


def test_balancing_changes_the_training_rows_only(make, tmp_path):
    make(archive_rows(), stratify="label")
    before = read(tmp_path)
    manifest = make(archive_rows(), stratify="label", balance="upsample", replace=True)
    after = read(tmp_path)
    assert after["validation"] == before["validation"] and after["test"] == before["test"]
    sizes = {name: n["train"] for name, n in manifest["sizes"]["labels"].items()}
    assert len(set(sizes.values())) == 1
    assert manifest["balance"] == {
        name: (sum(row["label"] == name for row in before["train"]), n) for name, n in sorted(sizes.items())
    }
    ids = [row["id"] for split in after.values() for row in split]
    assert len(set(ids)) == len(ids)
    assert "".join(ids).count("~2") > 0
