"""What an upload puts on the Hub, over HTTP: the whole layout in one commit, private, and nothing of this machine."""

import json
import runpy
import tempfile
from pathlib import Path

import pytest
import yaml

from affinage.data import sha256
from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.runs import write_json

helper = runpy.run_path(str(Path(__file__).with_name("published_runs.py")))
HubServer, REPO, BASE = (helper[name] for name in ("HubServer", "REPO", "BASE"))
upload, options = helper["upload"], helper["options"]
KEY = ("model", REPO)
LAYOUT = """
README.md adapter_config.json adapter_model.safetensors chat_template.jinja eval/metrics.json generation_config.json
ludwig/config.yaml ludwig/environment.json ludwig/training_statistics.json ludwig_config.json prompt_template.txt
tokenizer.json tokenizer_config.json
""".split()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "home")
        monkeypatch.chdir(ROOT)
        yield server


@pytest.fixture
def run(tmp_path, llm_config, hub):
    config = llm_config()
    helper["add_base"](hub, config["base_model"])
    return helper["make_run"](tmp_path, config)


def files(hub, revision="main"):
    return hub.repos[KEY].files(revision)


def test_one_commit_holds_the_whole_layout_in_a_private_repository(run, hub, capsys):
    upload(*options(run))
    repo = hub.repos[KEY]
    assert sorted(files(hub)) == sorted([".gitattributes", *LAYOUT])
    assert repo.private and len(repo.titles) == 2
    assert repo.titles[1].startswith(f"Publish adapter of {run.folder.name} (")
    assert files(hub)["adapter_model.safetensors"] == (run.weights_folder / "adapter_model.safetensors").read_bytes()
    shown = capsys.readouterr().out
    assert f"{hub.url}/{REPO}  (13 files in one commit)" in shown and f"commit {repo.branches['main']}" in shown


def test_the_adapter_names_the_base_model_by_its_id_and_the_commit_it_was_trained_on(run, hub):
    revision = hub.repos["model", BASE].branches["main"]
    run.record(base_model={"id": BASE, "revision": revision})
    upload(*(word for word in options(run) if word not in ("--base", BASE)))
    config = json.loads(files(hub)["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == (BASE, revision)
    assert config["target_modules"] == ["q_proj", "v_proj"] and config["r"] == 4


def test_records_are_published_with_the_id_in_the_place_of_the_folder(run, hub):
    upload(*options(run))
    published = files(hub)
    assert yaml.safe_load(published["ludwig/config.yaml"])["base_model"] == BASE
    ludwig = json.loads(published["ludwig_config.json"])
    assert ludwig["base_model"] == BASE and ludwig["backend"] == {"cache_dir": "cache"}
    assert ludwig["author"] == "j***@***.org"
    assert json.loads(published["ludwig/training_statistics.json"])["from"] == run.folder.name
    tokenizer = json.loads(published["tokenizer_config.json"])
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not {"is_local", "local_files_only", "name_or_path", "chat_template"} & tokenizer.keys()


def test_no_byte_sent_holds_a_token_a_path_of_this_machine_or_an_address(run, hub):
    upload(*options(run, "--tag", "v1"))
    sent = hub.sent()
    home, token = str(Path.home()).encode(), helper["TOKEN"].encode()
    assert b"adapter_config.json" in sent and b'"base_model_name_or_path": "user/tiny"' in sent
    for secret in (token, str(ROOT).encode(), home + b"/", tempfile.gettempdir().encode() + b"/", b"jeanne.dupont@"):
        assert secret not in sent
    assert all(request.headers["authorization"] == f"Bearer {token.decode()}" for request in hub.asked("/api/models/"))
    assert not any("authorization" in request.headers for request in hub.asked("/lfs/") if request.method == "PUT")


def test_a_second_upload_sends_no_commit_and_says_so(run, hub, capsys):
    upload(*options(run))
    before, record = hub.repos[KEY].branches["main"], (run.folder / "publish" / "upload.json").read_bytes()
    hub.requests.clear()
    capsys.readouterr()
    upload(*options(run))
    assert "nothing to do: it is there already" in capsys.readouterr().out
    assert {request.path for request in hub.requests if request.method != "GET"} == {"/api/validate-yaml"}
    assert hub.repos[KEY].branches["main"] == before
    assert (run.folder / "publish" / "upload.json").read_bytes() == record


def test_a_plan_with_another_licence_is_not_the_one_that_is_carried_out(run, hub):
    upload(*options(run, "--plan"))
    upload(*options(run, "--licence", "mit"))
    assert b"license: mit" in files(hub)["README.md"]


def test_what_was_published_is_recorded_beside_the_run(run, hub):
    upload(*options(run, "--tag", "v1"))
    (entry,) = json.loads((run.folder / "publish" / "upload.json").read_text())["uploads"]
    head = hub.repos[KEY].branches["main"]
    assert (entry["url"], entry["commit"], entry["tag"]) == (f"{hub.url}/{REPO}", head, "v1")
    assert sorted(entry["files"]) == sorted(LAYOUT) and entry["target"]["private"] is True
    assert hub.repos[KEY].tags == {"v1": head}
    assert not list((run.folder / "publish").glob("*.plan.json"))


def test_a_public_repository_a_branch_and_a_pull_request_on_demand(run, hub):
    upload(*options(run, "--public"))
    assert not hub.repos[KEY].private
    main = hub.repos[KEY].branches["main"]
    (run.folder / "metrics.json").write_text('{"split": "test", "scores": {"all": 1}}')
    upload(*options(run, "--public", "--revision", "essai"))
    repo = hub.repos[KEY]
    assert repo.branches["main"] == main and repo.files("essai")["eval/metrics.json"] != files(hub)["eval/metrics.json"]
    (run.folder / "metrics.json").write_text('{"split": "test", "scores": {"all": 2}}')
    for _ in range(2):
        upload(*options(run, "--public", "--create-pr"))
    (pull,) = repo.pull_requests
    assert repo.branches["main"] == main and b'"all": 2' in repo.commits[pull["oid"]]["eval/metrics.json"]
    entry = json.loads((run.folder / "publish" / "upload.json").read_text())["uploads"][-1]
    assert entry["pull_request"] == f"{hub.url}/{REPO}/discussions/1" and entry["commit"] == pull["oid"]


def test_files_of_an_earlier_upload_go_when_the_run_has_them_no_more_and_others_stay(run, hub, capsys):
    upload(*options(run))
    hub.repos[KEY].files()["notes.txt"] = b"written on the page of the Hub"
    (run.folder / "training_statistics.json").unlink()
    upload(*options(run, "--plan"))
    assert "1 delete" in (shown := capsys.readouterr().out) and "1 left" in shown
    upload(*options(run))
    assert "ludwig/training_statistics.json" not in files(hub) and "notes.txt" in files(hub)


def test_a_full_model_and_a_merged_one_are_published_with_their_weights(run, hub, tmp_path, llm_config):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = llm_config()["base_model"]
    merged = run.folder / "export" / "merged"
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(merged)
    AutoTokenizer.from_pretrained(base).save_pretrained(merged)
    upload(*options(run, "--kind", "merged", "--repo", f"{REPO}-merged"))
    published = hub.repos["model", f"{REPO}-merged"].files()
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= published.keys()
    assert "adapter_config.json" not in published
    for path in run.weights_folder.glob("adapter*"):
        path.unlink()
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(run.weights_folder)
    upload(*options(run, "--repo", f"{REPO}-full"))
    assert {"config.json", "model.safetensors"} <= hub.repos["model", f"{REPO}-full"].files().keys()


def test_gguf_files_go_with_a_card_and_without_a_tokenizer(run, hub, capsys):
    from gguf import GGUFWriter

    (run.folder / "export").mkdir()
    writer = GGUFWriter(run.folder / "export" / "tiny-q8_0.gguf", "llama")
    writer.add_name("tiny")
    for step in ("write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file", "close"):
        getattr(writer, step)()
    with pytest.raises(AffinageError, match=r"tiny-q8_0\.gguf: is not the file that was compared with the run"):
        upload(*options(run, "--kind", "gguf", "--repo", "jeanne/tiny"))
    made = {"file": "tiny-q8_0.gguf", "sha256": sha256(run.folder / "export" / "tiny-q8_0.gguf"), "verified": True}
    write_json(run.folder / "export" / "gguf.json", {"q8_0": made})
    upload(*options(run, "--kind", "gguf", "--repo", "jeanne/tiny"))
    published = hub.repos["model", "jeanne/tiny"].files()
    assert {"README.md", "tiny-q8_0.gguf", "prompt_template.txt"} <= published.keys()
    assert "tokenizer.json" not in published and "usually called jeanne/tiny-GGUF" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "command"), [("merged", "make merge"), ("gguf", "make gguf")])
def test_what_was_not_made_yet_is_named_with_the_command_that_makes_it(run, hub, kind, command):
    with pytest.raises(AffinageError, match=rf"has no .*{command} RUN={run.folder.name}"):
        upload(*options(run, "--kind", kind))
    assert KEY not in hub.repos


@pytest.mark.parametrize(
    ("lora", "expected"),
    [
        ({"r": 32}, "vLLM must be started with --max-lora-rank 32"),
        ({"use_dora": True}, "vLLM cannot load this adapter: it does not load DoRA adapters"),
        ({"modules_to_save": ["lm_head"]}, "vLLM cannot load this adapter"),
        ({"bias": "lora_only"}, "vLLM cannot load this adapter"),
    ],
)
def test_what_vllm_cannot_do_with_an_adapter_is_said_before_it_is_uploaded(run, hub, capsys, lora, expected):
    helper["save_adapter"](run.weights_folder, run.manifest["base_model"]["id"], **lora)
    upload(*options(run, "--plan"))
    assert expected in capsys.readouterr().out and KEY not in hub.repos
