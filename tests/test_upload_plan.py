"""The plan that is shown before an upload: sizes, hashes and actions, and what makes it void."""

import hashlib
import json
import runpy
from pathlib import Path

import pytest

from affinage.errors import AffinageError
from affinage.publishing.release import Release, carry_out, edited_card, plan_release, standing_plan
from affinage.publishing.report import plan_summary
from affinage.publishing.target import Target
from affinage.publishing.uploader import HubUploader

HubServer = runpy.run_path(str(Path(__file__).with_name("hub_server.py")))["HubServer"]
REPO = "jeanne/tiny"
WEIGHTS = b"\x02\0\0\0\0\0\0\0{}tiny"
FILES = {"README.md": b"# Tiny\n", "adapter_config.json": b"{}\n", "adapter_model.safetensors": WEIGHTS}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "home")
        yield server


@pytest.fixture
def release(tmp_path):
    return Release(tmp_path / "publish" / "adapter", Target(REPO), "Publish tiny")


def plan(release, files=FILES):
    """Plans a folder of these files; a card that was edited is kept."""

    def stage(card):
        release.folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (release.folder / name).write_bytes(card.encode() if card and name == "README.md" else content)
        return release.folder

    return plan_release(release, HubUploader(), stage, {})


def send(release, standing):
    return carry_out(release, standing, HubUploader(), lambda text: None)


def actions(made):
    return {entry.path: entry.action for entry in made.files}


def test_each_file_has_its_size_hash_and_what_happens_to_it(hub, release):
    there = {**FILES, "README.md": b"# Old\n", "notes.txt": b"mine"}
    hub.add(REPO, {name: content for name, content in there.items() if name != "adapter_config.json"}, private=True)
    made = plan(release)
    expected = {"README.md": "changed", "adapter_config.json": "new", "adapter_model.safetensors": "same"}
    assert actions(made) == expected | {"notes.txt": "left"}
    by_hand = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in FILES.items()}
    assert {entry.path: (entry.size, entry.sha256) for entry in made.local} == by_hand
    assert plan_summary(made) == "1 changed, 1 new, 1 same, 1 left; 10 bytes to send"
    assert made.head == hub.repos["model", REPO].branches["main"] and not hub.asked("/commit/")
    assert standing_plan(release) == made


def test_a_plan_makes_nothing_on_the_hub(hub, release):
    plan(release)
    sent = [request.path for request in hub.requests if request.method != "GET"]
    assert hub.repos == {} and sent == ["/api/validate-yaml"]


def test_a_folder_that_changed_since_the_plan_is_not_sent(hub, release):
    made = plan(release)
    (release.folder / "adapter_config.json").write_bytes(b'{"r": 8}\n')
    (release.folder / "more.txt").write_bytes(b"x")
    with pytest.raises(AffinageError, match=r"changed since the plan was made: adapter_config\.json, more\.txt"):
        send(release, made)
    assert hub.repos == {}


def test_a_repository_that_changed_since_the_plan_is_left_alone(hub, release):
    repo = hub.add(REPO, {"README.md": b"# Old\n"}, private=True)
    made = plan(release)
    repo.branches["main"] = repo.commit({"README.md": b"# Theirs\n"}, "Theirs")
    with pytest.raises(AffinageError, match=r"changed since the plan was made.*Nothing was published.*upload-plan"):
        send(release, made)
    assert repo.files() == {"README.md": b"# Theirs\n"}


def test_a_commit_that_comes_between_the_look_and_ours_is_not_overwritten(hub, release):
    repo = hub.add(REPO, {"README.md": b"# Old\n"}, private=True)
    made = plan(release)

    def meanwhile(number):
        if "/preupload/" in hub.requests[number - 1].path:
            repo.branches["main"] = repo.commit({"README.md": b"# Theirs\n"}, "Theirs")

    hub.listener = meanwhile
    with pytest.raises(AffinageError, match="somebody else changed the repository meanwhile"):
        send(release, made)
    assert repo.files() == {"README.md": b"# Theirs\n"}


@pytest.mark.parametrize("private", [True, False])
def test_a_repository_that_somebody_made_meanwhile_is_left_alone(hub, release, private):
    made = plan(release)
    theirs = {"README.md": b"# Theirs\n"} if private else {}
    repo = hub.add(REPO, theirs, private=private)
    expected = "made and filled since" if private else "is public, and PUBLIC=1 was not given"
    with pytest.raises(AffinageError, match=expected):
        send(release, made)
    assert repo.files() == theirs


def test_a_plan_for_another_target_does_not_stand(hub, release):
    plan(release)
    assert standing_plan(Release(release.folder, Target(REPO, private=False), "Publish tiny")) is None


def test_a_card_that_a_person_edited_is_kept_by_every_later_plan(hub, release):
    plan(release)
    (release.folder / "README.md").write_text("# Mine\n")
    for _ in range(2):
        made = plan(release)
        assert (release.folder / "README.md").read_text() == edited_card(release) == "# Mine\n"
        assert "was edited: it is kept" in made.notices[0].replace("\n", " ")
    send(release, made)
    assert hub.repos["model", REPO].files()["README.md"] == b"# Mine\n"
    (release.folder / "README.md").unlink()
    plan(release)
    assert (release.folder / "README.md").read_bytes() == FILES["README.md"]


def test_a_card_that_was_mended_after_it_was_refused_is_kept_too(hub, release):
    with pytest.raises(AffinageError, match=r"README\.md: has places that nobody filled in"):
        plan(release, FILES | {"README.md": b"# [More Information Needed]\n"})
    (release.folder / "README.md").write_text("# Mended\n")
    assert plan(release, FILES | {"README.md": b"# [More Information Needed]\n"}).local[0].size == len("# Mended\n")


def test_a_tag_that_is_elsewhere_stops_the_plan(hub, release):
    repo = hub.add(REPO, {"README.md": b"# Old\n"}, private=True)
    repo.tags["v1"] = repo.branches["main"]
    tagged = Release(release.folder, Target(REPO, tag="v1"), "Publish tiny")
    with pytest.raises(AffinageError, match=r"TAG v1: jeanne/tiny has that tag already"):
        plan(tagged)


def test_a_private_repository_stays_private_when_public_is_asked(hub, release):
    hub.add(REPO, {}, private=True)
    made = plan(Release(release.folder, Target(REPO, private=False), "Publish tiny"))
    assert made.notices == ["jeanne/tiny is private and stays so; its page on the Hub has the setting."]


@pytest.mark.parametrize("content", ["{", "{}", '{"files": [{"path": 1}], "target": {"repo": "a/b"}}'])
def test_a_plan_file_that_is_broken_says_to_make_it_again(release, content):
    release.plan_file.parent.mkdir(parents=True)
    release.plan_file.write_text(content)
    with pytest.raises(AffinageError, match=r"adapter\.plan\.json: is no plan.*make upload-plan"):
        standing_plan(release)


def test_the_same_content_has_the_same_digest_whatever_the_target(hub, release):
    first = plan(release)
    second = plan(Release(release.folder, Target(REPO, tag="v1"), "Another title"))
    assert first.digest == second.digest and first.digest[:12] in first.message
    assert json.loads(release.plan_file.read_text())["digest"] == second.digest
    assert plan(release, FILES | {"README.md": b"# Other\n"}).digest != first.digest
