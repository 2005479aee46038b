"""Datasets elsewhere: through the real hub client and a local server that speaks the hub's protocol, and Ludwig's."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

from affinage.curation.formats.hub import open_dataset
from affinage.curation.rows import Counts
from affinage.curation.sources import open_source
from affinage.errors import AffinageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "README.md": b"---\nlicense: cc0-1.0\n---\n",
    "train.jsonl": b'{"instruction": "Dis oui.", "input": "", "output": "Oui."}\n' * 3,
    "test.jsonl": b'{"instruction": "Dis non.", "input": "", "output": "Non."}\n' * 2,
}
READ = """
import json, sys
from affinage.curation.rows import Counts
from affinage.curation.sources import open_source
from affinage.errors import AffinageError
try:
    source = open_source(sys.argv[1])
    print(json.dumps([source.format, source.notes, list(source.rows(Counts()))]))
except AffinageError as error:
    print(json.dumps(["error", str(error)]))
"""


class Hub(BaseHTTPRequestHandler):
    """The parts of the hub's protocol that a dataset of plain files needs."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        path, found = urlsplit(self.path).path, None
        headers = {"x-repo-commit": COMMIT, "etag": f'"{path}"', "accept-ranges": "bytes"}
        if path.startswith("/api/datasets/user/small"):
            found = self.about(path.removeprefix("/api/datasets/user/small").strip("/").split("/"))
        elif path.startswith("/datasets/user/small/resolve/"):
            found = FILES.get(path.rpartition("/")[2])
        if found is None:
            headers["x-error-code"] = "EntryNotFound" if "user/small" in path else "RepoNotFound"
        self.answer(200 if found is not None else 404, found or b"", headers)

    do_HEAD = do_GET

    def about(self, place: list[str]) -> bytes | None:
        entries = [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for name, content in FILES.items()
        ]
        if place[0] == "tree":
            return json.dumps(entries).encode() if len(place) == 2 else None
        siblings = [{"rfilename": name} for name in FILES]
        return json.dumps({"id": "user/small", "sha": COMMIT, "siblings": siblings, "tags": []}).encode()

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        size, wanted = len(content), self.headers.get("range")
        if wanted and status == 200:
            first, last = wanted.removeprefix("bytes=").split("-")
            content, status = content[int(first) : int(last or size) + 1], 206
            headers["content-range"] = f"bytes {first}-{int(first) + len(content) - 1}/{size}"
        self.send_response(status)
        for name, value in (headers | {"content-length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHub", (Hub,), {"asked": []}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def read(source, tmp_path, endpoint):
    """What a process of its own reads from the source: the hub's address is fixed when its client is imported."""
    settings = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", READ, source], env=os.environ | settings, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_dataset_of_the_hub_is_streamed_at_the_commit_behind_its_revision(tmp_path, hub):
    address = f"http://127.0.0.1:{hub.server_port}"
    format, notes, rows = read("hf://user/small@v1.0", tmp_path, address)
    assert format == "alpaca"
    assert f"2 files: read at revision {COMMIT}" in notes
    assert [(row["output"], row["split"], row["source"]) for row in rows] == [
        *[("Oui.", "train", f"hf://user/small@v1.0/train#{n}") for n in (1, 2, 3)],
        *[("Non.", "test", f"hf://user/small@v1.0/test#{n}") for n in (1, 2)],
    ]
    asked = hub.RequestHandlerClass.asked
    assert any(path.startswith("/api/datasets/user/small/revision/v1.0") for path in asked)
    assert all(COMMIT in path for path in asked if "/resolve/" in path)


@pytest.mark.slow
def test_a_dataset_that_the_hub_does_not_have_is_an_error_with_what_to_do(tmp_path, hub):
    answer, words = read("hf://user/absent", tmp_path, f"http://127.0.0.1:{hub.server_port}")
    assert answer == "error"
    assert words.startswith("hf://user/absent: could not be read: ")
    assert words.endswith("Check the name, the network and HF_TOKEN, or download the dataset and name its folder.")


@pytest.mark.parametrize("address", ["hf://", "hf://a/b/c", "hf://user/name@", "hf://user/name with space"])
def test_an_address_that_is_malformed_is_an_error(address):
    with pytest.raises(AffinageError, match=r"not the address of a dataset\. Allowed: hf://user/name\[:config\]"):
        open_source(address)


def test_without_a_network_the_hub_is_an_error_at_once():
    with pytest.raises(AffinageError, match=r"^hf://user/name: could not be read: "):
        open_source("hf://user/name")


def test_features_become_what_json_can_hold(tmp_path):
    features = Features(
        {"text": Value("string"), "label": ClassLabel(names=["neg", "pos"]), "day": Value("date32"), "image": Image()}
    )
    rows = {"text": ["Bien.", "Mal."], "label": [1, -1], "day": [None, None], "image": [None, None]}
    DatasetDict({"train": Dataset.from_dict(rows, features=features)})["train"].to_parquet(tmp_path / "train.parquet")
    [file] = open_dataset("hf://user/local", str(tmp_path))
    assert [record for _, record in file.records()] == [
        {"text": "Bien.", "label": "pos", "day": None},
        {"text": "Mal.", "label": None, "day": None},
    ]
    assert file.notes == ("columns of images, sounds and other bytes are left out: image",)
    assert file.split == ""


LUDWIG_ROWS = [{"instruction": "Dis oui.", "input": "", "output": "Oui."}, {"instruction": "Non ?", "output": None}]


@pytest.fixture
def ludwig_cache(tmp_path, monkeypatch):
    """Ludwig's cache with a dataset that is downloaded and not yet processed."""
    monkeypatch.setenv("LUDWIG_CACHE", str(tmp_path))
    (tmp_path / "alpaca_1.0" / "raw").mkdir(parents=True)
    return tmp_path / "alpaca_1.0" / "raw" / "alpaca_data.json"


@pytest.mark.slow
def test_a_dataset_of_ludwig_becomes_rows(ludwig_cache):
    ludwig_cache.write_text(json.dumps(LUDWIG_ROWS), encoding="utf-8")
    source = open_source("ludwig://alpaca")
    rows = list(source.rows(Counts()))
    assert [(row["instruction"], row["input"], row["output"]) for row in rows] == [
        ("Dis oui.", "", "Oui."),
        ("Non ?", "", ""),
    ]
    assert (source.format, source.total_hint, rows[1]["source"]) == ("alpaca", 2, "ludwig://alpaca#2")


@pytest.mark.slow
def test_a_dataset_of_ludwig_that_is_broken_is_an_error(ludwig_cache):
    ludwig_cache.write_text("[{", encoding="utf-8")
    with pytest.raises(AffinageError, match=r"^ludwig://alpaca: "):
        open_source("ludwig://alpaca")


@pytest.mark.slow
def test_a_name_that_ludwig_does_not_know_is_an_error():
    with pytest.raises(AffinageError, match=r"^ludwig://nothing-of-the-kind: could not be loaded"):
        open_source("ludwig://nothing-of-the-kind")


@pytest.mark.parametrize("source", ["hf://user/name", "ludwig://alpaca"])
def test_a_kind_of_file_is_no_format_of_a_dataset_elsewhere(source):
    with pytest.raises(AffinageError, match=r"FORMAT=csv: no such format for this source\. Allowed: auto, sharegpt"):
        open_source(source, format="csv")
