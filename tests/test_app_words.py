"""Every text that the pages show stands in wording.py, in both languages."""

import ast
import re
import string

import pytest

from affinage.app.wording import WORDS
from affinage.paths import ROOT

PAGES = sorted((ROOT / "src" / "affinage" / "app").glob("*.py"))
# What Streamlit shows of its arguments.
SHOWN = {"label", "help", "placeholder", "body", "text", "title", "message"}
SHOWING = set(
    "title header subheader caption markdown write text error warning info success toast button download_button "
    "link_button text_input number_input slider selectbox multiselect segmented_control toggle checkbox radio "
    "chat_input file_uploader expander spinner progress status metric Page".split()
)


def texts_shown(tree):
    """Literal words that a page would show without asking for them in the visitor's language."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr in SHOWING and getattr(call.func.value, "id", "") != "log":
            shown = [*call.args[:2], *(word.value for word in call.keywords if word.arg in SHOWN)]
            yield from (text for part in shown for text in literals(part))


def literals(node):
    """The words in a literal or an f-string, without icons and marks."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        parts = [node.value]
    elif isinstance(node, ast.JoinedStr):
        parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
    else:
        return
    yield from (part for part in parts if re.search(r"[^\W\d_]{2}", re.sub(r":material/\w+:", "", part)))


def fields(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


@pytest.mark.parametrize("key", WORDS)
def test_a_text_is_there_in_both_languages_with_the_same_values(key):
    english, french = WORDS[key]
    assert english.strip() == english and french.strip() == french and english and french
    assert fields(english) == fields(french)


def test_no_page_shows_a_text_of_its_own():
    assert {
        path.name: found for path in PAGES if (found := list(texts_shown(ast.parse(path.read_text("utf-8")))))
    } == {}


def test_a_text_of_its_own_would_be_seen():
    page = (
        'st.button("Go on")\nst.error(f"{n} rows")\nst.text_input(say("x"), placeholder="such as")\nst.title(say("y"))'
    )
    assert list(texts_shown(ast.parse(page))) == ["Go on", " rows", "such as"]


def test_every_text_is_used_and_every_text_asked_for_is_there():
    source = "\n".join(path.read_text("utf-8") for path in PAGES if path.name != "wording.py")
    asked = set(re.findall(r'\bsay\(\s*"(\w+)"', source)) | set(re.findall(r'show_error\([^"]*"(\w+)"', source))
    assert asked <= set(WORDS)
    begun = set(re.findall(r'\bsay\(f"(\w+)\{', source))
    unused = {key for key in WORDS if not re.search(f"""["']{key}["']""", source) and not key.startswith(tuple(begun))}
    assert unused - {"language"} == set()
