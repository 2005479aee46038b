"""The page that summarises a document longer than the model's context, part by part."""

import logging
import time
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from affinage.app.frame import begin, plain, reason, show_error
from affinage.app.hearing import Overheard, choose_one
from affinage.app.shelf import show_shelf
from affinage.app.words import language, say
from affinage.documents.reading import Document
from affinage.documents.summaries import METHODS, Step, Summary, summarise
from affinage.errors import AffinageError
from affinage.speaker import Speaker

log = logging.getLogger(__name__)
MADE = "made_summary"


@dataclass
class Made:
    """A summary of a document by one method: its steps so far, and the end when it was reached."""

    name: str
    method: str
    steps: list[Step] = field(default_factory=list)
    summary: Summary | None = None
    error: str = ""


def show() -> None:
    """Draws the page for one visitor."""
    opened = begin("summaries")
    documents = show_shelf()
    speaker = choose_one(opened, "summaries_side")
    if documents:
        document, method, asked = _choose(documents)
        if asked:
            _summarise(document, method, speaker)
            st.rerun()
    else:
        st.info(say("no_document_to_summarise"), icon=":material/upload_file:")
    if MADE in st.session_state:
        _draw(st.session_state[MADE])


def _choose(documents: dict[str, Document]) -> tuple[Document, str, bool]:
    digest = st.selectbox(
        say("which_document"), list(documents), format_func=lambda digest: documents[digest].name, key="to_summarise"
    )
    method = st.segmented_control(
        say("method"),
        METHODS,
        default=METHODS[0],
        format_func=lambda name: say(f"method_{name}"),
        key="method",
        required=True,
        help=say("method_help"),
        persist_state="session",
    )
    return documents[digest], method, st.button(say("summarise"), type="primary", icon=":material/summarize:")


def _summarise(document: Document, method: str, speaker: Speaker) -> None:
    """Shows each step while it is made; leaving or stopping ends it, and what was made so far stays."""
    made = st.session_state[MADE] = Made(document.name, method)
    bar, spot, written = st.progress(0.0, say("cutting")), st.empty(), list[str]()
    st.button(say("stop"), key="stop", icon=":material/stop_circle:")

    def heard(piece: str) -> None:
        written.append(piece)
        plain("".join(written), spot)

    started = time.monotonic()
    try:
        for step in summarise(document.text, Overheard(speaker, heard), method, language()):
            written.clear()
            if isinstance(step, Summary):
                made.summary = step
                return
            made.steps.append(step)
            if step.number == 0:
                started = time.monotonic()
            _progress(bar, step, time.monotonic() - started)
    except Exception as error:
        if not isinstance(error, AffinageError):
            log.exception("the model failed")
        made.error = reason(error)


def _progress(bar: Any, step: Step, seconds: float) -> None:
    text = say(f"step_{step.kind}", n=min(step.number + 1, step.total), total=step.total)
    if step.number:
        text += " · " + say("seconds_left", n=round(seconds / step.number * (step.total - step.number)))
    bar.progress(step.number / step.total, text)


def _draw(made: Made) -> None:
    st.subheader(say("summary_by", method=say(f"method_{made.method}")), anchor=False)
    plain(made.name)
    if made.summary:
        with st.container(border=True):
            plain(made.summary.text or say("empty_answer"))
        st.caption(say("summary_facts", parts=made.summary.parts, empty=made.summary.empty, cut=made.summary.words_cut))
        st.download_button(
            say("save_summary"), made.summary.text, "summary.txt", on_click="ignore", icon=":material/save:"
        )
    elif made.error:
        show_error(made.error, "summary_failed")
    else:
        st.caption(say("stopped"))
    done = [step for step in made.steps if step.number]
    if done:
        with st.expander(say("steps", n=len(done)), icon=":material/list:"):
            for step in done:
                st.caption(say(f"step_{step.kind}", n=step.number, total=step.total))
                plain(step.text)
