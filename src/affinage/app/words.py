"""Every text of the interface, in English and in French."""

import streamlit as st

from affinage.app.wording import WORDS

LANGUAGES = {"en": "English", "fr": "Français"}
LANGUAGE = "language"


def language() -> str:
    """The visitor's language: the one chosen, else that of the browser where it is French, else English."""
    return st.session_state.get(LANGUAGE) or _of_browser()


def _of_browser() -> str:
    return "fr" if (st.context.locale or "").casefold().startswith("fr") else "en"


def choose_language() -> None:
    """Shows the switch in the sidebar."""
    st.sidebar.segmented_control(
        say(LANGUAGE),
        list(LANGUAGES),
        default=_of_browser(),
        format_func=LANGUAGES.__getitem__,
        key=LANGUAGE,
        required=True,
        persist_state="session",
    )


def say(key: str, **values: object) -> str:
    """A text in the visitor's language; `values` are filled into its {names}."""
    return WORDS[key][list(LANGUAGES).index(language())].format(**values)


def decimal(value: float) -> str:
    """A number with one decimal, as the visitor's language writes it."""
    return f"{value:.1f}".replace(".", "," if language() == "fr" else ".")
