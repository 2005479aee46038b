"""What reaches the application and what does not, and what its command refuses before it starts."""

import os
import runpy
import subprocess
import sys

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from affinage.app.opened import Choice
from affinage.app.server import OPTIONS, OwnPagesOnly, create_app
from affinage.errors import AffinageError
from affinage.paths import ROOT

SCRIPT = ROOT / "tools" / "app.py"


async def hello(request):
    return PlainTextResponse("hello")


async def socket(websocket):
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


@pytest.fixture
def client():
    routes = [Route("/", hello), WebSocketRoute("/socket", socket)]
    app = Starlette(routes=routes, middleware=[Middleware(OwnPagesOnly)])
    return TestClient(app, base_url="http://localhost:8501")


def test_a_page_of_another_site_is_refused_and_ones_own_is_not(client):
    assert client.get("/", headers={"origin": "http://localhost:8501"}).text == "hello"
    assert client.get("/").status_code == 200
    for origin in ("http://evil.example", "http://localhost:9999", "null"):
        assert client.get("/", headers={"origin": origin}).status_code == 403
    with client.websocket_connect("/socket", headers={"host": "localhost:8501"}) as own:
        assert own.receive_text() == "hello"
    evil = {"origin": "http://evil.example"}
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/socket", headers=evil) as other:
        other.receive_text()


def test_the_browser_is_told_to_fetch_nothing_from_elsewhere(client):
    policy = client.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'self'") and "'unsafe-eval'" not in policy
    assert "connect-src 'self' ws://localhost:8501" in policy and "http:" not in policy and "*" not in policy


def test_another_name_for_this_machine_is_refused_and_comparisons_are_served(tmp_path):
    (tmp_path / "comparisons").mkdir()
    (tmp_path / "comparisons" / "two.html").write_text("<p>two runs")
    (tmp_path / "secret.html").write_text("secret")
    app = create_app(Choice(run="last", results=str(tmp_path)))
    with TestClient(app, base_url="http://127.0.0.1") as own:
        assert own.get("/comparisons/two.html").text == "<p>two runs"
        assert own.get("/comparisons/..%2Fsecret.html").status_code in (400, 404)
        assert own.get("/_stcore/health").status_code == 200
        assert own.get("/_stcore/health", headers={"host": "evil.example"}).status_code == 400


def test_nothing_is_told_to_anybody_and_no_setting_of_the_user_changes_that(tmp_path, monkeypatch):
    from streamlit import config

    monkeypatch.setenv("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "true")
    monkeypatch.setenv("STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION", "false")
    create_app(Choice(run="last", results=str(tmp_path)))
    assert {name: config.get_option(name) for name in OPTIONS} == OPTIONS
    assert OPTIONS["browser.gatherUsageStats"] is False and OPTIONS["server.enableXsrfProtection"] is True


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (Choice(), "0 were named: none"),
        (Choice(run="last", model="x"), "2 were named: run, model"),
        (Choice(adapter="user/name"), "needs the YAML"),
        (Choice(run="last", url="http://127.0.0.1:1/v1"), "Add MODEL="),
    ],
)
def test_a_choice_that_cannot_be_opened_is_refused_before_anything_is_loaded(choice, found):
    with pytest.raises(AffinageError, match=found):
        choice.check()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--run", "nowhere"], "0 runs of that name"),
        (["--run", "last", "--port", "70000"], "0 to 65535"),
        (["--model", "m", "--url", "http://127.0.0.1:9/v1"], "no server answers there"),
    ],
)
def test_the_command_says_what_is_wrong_and_how_to_mend_it(tmp_path, monkeypatch, options, found):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AffinageError, match=found):
        runpy.run_path(str(SCRIPT))["main"](
            [*options, "--results", str(tmp_path), *([] if "--port" in options else ["--port", "0"])]
        )


def test_a_mistake_ends_with_exit_code_2_and_no_traceback(tmp_path):
    command = [sys.executable, str(SCRIPT), "--run", "last", "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert (done.returncode == 2 and "make train" in done.stderr + done.stdout) or "no run" in done.stderr
    assert "Traceback" not in done.stderr
