"""Streamlit as an ASGI application: no telemetry, no page of another site, no address but its own."""

import logging
import os
import re
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.web.bootstrap import load_config_options

from affinage.app.opened import Choice
from affinage.app.words import say
from affinage.escaping import content_hash
from affinage.serving import LOOPBACK

log = logging.getLogger(__name__)
CHOICE = "AFFINAGE_APP"  # the choice of the command line, for the pages' script
SCRIPT = Path(__file__).with_name("main.py")
UPLOAD_MB = 50  # of one file, in megabytes
OPTIONS = {
    "browser.gatherUsageStats": False,
    "browser.serverAddress": "localhost",  # else Streamlit asks the internet for this machine's address
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "global.developmentMode": False,
    "logger.hideWelcomeMessage": True,
    "logger.level": "error",
    "runner.fastReruns": False,  # else a page is drawn again before what it interrupts has ended
    "server.enableCORS": True,
    "server.enableStaticServing": False,
    "server.enableXsrfProtection": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxUploadSize": UPLOAD_MB,
}
# Whatever an answer or a document should make a page do, the browser fetches nothing from anywhere else.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws://{host} wss://{host}; "
    "media-src 'self' blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'"
)
COMPARISONS = "/comparisons/"


def create_app(choice: Choice, local_only: bool = True) -> Any:
    """The application for a choice; with `local_only` it answers no request that names another host than this machine.

    The pages' script reads the choice from the environment, which is set here. Nothing in a config.toml of Streamlit
    outweighs OPTIONS.
    """
    os.environ[CHOICE] = choice.to_json()
    load_config_options(OPTIONS)
    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])] if local_only else []
    pages = Route(COMPARISONS + "{name}", _comparison_in(Path(choice.results) / "comparisons"))
    guards = [*middleware, Middleware(OwnPagesOnly)]
    return st.App(SCRIPT, middleware=guards, routes=[pages], on_script_error=_tell_of_bug)


def _tell_of_bug(error: Exception) -> bool:
    """Says in the page that the application itself failed; what it was stands in the log."""
    log.error("the page failed", exc_info=error)
    st.error(say("bug"), icon=":material/error:")
    return True


class OwnPagesOnly:
    """Refuses what another site's page asks for, and tells the browser to fetch nothing from elsewhere."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._scripts = app, _scripts_of_streamlit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if origin and origin.partition("://")[2] != host:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": "another site's page"})
            else:
                await PlainTextResponse("another site's page", 403)(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(b"referrer-policy", b"no-referrer"), (b"x-content-type-options", b"nosniff")]
                if not scope["path"].startswith(COMPARISONS):  # those pages bring a stricter policy of their own
                    policy = POLICY.format(host=host, scripts=self._scripts)
                    added.append((b"content-security-policy", policy.encode("latin-1")))
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        await self._app(scope, receive, send_with_policy)


def _scripts_of_streamlit() -> str:
    """The scripts inside Streamlit's own page, as the policy names them."""
    html = Path(st.__file__).with_name("static").joinpath("index.html").read_text(encoding="utf-8")
    return " ".join(content_hash(script) for script in re.findall(r"<script>(.*?)</script>", html, re.DOTALL))


def _comparison_in(folder: Path) -> Any:
    async def comparison(request: Request) -> Response:
        """A page that make compare or the Runs page wrote."""
        path = folder / Path(request.path_params["name"]).name
        if path.suffix != ".html" or not path.is_file():
            return PlainTextResponse("no such comparison", 404)
        return FileResponse(path, media_type="text/html", headers={"cache-control": "no-store"})

    return comparison
