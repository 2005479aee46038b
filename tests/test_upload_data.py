"""Datasets on the Hub: with their card and manifest, private, and without anybody's personal data."""

import json
import runpy
from pathlib import Path

import pytest
from huggingface_hub import hf_hub_download

from affinage.data import read_rows
from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.publishing import dataset

HubServer = runpy.run_path(str(Path(__file__).with_name("hub_server.py")))["HubServer"]
REPO, KEY = "jeanne/copie", ("dataset", "jeanne/copie")
CARD = "---\nlicense: cc0-1.0\nconfigs:\n- config_name: default\n  data_files: train.jsonl\n---\n\n# Copie\n"
ROWS = [{"instruction": "copie", "input": f"le chat {i}", "output": f"LE CHAT {i}"} for i in range(9)]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "home")
        monkeypatch.chdir(ROOT)
        yield server


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """datasets/copie/ in a folder of the test's own."""
    monkeypatch.setattr(dataset, "DATASETS", tmp_path / "datasets")
    monkeypatch.setattr("affinage.data.DATASETS", tmp_path / "datasets")
    place = tmp_path / "datasets" / "copie"
    place.mkdir(parents=True)
    (place / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (place / "README.md").write_text(CARD)
    steps = [{"step": "personal data", "in": 9, "out": 9, "reasons": {}}]
    manifest = {"affinage": "0.1.0", "steps": steps, "command": ["make", str(place / "raw.csv")]}
    (place / "manifest.json").write_text(json.dumps(manifest))
    return place


def upload(tmp_path, *more):
    script = runpy.run_path(str(ROOT / "tools" / "upload_data.py"))["main"]
    script(["--task", "copie", "--repo", REPO, "--results", str(tmp_path / "results"), *more])


def error_of(tmp_path, *more):
    with pytest.raises(AffinageError) as caught:
        upload(tmp_path, *more)
    return str(caught.value)


def test_rows_card_and_manifest_are_published_in_a_private_dataset_repository(hub, folder, tmp_path, capsys):
    upload(tmp_path, "--tag", "v1")
    repo = hub.repos[KEY]
    assert repo.private and len(repo.titles) == 2 and repo.tags == {"v1": repo.branches["main"]}
    published = repo.files()
    assert sorted(published) == [".gitattributes", "README.md", "manifest.json", "train.jsonl"]
    assert published["train.jsonl"] == (folder / "train.jsonl").read_bytes()
    assert json.loads(published["manifest.json"])["command"] == ["make", "raw.csv"]
    assert str(tmp_path).encode() not in hub.sent()
    assert f"{hub.url}/datasets/{REPO}" in capsys.readouterr().out
    upload(tmp_path, "--tag", "v1")
    assert "nothing to do" in capsys.readouterr().out and len(repo.titles) == 2


def test_the_rows_that_are_loaded_back_from_the_hub_are_the_same(hub, folder, tmp_path):
    upload(tmp_path)
    path = hf_hub_download(REPO, "train.jsonl", repo_type="dataset")
    assert str(tmp_path / "home") in path
    assert read_rows(Path(path)).to_dict("records") == ROWS


def test_a_plan_of_a_dataset_sends_nothing(hub, folder, tmp_path, capsys):
    upload(tmp_path, "--plan")
    assert "3 new" in (shown := capsys.readouterr().out) and f"make upload-data TASK=copie REPO={REPO}" in shown
    assert hub.repos == {}


def flagged(folder):
    reasons = {"found: phone": {"rows": 3, "examples": []}}
    steps = [{"step": "personal data", "in": 9, "out": 9, "reasons": reasons}]
    (folder / "manifest.json").write_text(json.dumps({"affinage": "0.1.0", "steps": steps}))


def with_row(folder, **row):
    with (folder / "train.jsonl").open("a") as file:
        file.write(json.dumps(ROWS[0] | row) + "\n")


DAMAGE = {
    "no card": (lambda folder: (folder / "README.md").unlink(), "published with its card. Write it with make card"),
    "no licence": (
        lambda folder: (folder / "README.md").write_text(CARD.replace("license: cc0-1.0\n", "")),
        "README.md: names no licence",
    ),
    "a card of other files": (
        lambda folder: (folder / "README.md").write_text(CARD.replace("train.jsonl", "rows.jsonl")),
        "names files that are not there: rows.jsonl",
    ),
    "a card that is no YAML": (
        lambda folder: (folder / "README.md").write_text("---\nlicense: [\n---\n"),
        "its metadata cannot be read",
    ),
    "a placeholder": (
        lambda folder: (folder / "README.md").write_text(CARD + "[More Information Needed]\n"),
        "has places that nobody filled in",
    ),
    "an address in a row": (
        lambda folder: with_row(folder, output="jeanne.dupont@" + "example.org"),
        "1 row with email",
    ),
    "a key in a row": (lambda folder: with_row(folder, output="hf_" + "a1B2" * 9), "1 row with key"),
    "a flag in the manifest": (flagged, "personal data was found and left in: phone (3)"),
    "no rows": (lambda folder: (folder / "train.jsonl").unlink(), "cannot be read"),
    "an address in the card": (
        lambda folder: (folder / "README.md").write_text(CARD + "Écrire à jeanne.dupont@" + "example.org\n"),
        "README.md:9: holds an e-mail address",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_dataset_that_cannot_be_published_says_why_and_nothing_is_sent(hub, folder, tmp_path, name):
    damage, expected = DAMAGE[name]
    damage(folder)
    assert expected in error_of(tmp_path)
    assert hub.repos == {}


def test_rows_that_were_masked_are_published_although_something_was_found(hub, folder, tmp_path):
    reasons = {"found: phone": {"rows": 3, "examples": []}, "changed": {"rows": 3, "examples": []}}
    steps = [{"step": "personal data", "in": 9, "out": 9, "reasons": reasons}]
    (folder / "manifest.json").write_text(json.dumps({"affinage": "0.1.0", "steps": steps}))
    upload(tmp_path)
    assert KEY in hub.repos


def test_a_model_of_that_name_is_not_taken_for_a_dataset(hub, folder, tmp_path):
    hub.add(REPO, {"config.json": b"{}"})
    assert "is a model on the Hub, and what is published here is a dataset" in error_of(tmp_path)
    assert "names a model" in error_of(tmp_path, "--repo", f"models/{REPO}")


def test_rows_that_changed_since_the_plan_are_not_sent_without_a_new_one(hub, folder, tmp_path):
    upload(tmp_path, "--plan")
    with_row(folder, input="le chien")
    assert "is older than train.jsonl" in error_of(tmp_path) and hub.repos == {}
    upload(tmp_path, "--plan")
    upload(tmp_path)
    assert hub.repos[KEY].files()["train.jsonl"] == (folder / "train.jsonl").read_bytes()


def test_the_card_is_edited_where_the_dataset_is(hub, folder, tmp_path):
    upload(tmp_path, "--plan")
    (tmp_path / "results" / "data" / "copie" / "publish" / "dataset" / "README.md").write_text(CARD + "more\n")
    assert "was edited here. Make the change in" in error_of(tmp_path, "--plan")


def test_a_dataset_that_another_process_is_publishing_is_left_alone(hub, folder, tmp_path):
    from affinage.runs import held

    place = tmp_path / "results" / "data" / "copie" / "publish"
    place.mkdir(parents=True)
    with held(place / ".lock", "the test"):
        assert "another process is publishing from it" in error_of(tmp_path)
    assert KEY not in hub.repos
