"""The environment report: it is complete, it parses, and it never shows a secret."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from affinage import environment
from affinage.paths import ROOT

SECRET = "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3Qz"


def show_env(tmp_path: Path, *arguments: str, **variables: str) -> str:
    """Output of tools/show_env.py, both streams, with no token but the ones given."""
    clean = {name: value for name, value in os.environ.items() if name not in environment.TOKEN_VARIABLES}
    finished = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "show_env.py"), *arguments],
        env={**clean, "HF_HOME": str(tmp_path), "HF_TOKEN_PATH": str(tmp_path / "token"), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("hf_abcdefghijklmnopx3Qz", "hf_…x3Qz (23 characters)"),
        ("0123456789abcdef", "…cdef (16 characters)"),
        ("123456789012", "…9012 (12 characters)"),
        ("12345678901", "set"),
        ("hf_short", "set"),
        ("  hf_abcdefghijklmnopx3Qz\n", "hf_…x3Qz (23 characters)"),
    ],
)
def test_a_masked_token_shows_four_characters_at_most(token: str, shown: str) -> None:
    assert environment.mask(token) == shown


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:s3cret@example.test:11434", "http://example.test:11434"),
        ("me:s3cret@example.test", "example.test"),
        ("https://me:s3/cr@et@example.test/path", "https://example.test/path"),
        ("http://me:a://b@example.test", "http://example.test"),
        ("http://example.test:1?key=s3cret#s3cret", "http://example.test:1"),
        (":11434", ":11434"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_credentials(address: str, shown: str) -> None:
    assert environment.without_credentials(address) == shown


def test_the_table_masks_every_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET + "\n")
    every_token = dict.fromkeys(environment.TOKEN_VARIABLES, SECRET)
    output = show_env(tmp_path, OLLAMA_HOST="http://me:pass-w0rd@127.0.0.1:9", **every_token)
    assert "Secret" not in output
    assert "pass-w0rd" not in output
    assert output.count("hf_…x3Qz (40 characters)") == 5
    assert "http://127.0.0.1:9: no answer" in output


def test_a_password_that_breaks_the_address_is_not_quoted_back(tmp_path: Path) -> None:
    output = show_env(tmp_path, OLLAMA_HOST="http://me:pass/w0rd@127.0.0.1:9")
    assert "w0rd" not in output
    assert "no answer" in output


def test_the_json_parses_and_holds_what_a_run_stores(tmp_path: Path) -> None:
    output = show_env(tmp_path, "--json", HF_TOKEN=SECRET)
    found = json.loads(output)
    assert "Secret" not in output
    assert found["tokens"]["HF_TOKEN"] == "hf_…x3Qz (40 characters)"
    assert found["tokens"]["COMET_API_KEY"] is None
    assert {"affinage", "git", "python", "platform", "packages", "devices", "memory_bytes"} <= found.keys()
    assert {"disk_free_bytes", "tokens", "ollama", "cuda", "driver"} <= found.keys()
    assert found["devices"], "a computer always has a device to train on"
    assert 0 < found["memory_bytes"]["free"] <= found["memory_bytes"]["total"]


def test_the_report_names_no_folder_of_the_person(tmp_path: Path) -> None:
    assert str(Path.home()) not in show_env(tmp_path, "--json")


def test_versions_match_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for name, version in environment.versions().items():
        pinned = re.search(rf"^{name.replace('_', '-')}==(\S+)", lock, re.MULTILINE)
        assert pinned, name
        assert version == pinned[1]


def test_reading_versions_imports_no_torch() -> None:
    code = (
        "import sys; from affinage import environment as e; e.versions(); e.git_state(); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_git_state_names_the_commit_and_says_when_files_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "ROOT", tmp_path.resolve())
    assert environment.git_state() == {"commit": None, "dirty": None}
    (tmp_path / "a").write_text("one")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.test"]
    for command in (["init", "-q"], ["add", "a"], ["commit", "-q", "-m", "one", "--no-gpg-sign"]):
        subprocess.run([*git, *command], check=True)
    state = environment.git_state()
    assert re.fullmatch("[0-9a-f]{40}", state["commit"])
    assert state["dirty"] is False
    (tmp_path / "a").write_text("two")
    assert environment.git_state() == {"commit": state["commit"], "dirty": True}


def test_a_copy_inside_another_repository_reports_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.setattr(environment, "ROOT", inner.resolve())
    assert environment.git_state() == {"commit": None, "dirty": None}


class TwoModels(BaseHTTPRequestHandler):
    """Answers like an Ollama server that holds two models."""

    def do_GET(self) -> None:
        body = json.dumps({"models": [{"model": "a"}, {"model": "b"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keeps the test output clean."""


@pytest.fixture
def ollama_port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), TwoModels)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_an_ollama_server_that_answers_is_reported(ollama_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    host = f"http://127.0.0.1:{ollama_port}"
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert environment.ollama_server() == {"host": host, "answers": True, "models": 2}
