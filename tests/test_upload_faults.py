"""What can be wrong with a run, what is typed, the token and the Hub: one clear error, and nothing hidden."""

import json
import os
import runpy
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import _http
from safetensors.torch import load_file, save_file

from affinage.data import sha256
from affinage.errors import AffinageError
from affinage.paths import ROOT

helper = runpy.run_path(str(Path(__file__).with_name("published_runs.py")))
HubServer, REPO, BASE = (helper[name] for name in ("HubServer", "REPO", "BASE"))
KEY = ("model", REPO)
TOKEN_FILE = "home/token"


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_model):
    """One run, copied for each test, as loading its base model takes a while."""
    folder = tmp_path_factory.mktemp("made")
    config = {
        "model_type": "llm",
        "base_model": tiny_model("llama", "plain"),
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"},
        "adapter": {"type": "lora"},
        "trainer": {"type": "finetune"},
    }
    return helper["make_run"](folder, config), config["base_model"]


@pytest.fixture
def hub(monkeypatch, tmp_path, made):
    with HubServer() as server:
        helper["add_base"](server, made[1])
        server.use(monkeypatch, tmp_path / "home")
        monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
        monkeypatch.chdir(ROOT)
        yield server


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made[0].folder.parents[2], tmp_path / "results")
    return helper["find_run"](str(tmp_path / "results" / made[0].folder.relative_to(made[0].folder.parents[2])))


def error_of(run, *more, without=()):
    words = [word for word in helper["options"](run, *more) if word not in without]
    with pytest.raises(AffinageError) as caught:
        helper["upload"](*words)
    return str(caught.value)


def weights(run):
    return run.weights_folder / "adapter_model.safetensors"


def changed(run, change):
    """Rewrites the adapter's tensors."""
    tensors = load_file(weights(run))
    save_file({name: change(name, tensor) for name, tensor in tensors.items()}, weights(run), {"format": "pt"})


def personal_data(run, **row):
    """Other rows for the run, which it says it was trained on."""
    rows = run.folder / "rows.jsonl"
    line = {"instruction": "copie", "input": "le chat", "output": "LE CHAT"} | row
    rows.write_text(json.dumps(line) + "\n" + '{"instruction": "a", "output": "b"}\n')
    run.record(data={"dataset": str(rows), "files": [{"name": rows.name, "sha256": sha256(rows)}], "rows": {}})


RUNS = {
    "it failed": (lambda run: run.record(status="failed"), "did not finish (status: failed)"),
    "the adapter is cut in half": (
        lambda run: os.truncate(weights(run), weights(run).stat().st_size // 2),
        "adapter_model.safetensors: cannot be read",
    ),
    "the adapter is empty": (lambda run: weights(run).write_bytes(b""), "cannot be read"),
    "the adapter is gone": (lambda run: weights(run).unlink(), "left no weights behind"),
    "a weight is not a number": (
        lambda run: changed(run, lambda name, tensor: tensor.masked_fill(tensor == tensor.max(), torch.nan)),
        "not finite. Train again with a lower learning rate",
    ),
    "the adapter changes nothing": (
        lambda run: changed(run, lambda name, tensor: tensor * 0 if "lora_B" in name else tensor),
        "every lora_B is zero",
    ),
    "its rows hold an address": (
        lambda run: personal_data(run, input="écris à " + helper["ADDRESS"]),
        "1 row with email. Mask or drop",
    ),
    "its rows hold a key": (lambda run: personal_data(run, output="hf_" + "a1B2" * 9), "1 row with key"),
    "a placeholder in the card": (
        lambda run: (
            (run.folder / "publish" / "adapter").mkdir(parents=True)
            or (
                (run.folder / "publish" / "adapter" / "README.md").write_text("# [More Information Needed]\n")
                and (run.folder / "publish" / "adapter.card.sha256").write_text("0" * 64)
            )
        ),
        "README.md: has places that nobody filled in: [More Information Needed]",
    ),
    "a path in the prompt": (
        lambda run: (run.folder / "config.yaml").write_text(
            (run.folder / "config.yaml").read_text().replace("{input}", "x of /" + "home/jeanne/notes {input}")
        ),
        "holds an absolute path. Take it out where it comes from",
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_cannot_be_published_says_why_and_nothing_is_sent(hub, run, name):
    damage, expected = RUNS[name]
    damage(run)
    assert expected in error_of(run)
    assert KEY not in hub.repos and not hub.asked("/commit/")
    assert helper["ADDRESS"] not in error_of(run)


TYPED = {
    "no licence": (["--licence", ""], "LICENCE: missing"),
    "a licence that is none": (["--licence", "Apache 2"], "LICENCE Apache 2: is no licence"),
    "another licence without a name": (["--licence", "other"], "LICENCE other: has no name"),
    "no owner": (["--repo", "tiny"], "has no user or organisation before it"),
    "an address": (["--repo", "https://huggingface.co/jeanne/tiny"], "is an address. Allowed: user/name"),
    "a dataset's name": (["--repo", "datasets/jeanne/tiny"], "names a dataset, and what is published here is a model"),
    "a name with spaces": (["--repo", "jeanne/mon modèle"], "is no id of a repository"),
    "a base model that is a folder": (["--base", "/models/llama"], "BASE /models/llama: is no id on the Hub"),
    "a base model that is gone": (["--base", "user/gone"], "BASE user/gone: is not on the Hub"),
    "a branch that is none": (["--revision", "a..b"], "REVISION a..b: is no name of a branch"),
    "a tag that is none": (["--tag", "v 1"], "TAG v 1: is no name"),
    "a pull request with a tag": (["--create-pr", "--tag", "v1"], "cannot be tagged before it is merged"),
    "somebody else's name": (["--repo", "paul/tiny"], "may not write there"),
}


@pytest.mark.parametrize("name", TYPED)
def test_what_is_typed_wrong_is_named_with_what_is_allowed(hub, run, name):
    typed, expected = TYPED[name]
    assert expected in error_of(run, *typed)
    assert not hub.asked("/commit/") and set(hub.repos) == {("model", BASE)}


def test_the_base_model_of_this_machine_must_be_named(hub, run):
    assert "is no model on the Hub" in error_of(run, without=("--base", BASE))


def test_every_problem_is_listed_at_once(hub, run):
    run.record(status="failed")
    weights(run).write_bytes(b"x")
    found = error_of(run, "--repo", "tiny", "--licence", "")
    assert all(part in found for part in ("REPO tiny", "LICENCE", "status: failed", "cannot be read"))
    assert len(found.splitlines()) == 4 and hub.requests == []


@pytest.mark.parametrize("token", ["", "hf_" + "wrong" * 7, "hf_un jeton", "hf_été" * 4])
def test_without_a_token_that_the_hub_knows_nothing_is_sent(hub, run, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    found = error_of(run)
    assert "token" in found and "Set HF_TOKEN" in found and "Nothing was published." in found
    assert not token or token not in found
    assert KEY not in hub.repos


def test_a_token_that_may_only_read_is_refused_before_anything_is_made(hub, run):
    hub.stored.role = "read"
    assert "the token may only read. Nothing was published." in error_of(run)
    assert KEY not in hub.repos


STATUSES = {
    403: "the token may not write there",
    404: "the Hub does not find it",
    409: "something else is going on",
    413: "too large",
    429: "asks to slow down",
    500: "the Hub is in trouble (HTTP 500)",
    503: "the Hub is in trouble (HTTP 503)",
    418: "the Hub answered HTTP 418",
    "html": "is not the Hub",
    "refuse": "could not be reached",
}


@pytest.mark.parametrize("what", STATUSES)
def test_each_way_the_hub_can_fail_says_what_was_published(hub, run, what):
    hub.fail_on("/preupload/", what)
    found = error_of(run)
    assert STATUSES[what] in found and "run the same command again" in found
    assert "Done so far: the private repository was made, with no file yet." in found
    assert hub.repos[KEY].titles == ["initial commit"]
    hub.path_faults.clear()
    helper["upload"](*helper["options"](run))
    assert len(hub.repos[KEY].titles) == 2


def test_a_hub_that_does_not_answer_at_all(hub, run):
    hub.http.shutdown()
    hub.http.server_close()
    assert "the Hub could not be reached" in (found := error_of(run)) and "Nothing was published." in found


def test_offline_mode_is_named(hub, run, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE=1 forbids to go online. Nothing was published." in error_of(run)


def test_a_gated_base_model_is_said_and_one_out_of_reach_is_refused(hub, run, capsys):
    hub.repos["model", BASE].gated = True
    helper["upload"](*helper["options"](run, "--plan"))
    assert "user/tiny is gated: people must ask" in capsys.readouterr().out.replace("\n", " ")
    hub.error_code = "GatedRepo"
    hub.fail_on(f"/api/models/{BASE}", 403)
    assert "is gated, and your token has no access to it. Ask for access" in error_of(run, "--plan")


def test_other_weights_under_the_name_of_the_base_model_are_refused(hub, run):
    hub.repos["model", BASE].files()["model.safetensors"] += b"\0"
    assert "has other weights than the run was trained on: model.safetensors" in error_of(run)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (("dataset", REPO, {"README.md": b"#"}, True), "is a dataset on the Hub, and"),
        (("model", REPO, {"README.md": b"#"}, False), "is public, and PUBLIC=1 was not given"),
        (("model", REPO, {"config.json": b"{}"}, True), "holds a whole model"),
    ],
)
def test_a_repository_that_is_something_else_is_left_alone(hub, run, there, expected):
    kind, name, files, private = there
    hub.add(name, files, kind, private)
    assert expected in error_of(run)
    assert hub.repos[kind, name].files() == files


def test_a_card_that_the_hub_refuses_is_said_before_anything_is_made(hub, run):
    hub.path_faults["validate-yaml"] = 400
    assert "the Hub refuses its metadata" in error_of(run, "--plan")
    assert KEY not in hub.repos
