"""The faults of Ludwig's own uploader that ours mends: each test fails with the stock class."""

import runpy
from pathlib import Path

import pytest
from huggingface_hub.errors import HfHubHTTPError
from ludwig.upload import cli
from ludwig.utils.upload_utils import HuggingFaceHub

from affinage.errors import AffinageError
from affinage.publishing.uploader import HubUploader

HERE = Path(__file__)
server = runpy.run_path(str(HERE.with_name("hub_server.py")))
HubServer, TOKEN = server["HubServer"], server["TOKEN"]
REPO = "jeanne/tiny"
WEIGHTS = b"\x02\0\0\0\0\0\0\0{}"
BASE = str(HERE.parent / "models" / "llama")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "home")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        yield server


@pytest.fixture
def run(tmp_path):
    """A run as Ludwig leaves it: the adapter names a folder of this machine."""
    weights = tmp_path / "run" / "model" / "model_weights"
    weights.mkdir(parents=True)
    (weights / "adapter_model.safetensors").write_bytes(WEIGHTS)
    (weights / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{BASE}"}}')
    (weights.parent / "model_hyperparameters.json").write_text('{"base_model": "x"}')
    return tmp_path / "run"


@pytest.fixture
def staged(tmp_path):
    folder = tmp_path / "publish" / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(WEIGHTS)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "user/tiny"}')
    return folder


def token_file(tmp_path, text=TOKEN):
    """Where both look for a token."""
    place = tmp_path / "home" / ".cache" / "huggingface" / "token"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    (tmp_path / "home" / "token").write_text(text)


def test_a_token_in_the_environment_is_enough(hub, monkeypatch):
    with pytest.raises((FileNotFoundError, HfHubHTTPError)):
        HuggingFaceHub()
    HubUploader()
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", TOKEN)
    assert HubUploader().api.token == TOKEN


def test_a_token_file_may_end_with_a_line_break(hub, monkeypatch, tmp_path, run, staged):
    monkeypatch.delenv("HF_TOKEN")
    token_file(tmp_path, TOKEN + "\n")
    with pytest.raises(Exception, match="Illegal header value"):
        HuggingFaceHub().upload(REPO, str(run))
    assert HubUploader().upload(REPO, str(staged))


def test_a_repository_is_private_unless_said_otherwise(hub, tmp_path, run, staged):
    token_file(tmp_path)
    HuggingFaceHub().upload("jeanne/stock", str(run))
    HubUploader().upload("jeanne/ours", str(staged))
    HubUploader().upload("jeanne/open", str(staged), private=False)
    private = {name: repo.private for (_, name), repo in hub.repos.items()}
    assert private == {"jeanne/stock": False, "jeanne/ours": True, "jeanne/open": False}


def test_ludwigs_command_cannot_even_ask_for_a_private_repository(run, capsys):
    with pytest.raises(SystemExit):
        cli(["hf_hub", "--repo_id", REPO, "--model_path", str(run), "--private", "True"])
    assert "invalid choice: 'True'" in capsys.readouterr().err


def test_a_merged_model_can_be_published(hub, tmp_path, run, staged):
    token_file(tmp_path)
    for folder in (run / "model" / "model_weights", staged):
        (folder / "adapter_model.safetensors").rename(folder / "model.safetensors")
    with pytest.raises(ValueError, match="Can't find model weights"):
        HuggingFaceHub().upload(REPO, str(run))
    assert HubUploader().upload(REPO, str(staged))


def test_a_path_of_this_machine_is_not_sent(hub, tmp_path, run):
    token_file(tmp_path)
    HuggingFaceHub().upload(REPO, str(run))
    assert BASE.encode() in hub.repos["model", REPO].files()["adapter_config.json"]
    hub.requests.clear()
    from affinage.publishing.release import Release, plan_release
    from affinage.publishing.target import Target

    weights = run / "model" / "model_weights"
    (weights / "README.md").write_text("# Tiny\n")
    with pytest.raises(AffinageError, match=r"adapter_config\.json:1: holds a path of this machine"):
        plan_release(Release(weights, Target(REPO), "Publish"), HubUploader(), lambda card: weights, {})
    assert BASE.encode() not in hub.sent()


def test_one_commit_holds_everything_where_ludwig_makes_two(hub, tmp_path, run, staged):
    token_file(tmp_path)
    HuggingFaceHub().upload("jeanne/stock", str(run))
    HubUploader().upload("jeanne/ours", str(staged))
    titles = {name: len(repo.titles) - 1 for (_, name), repo in hub.repos.items()}
    assert titles == {"jeanne/stock": 2, "jeanne/ours": 1}


def test_killed_between_its_commits_ludwig_leaves_weights_without_their_configuration(hub, tmp_path, run):
    token_file(tmp_path)

    def stop(number):
        if "/commit/" in hub.requests[number - 1].path:
            hub.fail_on("/preupload/", 400)

    hub.listener = stop
    with pytest.raises(HfHubHTTPError):
        HuggingFaceHub().upload(REPO, str(run))
    assert "adapter_model.safetensors" in hub.repos["model", REPO].files()
    assert "ludwig_config.json" not in hub.repos["model", REPO].files()


@pytest.mark.parametrize("files", [{}, {"README.md": b"#"}])
def test_a_folder_without_weights_is_refused_before_the_network(hub, tmp_path, files):
    folder = tmp_path / "empty"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with pytest.raises(AffinageError, match=r"REPO tiny.*\n.*holds no weights"):
        HubUploader().upload("tiny", str(folder))
    assert hub.requests == []
