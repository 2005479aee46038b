"""The page of a comparison as a browser shows it: nothing runs that should not, and every control does what it says."""

import json
import re
import runpy
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from affinage.comparison.gather import find_runs, gather
from affinage.comparison.page import compare, page_path, render, write_page
from affinage.runs import write_jsonl

made = runpy.run_path(str(Path(__file__).with_name("compared_runs.py")))
make_run, questions, predictions, changed, CONFIG = (
    made[name] for name in ("make_run", "questions", "predictions", "changed", "CONFIG")
)
ROWS = questions(45)
NAMES = [f"20261120-1000{place:02d}" for place in range(12)]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
HOSTILE = '<img src=x onerror="document.title=\'hit\';alert(1)"></script><script>console.error("hit")</script><!--'


class Elements(HTMLParser):
    """Every start tag of a page with its attributes, and all text outside of scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._inside = [], "", ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, text):
        self.text += "" if self._inside else text

    def of(self, **wanted):
        return [attributes for _, attributes in self.tags if wanted.items() <= attributes.items()]


def look(page, hash_="", *more):
    """The page after its script ran, and what the browser's console said."""
    profile = page.with_name("profile")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000"]
    command = [BROWSER, *flags, "--enable-logging=stderr", "--v=0", f"--user-data-dir={profile}", *more, "--dump-dom"]
    done = subprocess.run([*command, f"{page.as_uri()}{hash_}"], capture_output=True, text=True, timeout=60, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return SimpleNamespace(dom=Elements(done.stdout), html=done.stdout, console=console)


def shown_rows(looked):
    return [attributes["data-row"] for attributes in looked.dom.of() if "data-row" in attributes]


def right_on(n):
    """Records whose tuned answer equals the reference on the first `n` rows alone."""
    return [record | {"tuned": record["reference"] if i < n else "non"} for i, record in enumerate(predictions(ROWS))]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two runs on 45 rows: A is right on the first 20, B on the first 5; the last row of B is hostile."""
    results = tmp_path_factory.mktemp("results")
    second = right_on(5)
    second[44] |= {"tuned": HOSTILE, "base": HOSTILE, "instruction": HOSTILE, "label": HOSTILE}
    first = right_on(20)
    first[44] |= {"instruction": HOSTILE, "label": HOSTILE}
    make_run(results, run_id=NAMES[0], records=first)
    make_run(results, run_id=NAMES[1], records=second, config=changed(CONFIG, trainer__learning_rate=HOSTILE))
    entries = gather(find_runs(NAMES[:2], results)[0])
    return write_page(compare(entries, [HOSTILE]), page_path(entries, "two", results))


def test_the_page_is_one_file_that_names_no_address(page):
    html = page.read_text(encoding="utf-8")
    elements = Elements(html)
    assert page.name == "two.html"
    assert [tag for tag, attributes in elements.tags if {"src", "srcset", "action"} & set(attributes)] == []
    assert [a["href"] for _, a in elements.tags if "href" in a and not a["href"].startswith("#")] == []
    assert not re.search(r"https?:|@import|url\(", html)
    (policy,) = [a["content"] for a in elements.of() if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy


def test_hostile_texts_are_no_elements_before_any_script_runs(page):
    elements = Elements(page.read_text(encoding="utf-8"))
    assert [tag for tag, _ in elements.tags if tag in ("img", "iframe", "object")] == []
    assert len([tag for tag, _ in elements.tags if tag == "script"]) == 2
    assert HOSTILE in elements.text  # the note and the setting


def test_the_data_of_the_page_holds_every_row_and_answer(page):
    script = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"))
    data = json.loads(script[1])
    assert [row["id"] for row in data["rows"]][:45] == [row["id"] for row in ROWS]
    place = [system["key"] for system in data["systems"]].index("A")
    rebuilt = []
    for row in data["rows"]:
        answer = row["answers"][place]
        rebuilt.append("".join(t for kind, t in answer["d"] if kind >= 0) if "d" in answer else row["reference"])
    assert rebuilt == [record["tuned"] for record in right_on(20)]


@needs_browser
def test_a_hostile_element_would_be_seen(tmp_path):
    # the tests below look for an element and a line of the console: here both are there to be found
    page = tmp_path / "page.html"
    quiet = HOSTILE.replace("alert(1)", "1")  # a dialog would keep the browser waiting
    page.write_text(f"<!doctype html><div>{quiet}</div>", encoding="utf-8")
    looked = look(page)
    assert "img" in [tag for tag, _ in looked.dom.tags]
    assert any("hit" in line for line in looked.console)


@needs_browser
def test_hostile_texts_are_no_elements_in_the_browser_and_nothing_complains(page):
    looked = look(page, "#row=r-44")
    assert shown_rows(looked)[-1] == "r-44"
    assert looked.console == []
    assert [tag for tag, _ in looked.dom.tags if tag in ("img", "iframe", "object")] == []
    assert len([tag for tag, _ in looked.dom.tags if tag == "script"]) == 2
    assert "<title>Comparison: voix-passive</title>" in looked.html
    assert looked.dom.text.count('alert(1)"') >= 4  # instruction, label, base, tuned, setting, note


@needs_browser
@pytest.mark.parametrize(
    ("hash_", "rows"),
    [
        ("", range(20)),
        ("#page=3", range(40, 45)),
        ("#page=99", range(40, 45)),
        ("#filter=better&run=A&against=B", range(5, 20)),
        ("#filter=better&run=B&against=A", [44]),
        ("#filter=nonsense&run=Z", range(20)),
    ],
)
def test_the_address_says_which_rows_are_shown(page, hash_, rows):
    looked = look(page, hash_)
    assert shown_rows(looked) == [f"r-{i}" for i in rows]
    assert looked.console == []


@needs_browser
def test_a_row_of_the_address_is_shown_on_its_page_and_marked(page):
    looked = look(page, "#filter=better&run=A&against=B&row=r-30")
    assert shown_rows(looked) == [f"r-{i}" for i in range(20, 40)]
    assert [a["data-row"] for a in looked.dom.of() if "target" in (a.get("class") or "")] == ["r-30"]


@needs_browser
def test_the_search_sees_past_accents_case_and_ligatures(page):
    looked = look(page, "#search=UN+COEUR+%20&order=low&hide=A")
    wanted = {row["id"] for row in ROWS if "un cœur" in row["reference"]}
    assert wanted and set(shown_rows(looked)) == wanted
    assert {a["data-system"] for a in looked.dom.of() if "data-system" in a} == {"base 1", "base 2", "B"}


@needs_browser
def test_what_differs_from_the_reference_is_marked_as_added_or_removed(page):
    better = look(page, "#filter=better&run=A&against=B")
    tags = [tag for tag, _ in better.dom.tags]
    assert "ins" in tags and "del" in tags
    assert better.dom.text.count("▲ better than B") == 15 and "▼" not in better.dom.text
    assert look(page, "#filter=worse&run=B&against=A").dom.text.count("▼ worse than A") == 15


@needs_browser
def test_the_page_is_drawn_for_desktop_and_phone_in_light_and_dark(page):
    pictures = {}
    for width, height, scheme in ((1280, 900, 1), (400, 900, 1), (1280, 900, 0)):
        picture = page.with_name(f"{width}-{scheme}.png")
        look(
            page,
            "",
            f"--window-size={width},{height}",
            f"--screenshot={picture}",
            f"--blink-settings=preferredColorScheme={scheme}",
        )
        pictures[width, scheme] = picture.read_bytes()
    assert all(len(content) > 20_000 for content in pictures.values())  # an empty page has about 5,000 bytes
    assert len(set(pictures.values())) == 3


def page_of(results, *names):
    entries = gather(find_runs(names, results)[0])
    return Elements(render(compare(entries)))


def test_one_run_alone_is_held_against_its_base_model(tmp_path):
    make_run(tmp_path, run_id=NAMES[0], records=right_on(20))
    page = page_of(tmp_path, "last")
    assert "A has the best exact match, 0.444 against 0.000 for base" in page.text
    assert "Comparable" not in page.text


def test_runs_that_cannot_be_compared_say_so_in_red_with_both_values(tmp_path):
    make_run(tmp_path, run_id=NAMES[0], records=right_on(20))
    make_run(
        tmp_path, run_id=NAMES[1], records=right_on(9), config=changed(CONFIG, prompt__template="Q: {instruction}")
    )
    page = page_of(tmp_path, *NAMES[:2])
    assert len(page.of(**{"class": "error"})) == 1
    assert "Not comparable" in page.text and "prompt template" in page.text and "Q: {instruction}" in page.text


def test_runs_without_any_answer_still_show_losses_settings_and_costs(tmp_path):
    for name in NAMES[:2]:
        make_run(tmp_path, run_id=name, status="failed")
    page = page_of(tmp_path, *NAMES[:2])
    assert "No run has scores yet." in page.text and "Rows side by side" not in page.text
    assert len(page.of(**{"data-run": "A"})) == 1 and "90 s" in page.text


def test_twelve_runs_get_a_line_a_curve_and_a_colour_each(tmp_path):
    for name in NAMES:
        folder = make_run(tmp_path, run_id=name)
        write_jsonl(folder / "predictions.jsonl", right_on(5)[:10])
    page = page_of(tmp_path, "voix-passive")
    curves = [attributes for tag, attributes in page.tags if tag == "g"]
    assert [curve["data-run"] for curve in curves] == list("ABCDEFGHIJKL")
    assert len({curve["class"] for curve in curves}) == 12
    assert len(page.of(**{"data-column": "L"})) == 1


def test_the_name_of_a_page_is_the_same_for_the_same_runs_and_no_other(tmp_path):
    entries = [make_run(tmp_path, run_id=name) for name in NAMES] and gather(find_runs(NAMES, tmp_path)[0])
    assert page_path(entries[:2], "", tmp_path).name == f"{NAMES[0]}_{NAMES[1]}.html"
    names = [page_path(chosen, "", tmp_path).name for chosen in (entries, entries[:11], entries[1:])]
    assert len(set(names)) == 3 and max(map(len, names)) < 60
