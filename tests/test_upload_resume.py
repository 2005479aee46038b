"""Uploads that are stopped at each request in turn, and run again: the same repository, in one commit of ours."""

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import constants, set_client_factory
from huggingface_hub.utils import _http

from affinage.errors import AffinageError
from affinage.publishing.release import Release, carry_out, plan_release, standing_plan
from affinage.publishing.target import Target
from affinage.publishing.uploader import HubUploader

HubServer = runpy.run_path(str(Path(__file__).with_name("hub_server.py")))["HubServer"]
REPO = "jeanne/tiny"
CONTENT = {
    "README.md": b"---\nlicense: mit\n---\n# Tiny\n",
    "adapter_config.json": b"{}\n",
    "adapter_model.safetensors": b"\x02\0\0\0\0\0\0\0{}" + bytes(range(256)) * 40,
    "model.safetensors": b"\x02\0\0\0\0\0\0\0{}" + bytes(range(256)) * 50,
    "ludwig/config.yaml": b"model_type: llm\n",
}
TARGETS = {
    "main": Target(REPO),
    "branch and tag": Target(REPO, revision="essai", tag="v1"),
    "pull request": Target(REPO, create_pr=True),
}
SCRIPT = """
import sys
from pathlib import Path
from affinage.publishing.uploader import HubUploader
HubUploader().upload(sys.argv[1], sys.argv[2], tag="v1")
"""


class Killed(BaseException):
    """What ends a process, as no `except Exception` can hold it."""


def write(folder):
    for name, content in CONTENT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def publish(folder, target):
    """What `make upload` does with a folder that is staged: plan it unless there is a plan, then send it."""
    release = Release(folder, target, "Publish tiny")
    uploader = HubUploader()
    plan = standing_plan(release) or plan_release(release, uploader, lambda card: write(folder), {})
    return carry_out(release, plan, uploader, lambda text: None)


def content_of(hub, target):
    """All that another person sees: files of the revision, tags, titles, open pull requests."""
    repo = hub.repos["model", REPO]
    revision = "refs/pr/1" if target.create_pr else target.revision
    tagged = {tag: repo.commits[oid] for tag, oid in repo.tags.items()}
    return repo.files(revision), tagged, repo.titles, len(repo.pull_requests), repo.private


@pytest.fixture
def use(monkeypatch, tmp_path):
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    yield lambda hub: hub.use(monkeypatch, tmp_path / "home")
    set_client_factory(_http.default_client_factory)


def reference(use, folder, target):
    """The content after an upload that nothing disturbed, and how many requests it took."""
    with HubServer() as hub:
        use(hub)
        publish(folder, target)
        return content_of(hub, target), len(hub.requests)


def dying_client(when, at):
    """A client whose process dies at its request of that number, "before" it is sent or "after" it was answered."""
    seen = []

    def die(message):
        seen.append(message)
        if len(seen) == at:
            raise Killed

    def make():
        hooks = {"request": [_http.hf_request_event_hook], "response": []}
        hooks["request" if when == "before" else "response"].append(die)
        return httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=None)

    set_client_factory(make)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", TARGETS)
def test_killed_at_each_request_and_run_again_it_ends_with_the_same_content(use, tmp_path, name, when):
    target = TARGETS[name]
    expected, requests = reference(use, tmp_path / "whole" / "adapter", target)
    assert requests > 8
    for number in range(1, requests + 1):
        folder = tmp_path / f"{number}" / "adapter"
        with HubServer() as hub:
            use(hub)
            dying_client(when, number)
            with pytest.raises(Killed):
                publish(folder, target)
            set_client_factory(_http.default_client_factory)
            publish(folder, target)
            assert content_of(hub, target) == expected, number
            hub.requests.clear()
            assert publish(folder, target).sent == 0
            assert not hub.asked("/commit/")


@pytest.mark.parametrize("fault", ["drop", 503])
def test_a_fault_at_each_request_is_got_over_or_said_and_the_next_run_completes_it(use, tmp_path, fault):
    target = TARGETS["branch and tag"]
    expected, requests = reference(use, tmp_path / "whole" / "adapter", target)
    said = []
    for number in range(1, requests + 1):
        folder = tmp_path / f"{number}" / "adapter"
        with HubServer() as hub:
            use(hub)
            hub.fail(number, fault)
            try:
                publish(folder, target)
            except AffinageError as error:
                said.append(str(error))
                publish(folder, target)
            assert content_of(hub, target) == expected, number
    assert said and all("run the same command again" in text for text in said)
    assert {"Nothing was published." in text for text in said} == {True, False}
    assert any("It is not known whether the commit arrived." in text for text in said)
    assert any("the private repository was made" in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["/preupload/", "/lfs/", "/commit/"])
def test_a_process_that_is_killed_leaves_what_the_next_one_completes(tmp_path, part):
    folder = write(tmp_path / "adapter")
    with HubServer() as hub:
        command = [sys.executable, "-c", SCRIPT, REPO, str(folder)]
        options = {"env": hub.environment(tmp_path / "home"), "capture_output": True, "text": True}
        killed = []

        def kill(number):
            if part in hub.requests[number - 1].path and not killed:
                killed.append(number)
                os.kill(process.pid, signal.SIGKILL)

        hub.listener = kill
        process = subprocess.Popen(command, env=options["env"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert process.wait(120) == -signal.SIGKILL
        done = subprocess.run(command, timeout=120, check=False, **options)
        assert done.returncode == 0, done.stderr
        repo = hub.repos["model", REPO]
        assert {name: repo.files()[name] for name in CONTENT} == CONTENT
        assert len(repo.titles) == 2 and repo.tags == {"v1": repo.branches["main"]}


def test_two_uploads_at_once_are_refused(use, tmp_path):
    release = Release(tmp_path / "publish" / "adapter", Target(REPO), "Publish tiny")
    with release.held(), pytest.raises(AffinageError, match="another process is publishing from it"), release.held():
        pass


def test_the_plan_names_no_folder_and_the_record_is_whole_json(use, tmp_path):
    folder = tmp_path / "publish" / "adapter"
    with HubServer() as hub:
        use(hub)
        plan_release(Release(folder, Target(REPO), "Publish tiny"), HubUploader(), lambda card: write(folder), {})
        plan = (tmp_path / "publish" / "adapter.plan.json").read_text()
        assert str(tmp_path) not in plan and json.loads(plan)["files"][0]["action"] == "new"
        publish(folder, Target(REPO))
    (upload,) = json.loads((tmp_path / "publish" / "upload.json").read_text())["uploads"]
    assert upload["commit"] == hub.repos["model", REPO].branches["main"] and upload["sent"] == len(CONTENT)
