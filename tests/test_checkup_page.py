"""The page of a data check: escaped, self-contained, without personal data, and the only thing that is written."""

import json
from html.parser import HTMLParser

import pytest

from affinage.curation.checkup import check_dataset
from affinage.curation.checkup_page import render, word_differences, write_checkup

EMAIL, KEY = "marie.durand@mairie-exemple.fr", "hf_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"
SCRIPT = "<script>alert('oui')</script>"


@pytest.fixture
def data(tmp_path):
    """Rows with a script in every column, an address and a key; the test repeats a question of the training."""
    texts = ("instruction", "input", "output", "id", "group", "label", "source", "label_model")
    hostile = dict.fromkeys(texts, SCRIPT)
    rows = [
        hostile,
        hostile | {"id": "2", "output": f"{SCRIPT} encore"},
        {"instruction": f"Qui est {EMAIL} ?", "output": f"{KEY}<br>{EMAIL}", "id": EMAIL, "source": EMAIL},
        {"instruction": f"Qui est {EMAIL} ?", "output": f"{KEY}<br>{EMAIL}", "id": "4"},
    ]
    (tmp_path / "data").mkdir()
    for name, part in {"train": rows, "test": [rows[0], rows[2]]}.items():
        path = tmp_path / "data" / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    return tmp_path / "data"


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_the_page_escapes_data_and_asks_nothing_of_the_network(data):
    page = render(check_dataset("<b>tâche</b>", str(data)))
    tags = Tags(page).found
    assert {"script", "img", "link", "iframe"}.isdisjoint(tag for tag, _ in tags)
    assert "&lt;script&gt;" in page and SCRIPT not in page and "<b>tâche" not in page
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "src"]
    links = [attributes["href"] for _, attributes in tags if "href" in attributes]
    assert links and all(link.startswith("#") for link in links)
    assert "url(" not in page and "@import" not in page
    assert {link[1:] for link in links} <= {attributes["id"] for _, attributes in tags if "id" in attributes}


def test_what_is_written_shows_no_personal_data(data, tmp_path):
    page = write_checkup(check_dataset("archives", str(data)), tmp_path / "results")
    written = page.read_text(encoding="utf-8") + (page.parent / "checkup.json").read_text(encoding="utf-8")
    assert EMAIL not in written and KEY not in written and "marie.durand" not in written
    assert "m***@***.fr" in written and "hf***" in written


def test_nothing_is_written_but_the_page_and_its_figures(data, tmp_path):
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    page = write_checkup(check_dataset("archives", str(data)), tmp_path / "results")
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: after[path] for path in before} == before
    assert page == tmp_path / "results" / "data" / "archives" / "checkup.html"
    assert set(after) - set(before) == {page, page.with_name("checkup.json")}
    figures = json.loads(page.with_name("checkup.json").read_text(encoding="utf-8"))
    assert figures["rows"] == {"train": 4, "test": 2}


@pytest.mark.parametrize(
    ("first", "second"), [("Le chat dort.", "Le chien dort !"), ("", "a"), ("a  b\nc", "a b\tc"), ("x", "x")]
)
def test_marked_pieces_join_to_the_texts_and_what_is_unmarked_is_the_same(first, second):
    left, right = word_differences(first, second)
    assert ("".join(text for text, _ in left), "".join(text for text, _ in right)) == (first, second)
    assert "".join(text for text, differs in left if not differs) == "".join(text for text, d in right if not d)
