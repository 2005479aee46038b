"""The server and the model are found, or a person is told what to do."""

import runpy
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from affinage.errors import AffinageError
from affinage.ollama_models import find_model, find_server, server_version

OllamaServer = runpy.run_path(str(Path(__file__).with_name("ollama_server.py")))["OllamaServer"]


@pytest.fixture
def server():
    with OllamaServer(models=("llama3.1:8b", "mistral:latest")) as server:
        yield server


@pytest.fixture(autouse=True)
def no_ollama_environment(monkeypatch):
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    monkeypatch.delenv("OLLAMA_API_KEY", raising=False)


ADDRESSES = {
    "": "http://127.0.0.1:11434",
    "  ": "http://127.0.0.1:11434",
    "1.2.3.4": "http://1.2.3.4:11434",
    ":56789": "http://127.0.0.1:56789",
    "gpu.example.org:8080/": "http://gpu.example.org:8080",
    "http://gpu.example.org": "http://gpu.example.org:80",
    "https://gpu.example.org": "https://gpu.example.org:443",
    "https://gpu.example.org/ollama/": "https://gpu.example.org:443/ollama",
    "[::1]": "http://[::1]:11434",
    "0.0.0.0": "http://127.0.0.1:11434",
    "0.0.0.0:9": "http://127.0.0.1:9",
}


@pytest.mark.parametrize(("given", "url"), ADDRESSES.items())
def test_an_address_is_read_as_ollama_reads_it(monkeypatch, given, url):
    assert find_server(given).url == url
    monkeypatch.setenv("OLLAMA_HOST", given)
    assert find_server().url == url
    assert find_server("example.org").url == "http://example.org:11434"


@pytest.mark.parametrize("given", [given for given in ADDRESSES if "0.0.0.0" not in given])
def test_the_ollama_package_reads_addresses_alike(given):
    import ollama

    # An empty address makes the package read OLLAMA_HOST, which is not set here.
    assert str(ollama.Client(host=given.strip())._client.base_url).rstrip("/") == _without_default_port(
        find_server(given).url
    )


def _without_default_port(url):
    for scheme, port in (("http", ":80"), ("https", ":443")):
        if url.startswith(scheme + "://") and (url + "/").find(port + "/") > 0:
            url = (url + "/").replace(port + "/", "/").rstrip("/")
    return url


@pytest.mark.parametrize("given", ["http://[::1", "localhost:abc", "::::", "localhost:99999", "ftp://x", "http://a b"])
def test_a_malformed_address_is_an_error_that_names_where_it_was_given(monkeypatch, given):
    with pytest.raises(AffinageError, match=r"the Ollama host: is no address.*Allowed: an address such as"):
        find_server(given)
    monkeypatch.setenv("OLLAMA_HOST", given)
    with pytest.raises(AffinageError, match="OLLAMA_HOST: is no address"):
        find_server()


def test_a_malformed_ollama_host_is_an_error_also_when_another_server_is_named(server):
    # fault: `import ollama` itself raises ValueError then, a traceback for the user
    code = f"from affinage.ollama_models import *\nfind_model(find_server({server.url!r}), 'llama3.1:8b')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"OLLAMA_HOST": "x:abc", "PATH": ""}, capture_output=True, text=True
    )
    assert "AffinageError: OLLAMA_HOST: is no address" in done.stderr


def test_a_model_is_described_by_what_the_server_says(server):
    model = find_model(find_server(server.url), "llama3.1:8b")
    assert (model.name, model.digest) == ("llama3.1:8b", server.models["llama3.1:8b"])
    assert (model.context_length, model.quantization, model.parameter_size) == (131072, "Q4_K_M", "8.0B")
    assert model.server_version == "0.32.15" and "completion" in model.capabilities


def test_a_name_without_a_tag_is_the_latest(server):
    assert find_model(find_server(server.url), "mistral").digest == server.models["mistral:latest"]


def test_a_missing_model_is_an_error_with_the_models_there_and_the_way_to_get_it(server):
    with pytest.raises(AffinageError) as raised:
        find_model(find_server(server.url), "llama3.1:7b")
    message = str(raised.value)
    assert "Did you mean llama3.1:8b?" in message and "ollama pull llama3.1:7b" in message and "--pull" in message
    assert "mistral:latest" in message
    assert not any(path == "/api/pull" for path, _ in server.others)


def test_a_missing_model_is_pulled_when_asked_with_a_bar(server, capfd):
    assert find_model(find_server(server.url), "qwen3", pull=True).digest == "cd" * 32
    assert "pulling qwen3" in capfd.readouterr().err


def test_a_pull_that_fails_inside_the_stream_is_an_error(server):
    server.pull_lines = [{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}]
    with pytest.raises(AffinageError, match=r"could not be pulled: pull model manifest: file does not exist"):
        find_model(find_server(server.url), "nothing", pull=True)


def test_a_pull_that_ends_early_is_an_error(server):
    server.pull_lines = [{"status": "pulling manifest"}]
    with pytest.raises(AffinageError, match=r"ended at 'pulling manifest'.*again"):
        find_model(find_server(server.url), "qwen3", pull=True)


def test_a_model_for_embeddings_is_refused(server):
    server.capabilities = ["embedding"]
    with pytest.raises(AffinageError, match="can do embedding only"):
        find_model(find_server(server.url), "llama3.1:8b")


def test_no_server_is_an_error_that_says_how_to_start_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(AffinageError, match="ollama serve"):
            find_model(find_server(f"127.0.0.1:{taken.getsockname()[1]}"), "m")


@pytest.mark.parametrize("answer", [(404, b"not here"), (200, b"<html>"), (200, b"[]"), (200, b"{}"), (301, b"")])
def test_another_program_at_the_address_is_told_from_ollama(answer):
    status, body = answer

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    other = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    with pytest.raises(AffinageError, match="does not answer as Ollama does"):
        find_model(find_server(f"127.0.0.1:{other.server_port}"), "m")
    other.shutdown()
    other.server_close()


@pytest.mark.parametrize(("version", "accepted"), [("0.12.3", False), ("0.5.11-rc2", False), ("0.12.4", True)])
def test_a_server_that_would_cut_prompts_without_a_word_is_refused(server, version, accepted):
    server.version = version
    if accepted:
        assert server_version(find_server(server.url)) == version
    else:
        with pytest.raises(AffinageError, match=r"cuts long prompts.*0\.12\.4 or newer"):
            server_version(find_server(server.url))


def test_a_server_built_from_source_is_accepted(server):
    server.version = "0.0.0"
    assert server_version(find_server(server.url)) == "0.0.0"


def test_a_proxy_is_never_asked_for_this_machine(server, monkeypatch):
    # fault: with HTTP_PROXY set, as in many universities, the clients look for 127.0.0.1 behind the proxy
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert find_model(find_server(server.url), "llama3.1:8b").digest


def test_a_password_in_the_address_is_used_and_never_shown(server):
    address = find_server(f"http://anna:s3cret@127.0.0.1:{server.port}")
    assert find_model(address, "llama3.1:8b")
    assert server.headers[-1]["authorization"].startswith("Basic ")
    assert "s3cret" not in repr(address) and "s3cret" not in address.url
    server.stop()
    with pytest.raises(AffinageError) as raised:
        find_model(address, "llama3.1:8b")
    assert "s3cret" not in str(raised.value)


def test_the_api_key_comes_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("OLLAMA_API_KEY", "key-1")
    with find_server(server.url).open_http(5) as http:
        http.post("/api/show", json={"model": "llama3.1:8b"})
    assert server.headers[-1]["authorization"] == "Bearer key-1"


def test_the_test_server_speaks_what_the_ollama_package_understands(server):
    import ollama

    client, asked = ollama.Client(host=server.url), [{"role": "user", "content": "Bonjour à tous"}]
    whole = client.chat("llama3.1:8b", asked)
    assert whole.message.content == "Bonjour à tous" and whole.done and whole.done_reason == "stop"
    pieces = list(client.chat("llama3.1:8b", asked, stream=True))
    assert "".join(piece.message.content for piece in pieces) == "Bonjour à tous"
    assert [piece.done for piece in pieces] == [False, False, True]
    assert {model.model for model in client.ps().models} == {model.model for model in client.list().models}
    with pytest.raises(ollama.ResponseError) as raised:
        client.chat("missing", asked)
    assert raised.value.status_code == 404
