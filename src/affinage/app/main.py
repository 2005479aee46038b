"""The script that Streamlit runs for every visitor: language, navigation, and the page that was chosen."""

from pathlib import Path

import streamlit as st

from affinage.app import chat_page, documents_page, runs_page, summaries_page
from affinage.app.words import choose_language, say

# An icon by name would be fetched from the internet.
ICON = str(Path(__file__).parent / "templates" / "icon.svg")
STYLE = """<style>
[data-testid="stText"], [data-testid="stText"] * { overflow-wrap: anywhere; font-family: inherit; }
[data-testid="stMainBlockContainer"] { padding-top: 3.5rem; max-width: 72rem; }
</style>"""


def main() -> None:
    """Draws the page that the address names."""
    st.set_page_config(page_title="Affinage", page_icon=ICON, layout="wide")
    st.html(STYLE)
    choose_language()
    pages = [
        st.Page(chat_page.show, title=say("chat"), icon=":material/chat:", url_path="chat", default=True),
        st.Page(documents_page.show, title=say("documents"), icon=":material/find_in_page:", url_path="documents"),
        st.Page(summaries_page.show, title=say("summaries"), icon=":material/summarize:", url_path="summaries"),
        st.Page(runs_page.show, title=say("runs"), icon=":material/monitoring:", url_path="runs"),
    ]
    st.navigation(pages).run()


main()
