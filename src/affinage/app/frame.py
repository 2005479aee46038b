"""What every page begins with, and how it shows texts that are not its own."""

import json
import os

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from affinage.app.opened import Choice, Opened, open_choice
from affinage.app.server import CHOICE
from affinage.app.words import decimal, say
from affinage.chat import printable
from affinage.errors import AffinageError


def choice() -> Choice:
    """What the command line named."""
    return Choice(**json.loads(os.environ[CHOICE]))


def begin(title: str) -> Opened:
    """Shows the title of a page where the model speaks, and what must be known of it; stops without a model."""
    st.title(say(title), anchor=False)
    try:
        with st.spinner(say("loading")):
            opened = open_choice(choice())
    except AffinageError as error:
        show_error(error)
        st.stop()
    st.caption(say("model_is", name=escaped(opened.name)))
    if opened.is_tiny:
        st.warning(say("tiny", millions=decimal((opened.parameters or 0) / 1e6)), icon=":material/science:")
    if opened.sent_to:
        st.warning(say("sent_away", where=escaped(opened.sent_to)), icon=":material/cloud_upload:")
    return opened


def plain(text: str, where: DeltaGenerator | None = None) -> None:
    """Shows a text of a model, a document or a person as it is: nothing in it is markup, a link or a picture."""
    (where or st.container()).text(printable(text))


def escaped(text: str) -> str:
    """A short text inside one of the page's own sentences, where nothing of it is markup."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>()#+-.!|~$:&" else sign for sign in printable(text)).replace(
        "\n", " "
    )


def show_error(error: Exception | str, told: str = "went_wrong") -> None:
    """Says in the page what went wrong; the text of the error stands below, as it is."""
    with st.container(border=True):
        st.error(say(told), icon=":material/error:")
        plain(reason(error) if isinstance(error, Exception) else error)


def reason(error: Exception) -> str:
    """What to tell of an error: the words of one that a person can mend, or the kind and the words of another."""
    return str(error) if isinstance(error, AffinageError) else f"{type(error).__name__}: {error}"
