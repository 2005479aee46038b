"""The documents that one visitor uploaded: their text, in this process's memory, until the visitor leaves."""

from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from affinage.app.frame import escaped, show_error
from affinage.app.words import say
from affinage.documents.reading import KINDS, Document, read
from affinage.errors import AffinageError

SHELF = "shelf"


@dataclass
class Shelf:
    """What was read, by hash of the file's bytes, and what could not be; `uploads` counts the times files came."""

    documents: dict[str, Document] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    uploads: int = 0


def shelf() -> Shelf:
    """The visitor's own shelf; nobody else sees it."""
    return st.session_state.setdefault(SHELF, Shelf())


def show_shelf() -> dict[str, Document]:
    """Draws the upload field and what was read so far; gives the documents by their hash."""
    own = shelf()
    # A new key empties the field: the files' bytes are let go as soon as they are read.
    files = st.file_uploader(
        say("upload"), sorted(KINDS), accept_multiple_files=True, key=f"upload-{own.uploads}", help=say("upload_help")
    )
    if files:
        with st.spinner(say("reading")):
            _read(own, files)
        st.rerun()
    for text in own.refused:
        show_error(text, "refused")
    for digest, document in list(own.documents.items()):
        with st.container(horizontal=True, vertical_alignment="center", key=f"file-{digest[:12]}"):
            st.markdown(f":material/description: {escaped(document.name)}", width="content")
            st.caption(_told(document), width="content")
            st.button(
                say("remove"),
                key=f"remove-{digest}",
                on_click=_remove,
                args=(own, digest),
                type="tertiary",
                icon=":material/close:",
            )
    return own.documents


def _read(own: Shelf, files: list[Any]) -> None:
    own.uploads += 1
    own.refused.clear()
    for file in files:
        try:
            document = read(file.name, file.getvalue())
        except AffinageError as error:
            own.refused.append(str(error))
        else:
            own.documents[document.digest] = document


def _remove(own: Shelf, digest: str) -> None:
    own.documents.pop(digest, None)


def _told(document: Document) -> str:
    words = say("words_read", n=sum(len(page.text.split()) for page in document.pages))
    pages = len(document.pages) + len(document.empty_pages)
    told = [say("pages_read", n=pages), words] if document.pages[0].number else [words]
    if document.empty_pages:
        told.append(say("pages_empty", pages=", ".join(map(str, document.empty_pages[:20]))))
    return " · ".join(told)
