"""The page to ask documents: answers come with the passages they were made from."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from affinage.app.frame import begin, escaped, plain, reason, show_error
from affinage.app.hearing import Overheard, choose_one
from affinage.app.shelf import show_shelf
from affinage.app.words import language, say
from affinage.documents.answering import Source, answer
from affinage.documents.embeddings import Embedder, VectorIndex, load, models_here
from affinage.documents.passages import passages_of
from affinage.documents.reading import Document
from affinage.documents.retrieval import FOUND, Index, WordIndex
from affinage.errors import AffinageError
from affinage.speaker import Message, Speaker

log = logging.getLogger(__name__)
ASKED, INDEX = "asked_documents", "index"
BY_WORDS = ""  # instead of the name of an embedding model
QUESTION, CONDENSED = "question", "condensed"
MOST = 10  # passages that can be asked for


@dataclass
class Asked:
    """A question on documents and what came of it; `done` is False while the answer is made, or when it was stopped."""

    question: str
    searched: str = ""
    text: str = ""
    sources: Sequence[Source] = ()
    left_out: int = 0
    error: str = ""
    done: bool = False


@dataclass(frozen=True)
class How:
    """What the visitor chose: how passages are searched for, and how many."""

    model: str
    by: str
    k: int
    threshold: float
    speaker: Speaker = field(repr=False)


def show() -> None:
    """Draws the page for one visitor."""
    opened = begin("documents")
    documents = show_shelf()
    how = _choose(choose_one(opened, "documents_side"))
    asked: list[Asked] = st.session_state.setdefault(ASKED, [])
    question = st.chat_input(
        say("ask_documents"), key="documents_question", disabled=not documents, submit_mode="disable"
    )
    if not documents:
        st.info(say("no_document"), icon=":material/upload_file:")
    for n, one in enumerate(asked):
        _draw(one, n)
    if question and question.strip() and documents:
        asked.append(Asked(question))
        _answer(asked, list(documents.values()), how)
        st.rerun()
    if asked:
        st.button(say("anew"), on_click=asked.clear, icon=":material/restart_alt:")


def _choose(speaker: Speaker) -> How:
    with st.expander(say("search_settings"), icon=":material/tune:"):
        model = st.selectbox(
            say("search_by"),
            [BY_WORDS, *models_here()],
            format_func=lambda name: name or say("by_words"),
            key="embedder",
            help=say("search_by_help"),
            persist_state="session",
        )
        by = st.segmented_control(
            say("search_for"),
            [QUESTION, CONDENSED],
            default=QUESTION,
            format_func=lambda way: say(f"for_{way}"),
            key="search_for",
            required=True,
            help=say("search_for_help"),
            persist_state="session",
        )
        left, right = st.columns(2)
        k = left.slider(say("passages"), 1, MOST, FOUND, key="k", persist_state="session")
        usual = VectorIndex.threshold if model else WordIndex.threshold
        threshold = right.slider(
            say("threshold"),
            0.05,
            0.95,
            usual,
            0.05,
            key=f"threshold-{bool(model)}",
            help=say("threshold_help"),
            persist_state="session",
        )
    return How(model, by, k, threshold, speaker)


def _draw(one: Asked, n: int) -> None:
    with st.chat_message("user"):
        plain(one.question)
        if one.searched not in ("", one.question):
            st.caption(say("searched"))
            plain(one.searched)
    with st.chat_message("assistant"):
        plain(one.text)
        if one.error:
            show_error(one.error, "question_failed")
        elif not one.done:
            st.caption(say("stopped"))
        _sources(one, n)


def _sources(one: Asked, n: int) -> None:
    if one.left_out:
        st.caption(say("passages_left_out", n=one.left_out))
    for source in one.sources:
        passage = source.passage
        where = say("page", n=passage.page) if passage.page else ""
        score = say("score", score=source.score)
        title = f"[{source.number}] {escaped(passage.file)}" + (f", {where}" if where else "") + f" · {score}"
        with st.expander(title, key=f"source-{n}-{source.number}"):
            if source.context:
                st.caption(say("context"))
                plain(source.context)
                st.caption(say("passage"))
            plain(passage.text)
            if source.shortened:
                st.caption(say("shortened", n=len(source.quoted)))


def _answer(asked: list[Asked], documents: Sequence[Document], how: How) -> None:
    """Searches and streams the answer; leaving or stopping ends it."""
    one = asked[-1]
    with st.chat_message("user"):
        plain(one.question)
    with st.chat_message("assistant"):
        spot = st.empty()
        spot.caption(say("waiting"))
    st.button(say("stop"), key="stop", icon=":material/stop_circle:")

    def heard(piece: str) -> None:
        if not one.text:  # a page that draws notices that it was left, while a question is condensed too
            spot.caption(say("waiting"))

    try:
        speaker = Overheard(how.speaker, heard)
        made = answer(
            one.question,
            _index(documents, how.model),
            speaker,
            language=language(),
            history=_history(asked[:-1]),
            condense=how.by == CONDENSED,
            k=how.k,
            threshold=how.threshold,
        )
        one.searched, one.sources, one.left_out = made.searched, made.sources, made.left_out
        for piece in made.pieces:
            one.text += piece
            if one.text:
                plain(one.text, spot)
        one.done = True
    except Exception as error:
        if not isinstance(error, AffinageError):
            log.exception("the model failed")
        one.error = reason(error)


def _history(asked: Sequence[Asked]) -> list[Message]:
    return [
        message
        for one in asked
        if one.text
        for message in (
            {"role": "user", "content": one.question},
            {"role": "assistant", "content": one.text},
        )
    ]


def _index(documents: Sequence[Document], model: str) -> Index:
    """The index of these documents, kept for the visitor's next question."""
    key = (tuple(document.digest for document in documents), model)
    known: tuple[Any, Index] | None = st.session_state.get(INDEX)
    if known is None or known[0] != key:
        passages = passages_of(documents)
        index = VectorIndex(passages, _embedder(models_here()[model])) if model else WordIndex(passages)
        known = st.session_state[INDEX] = (key, index)
    return known[1]


@lru_cache(maxsize=1)
def _embedder(folder: Path) -> Embedder:
    return load(folder)
