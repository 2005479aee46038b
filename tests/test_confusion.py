"""The confusion matrices and the scores by label and group on the page of a comparison, as a reader sees them."""

import re
import runpy
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from affinage.comparison.confusion import confusion_matrices
from affinage.comparison.gather import find_runs, gather
from affinage.comparison.page import compare, page_path, render, write_page

made = runpy.run_path(str(Path(__file__).with_name("compared_runs.py")))
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "<b onclick=alert(1)>mitigé"
LABELS = ["positif", "négatif", HOSTILE]
# What base and tuned answer to 12 reviews of each label: the base often names none.
BASE = {"positif": ["positif"] * 5 + ["bof"] * 7, "négatif": ["positif"] * 12, HOSTILE: ["négatif"] * 8 + ["?"] * 4}
TUNED = {"positif": ["Positif."] * 12, "négatif": ["négatif"] * 9 + ["positif"] * 3, HOSTILE: [HOSTILE] * 12}


class Cells(HTMLParser):
    """The text and the classes of every cell of the tables of a page, line by line."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.tags, self._cell = [], [], None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "table":
            self.tables.append((dict(attributes).get("class") or "", []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self._cell = [(dict(attributes).get("class") or ""), ""]
            self.tables[-1][1][-1].append(self._cell)

    def handle_endtag(self, tag):
        self._cell = None if tag in ("td", "th") else self._cell

    def handle_data(self, text):
        if self._cell is not None:
            self._cell[1] += text.strip()

    def of(self, word):
        return [[[cell[1] for cell in line] for line in lines] for name, lines in self.tables if word in name.split()]


def records(answers, group=False):
    rows = [
        {"id": f"{label}-{i}", "label": label, "reference": label, "base": BASE[label][i], "tuned": answers[label][i]}
        for label in LABELS
        for i in range(12)
    ]
    return [row | {"group": f"{HOSTILE} {i % 2}" if i < 24 else ""} if group else row for i, row in enumerate(rows)]


@pytest.fixture
def classified(tmp_path, monkeypatch):
    """Called with answers: a comparison of as many runs, scored by a suite with three labels."""
    suites = tmp_path / "suites"
    suites.mkdir()
    names = ", ".join(f"'{label}'" for label in LABELS)
    (suites / "voix-passive.yaml").write_text(f"classification: {{labels: [{names}]}}\nbootstrap: {{n: 100}}\n")
    monkeypatch.setattr("affinage.scoring.suite_file.SUITES", suites)

    def go(*runs, **options):
        ids = [f"20261120-1000{place:02d}" for place in range(len(runs))]
        for run_id, answers in zip(ids, runs, strict=True):
            made["make_run"](tmp_path / "results", run_id=run_id, records=records(answers, **options))
        return compare(gather(find_runs(ids, tmp_path / "results")[0]))

    return go


def test_each_system_has_a_matrix_whose_lines_are_all_rows_of_a_label(classified):
    base, tuned = confusion_matrices(classified(TUNED).systems)
    assert (base.key, tuned.key) == ("base", "A")
    assert base.labels == tuned.labels == [*LABELS, "(unparsed)"]
    assert [(line.label, line.n) for line in tuned.lines] == [(label, 12) for label in LABELS]
    assert [[count.n for count in line.counts] for line in base.lines] == [[5, 0, 0, 7], [12, 0, 0, 0], [0, 8, 0, 4]]
    assert [[count.n for count in line.counts] for line in tuned.lines] == [[12, 0, 0, 0], [3, 9, 0, 0], [0, 0, 12, 0]]
    assert [[count.right for count in line.counts] for line in tuned.lines] == [
        [place == column for column in range(4)] for place in range(3)
    ]


def test_the_shade_is_the_share_of_the_line_and_0_only_for_none(classified):
    base, tuned = confusion_matrices(classified(TUNED).systems)
    assert [count.shade for count in base.lines[0].counts] == [5, 0, 0, 6]  # 5 and 7 of 12, in tenths, rounded up
    assert [count.shade for count in tuned.lines[1].counts] == [3, 8, 0, 0]


def test_answers_that_all_name_a_label_need_no_column_for_the_others(classified, monkeypatch):
    monkeypatch.setitem(BASE, "positif", ["positif"] * 12)
    monkeypatch.setitem(BASE, HOSTILE, ["négatif"] * 12)
    base, _ = confusion_matrices(classified(TUNED).systems)
    assert base.labels == LABELS and all(len(line.counts) == 3 for line in base.lines)


def test_the_page_shows_matrices_labels_and_groups_with_texts_that_stay_texts(classified):
    page = Cells(render(classified(TUNED, TUNED, group=True)))
    base, first, second = page.of("matrix")
    assert first == second
    assert base[0] == ["reference", *LABELS, "(unparsed)", "rows"]
    assert base[1] == ["positif", "5", "0", "0", "7", "12"]
    assert base[2:] == [["négatif", "12", "0", "0", "0", "12"], [HOSTILE, "0", "8", "0", "4", "12"]]
    by = [lines for _, lines in page.tables if lines[0][0][1] in ("label", "group")]
    assert [[line[0][1] for line in lines[1:]] for lines in by] == [sorted(LABELS), [f"{HOSTILE} 0", f"{HOSTILE} 1"]]
    assert [line[1][1] for line in by[1][1:]] == ["12", "12"]
    assert [tag for tag, attributes in page.tags if "onclick" in attributes] == []
    links = [attributes.get("href") for tag, attributes in page.tags if tag == "a"]
    assert {"#labels", "#groups", "#confusion"} <= set(links)
    assert set(re.findall(r"shade\d+", " ".join(cell[0] for _, t in page.tables for line in t for cell in line))) > {
        "shade10"
    }


def test_runs_without_labels_have_no_matrix_and_no_link_to_one(tmp_path):
    made["make_run"](tmp_path, records=made["predictions"](made["questions"](20)))
    page = render(compare(gather(find_runs(["last"], tmp_path)[0])))
    assert 'class="matrices"' not in page and "#confusion" not in page and "#groups" not in page


@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
@pytest.mark.parametrize("scheme", [1, 0], ids=["light", "dark"])
def test_on_a_phone_the_matrices_scroll_and_the_page_does_not(classified, tmp_path, scheme):
    comparison = classified(TUNED, BASE, group=True)
    page = write_page(comparison, page_path(comparison.entries, "confusion", tmp_path))
    # The width that the page needs, told by its title, since nothing else may run in it.
    html = page.read_text(encoding="utf-8")
    wide = re.sub(r"<meta http-equiv[^>]*>", "", html) + "<script>document.title=document.body.scrollWidth</script>"
    (tmp_path / "measured.html").write_text(wide, encoding="utf-8")
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += [
        "--virtual-time-budget=3000",
        "--window-size=500,900",
        f"--blink-settings=preferredColorScheme={scheme}",
    ]
    command += [f"--screenshot={tmp_path / 'phone.png'}", "--dump-dom", (tmp_path / "measured.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(re.search(r"<title>(\d+)</title>", done.stdout)[1]) <= 500
    assert (tmp_path / "phone.png").stat().st_size > 20_000
