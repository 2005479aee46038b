"""tools/app.py as a process of its own, and Chromium that looks at it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

SCRIPT = Path(__file__).parent.parent / "tools" / "app.py"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DESKTOP, PHONE = (1280, 900), (360, 780)
WAIT_MS = 60_000


@contextmanager
def opened(*arguments, **environment):
    """The address of the application; it must end by itself after Ctrl-C."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments), "--port", "0"]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings) as process:
        try:
            first = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+", first)
            assert found, process.stderr.read()[-3000:]
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130), said[-3000:]


class Visitor:
    """One person's browser: its page, what its console said, and every host that it asked for something."""

    def __init__(self, browser, url, size=DESKTOP, locale="en-GB"):
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, locale=locale, accept_downloads=True
        )
        self.context.set_default_timeout(WAIT_MS)
        self.url, self.size, self.console, self.hosts = url, size, [], set()
        self.context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("pageerror", lambda error: self._said("error", str(error)))
        self.page.goto(url)
        self.page.get_by_role("heading", level=1).wait_for()

    def _said(self, kind, text):
        if kind == "error":
            self.console.append(text)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.context.close()

    def go(self, page, title=None):
        """To another page, by the menu."""
        if self.size == PHONE:
            self.page.get_by_test_id("stExpandSidebarButton").click()
        self.page.get_by_role("link", name=page).click()
        if self.size == PHONE:
            self.page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
        self.page.get_by_role("heading", name=title or page, level=1).wait_for()
        self.idle()

    def idle(self):
        """Waits until the page is drawn."""
        self.page.locator("[data-test-script-state='notRunning']").wait_for(state="attached")

    def ask(self, question):
        box = self.page.get_by_test_id("stChatInputTextArea")
        box.fill(question)
        before = self.page.get_by_test_id("stChatMessageAvatarUser").count()
        box.press("Enter")
        self.page.get_by_test_id("stChatMessageAvatarUser").nth(before).wait_for()

    def answers(self, n=1):
        """The locators of the last `n` answers, after the model has ended."""
        self.page.get_by_role("button", name=re.compile("^(Stop|Arrêter)$")).wait_for(state="detached")
        self.idle()
        avatar = self.page.get_by_test_id("stChatMessageAvatarAssistant")
        told = self.page.get_by_test_id("stChatMessage").filter(has=avatar)
        return [message.get_by_test_id("stText").first for message in told.all()[-n:]]

    def until(self, holds):
        """Waits until something holds outside of the page."""
        for _ in range(WAIT_MS // 100):
            if holds():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"waited {WAIT_MS / 1000} s in vain")

    def asks_nobody_else(self):
        return self.hosts == {urlsplit(self.url).netloc}

    def fits(self):
        """Whether nothing makes the page scroll sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
