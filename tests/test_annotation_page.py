"""The sheet as a page in the browser: nothing runs that should not, and what is filled in comes out as a sheet."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from affinage.calibration.page import render, write_page
from affinage.calibration.sheet import COLUMNS, guarded, read_lines, unguarded
from affinage.judging.rubrics import load_rubric

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
HOSTILE = '<img src=x onerror="document.title=\'hit\'"></script><script>document.title="hit"</script><!--'
RUBRIC = load_rubric("note-0-100", "score")


def page_lines(n=4):
    answers = [HOSTILE, "=1+1", 'said "é",\nthen left', "last"]
    texts = [dict.fromkeys(COLUMNS, f"text {i}") | {"answer": guarded(answers[i % 4])} for i in range(n)]
    return [line | {"item": "bcdfg"[i], "input": "", "score": "", "comment": ""} for i, line in enumerate(texts)]


def test_the_page_holds_no_address_and_texts_are_no_elements(tmp_path):
    html = render("sheet", page_lines(), RUBRIC)
    assert not re.search(r"https?:|@import|url\(|<img|<link", html)
    assert html.count("<script") == 2 and html.count("</script>") == 2
    assert "default-src 'none'; script-src 'sha256-" in unescape(html) and RUBRIC.levels[75].split(";")[0] in html


def played(tmp_path, steps):
    """What the page shows and would download after these steps, which run in it after its own script."""
    html = render("sheet", page_lines(), RUBRIC)
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)  # else no script of a test would run
    capture = """<script>
      const press = (key, target = document.body) =>
        target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      const type = (id, text) => {
        const field = document.getElementById(id);
        field.value = text;
        field.dispatchEvent(new Event("input", { bubbles: true }));
      };
      const out = document.createElement("pre");
      out.id = "out";
      URL.createObjectURL = (blob) => {
        blob.text().then((text) => { out.textContent = JSON.stringify(text); document.body.append(out); });
        return "#";
      };
      HTMLAnchorElement.prototype.click = () => {};
      STEPS
    </script></body>"""
    page = tmp_path / "page.html"
    page.write_text(html.replace("</body>", capture.replace("STEPS", steps)), encoding="utf-8")
    return look(page)


def look(page):
    """The page after its script ran, without a complaint in the browser's console."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--enable-logging=stderr"]
    command = [BROWSER, *flags, f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in done.stderr
    return done.stdout


@needs_browser
def test_the_page_runs_under_its_own_policy_and_hostile_texts_are_text(tmp_path):
    write_page(tmp_path / "sheet.html", "sheet", page_lines(), RUBRIC)
    html = look(tmp_path / "sheet.html")
    assert "0 of 4 scored" in html and '<p id="answer">&lt;img src=x' in html
    assert "<title>Score 4 answers</title>" in html and "<img" not in html
    assert re.findall(r'<button type="button" value="(\d+)"', html) == ["0", "25", "50", "75", "100"]


@needs_browser
def test_scores_given_by_key_and_typed_are_in_the_sheet_that_is_downloaded(tmp_path):
    html = played(
        tmp_path,
        """press("4"); press("Enter"); type("score", "12,5"); type("comment", "=bad"); press("ArrowRight");
        type("score", "101"); press("ArrowRight"); press("1");
        for (let back = 0; back < 4; back += 1) press("ArrowLeft");
        type("name", "É. Bob/"); document.getElementById("download").click();""",
    )
    assert "3 of 4 scored" in html and "Answer 1 of 4" in html
    assert "Downloaded as sheet-É-Bob.csv; 1 answers have no score yet." in html
    text = json.loads(re.search(r'<pre id="out">(.*?)</pre>', html)[1].replace("&lt;", "<").replace("&gt;", ">"))
    (tmp_path / "sheet.csv").write_bytes(text.encode())
    read = [line for _, line in read_lines(tmp_path / "sheet.csv")]
    assert [(line["score"], line["comment"]) for line in read] == [("75", ""), ("12,5", "=bad"), ("", ""), ("0", "")]
    assert [line["answer"] for line in read] == [unguarded(line["answer"]) for line in page_lines()]
    assert ",=bad" not in text


@needs_browser
def test_a_page_that_was_closed_remembers_its_scores(tmp_path):
    played(tmp_path, 'press("5");')
    html = played(tmp_path, 'press("ArrowRight");')
    assert "1 of 4 scored" in html and "Answer 2 of 4" in html
    assert '<p id="answer">=1+1</p>' in html  # without the sheet's guard against formulas


def test_a_page_replaces_an_older_one_whole(tmp_path):
    path = tmp_path / "pages" / "sheet.html"
    for n in (2, 3):
        write_page(path, "sheet", page_lines(n), RUBRIC)
    assert "Score 3 answers" in path.read_text(encoding="utf-8") and [p.name for p in path.parent.iterdir()] == [
        path.name
    ]
