"""A file that somebody uploads as numbered pages of text; every limit holds before or while it is read."""

import hashlib
import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from charset_normalizer import from_bytes

from affinage.curation.formats.encodings import MARKS, OLDER, SIGN_IN_WORD, beginning
from affinage.documents import parsing
from affinage.errors import AffinageError, Problem

MAX_BYTES = 50 * 2**20  # of a file; 200 MB of PDF are scans or pictures
SECONDS = 120  # for parsing one file, in a process of its own
KINDS = {".pdf": "pdf", ".docx": "docx", ".txt": "text", ".md": "text", ".markdown": "text"}
ALLOWED = "PDF, DOCX, TXT and Markdown files"
# Invisible signs that carry no text for a reader and may carry one for a model (tags U+E0000), and soft hyphens.
INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\xad\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)


@dataclass(frozen=True)
class Page:
    """Text of a page; `number` counts from 1, None where the format has no pages."""

    number: int | None
    text: str


@dataclass(frozen=True)
class Document:
    """A file that was read: the name it was given, SHA-256 of its bytes in hexadecimal, its pages that hold text.

    `empty_pages` are the numbers of those that hold none, such as scans.
    """

    name: str
    digest: str
    pages: tuple[Page, ...]
    empty_pages: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The text of all pages, with an empty line between them."""
        return "\n\n".join(page.text for page in self.pages)


def read(name: str, content: bytes) -> Document:
    """The text of a PDF, DOCX, TXT or Markdown file, which the ending of its name tells; nothing is written to disk.

    Raises AffinageError naming the file when it is too large, empty, encrypted, scanned, broken, or of another kind
    than its name says.
    """
    name = PurePath(name.replace("\\", "/")).name or "?"
    kind = KINDS.get(PurePath(name).suffix.lower())
    if kind is None:
        raise _refused(name, "is of a kind that cannot be read.", "Save it as one of these.", ALLOWED)
    if len(content) > MAX_BYTES:
        found = f"is {len(content) / 2**20:.0f} MiB large."
        raise _refused(name, found, "Split it, or save it without pictures.", f"at most {MAX_BYTES // 2**20} MiB")
    if not content.strip():
        raise _refused(name, "is empty.", "Choose a file that holds text.")
    _check_kind(name, kind, content)
    texts = [_decode(name, content)] if kind == "text" else _parse(name, kind, content)
    return _document(name, content, [_clean(text) for text in texts], numbered=kind == "pdf")


def _document(name: str, content: bytes, texts: list[str], numbered: bool) -> Document:
    if sum(map(len, texts)) > parsing.MAX_CHARACTERS:
        raise _refused(name, parsing.TOO_LONG, "Split it.")
    pages = tuple(Page(n if numbered else None, text) for n, text in enumerate(texts, start=1) if text)
    if not pages:
        remedy = "Let a program for text recognition (OCR) read it, and choose what that writes."
        scanned = f"has {len(texts)} pages and no text in them: it was probably scanned."
        raise _refused(name, scanned, remedy) if numbered else _refused(name, "holds no text.", "Choose another file.")
    empty = tuple(n for n, text in enumerate(texts, start=1) if not text) if numbered else ()
    return Document(name, hashlib.sha256(content).hexdigest(), pages, empty)


def _check_kind(name: str, kind: str, content: bytes) -> None:
    begins = {"pdf": b"%PDF-" in content[:1024], "docx": content.startswith(b"PK")}
    seen = beginning(content[:1024])
    if begins.get(kind, not seen):
        return
    if kind == "docx" and content.startswith(b"\xd0\xcf\x11\xe0"):
        raise _refused(name, "has a password, or is an old Word file (.doc).", "Save it as DOCX without a password.")
    found = f"is no {'text' if kind == 'text' else kind.upper()} file" + (f" but {seen}." if seen else ".")
    raise _refused(name, found, "Give it its right name, or save it again.")


def _parse(name: str, kind: str, content: bytes) -> list[str]:
    """The pages that a process of its own finds: whatever a broken or hostile file does, it ends there."""
    command = [sys.executable, "-P", "-m", parsing.__name__, kind]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _refused(name, f"could not be read in {SECONDS} s.", "Split it, or save it again.") from error
    try:
        reply = json.loads(done.stdout)
    except ValueError as error:
        raise _refused(name, "is broken: reading it failed.", "Open it and save it again.") from error
    if problem := reply.get("problem"):
        raise _refused(name, *problem)
    return list(reply["pages"])


def _decode(name: str, content: bytes) -> str:
    """The text in the encoding that a mark names, else UTF-8, else one of the older ones that fits its accents."""
    marked = next((encoding for mark, encoding in MARKS if content.startswith(mark)), "")
    attempts: tuple[Callable[[], str], ...] = (lambda: content.decode(marked or "utf-8"), lambda: _older(content))
    if b"\0" in content and not marked:
        raise _refused(name, "is no text: it holds NUL bytes.", "Save it as text in UTF-8.")
    for attempt in attempts:
        try:
            return attempt()
        except UnicodeError:
            continue
    raise _refused(
        name, "is text in an encoding that cannot be told.", "Save it in UTF-8.", f"UTF-8, {', '.join(OLDER)}"
    )


def _older(content: bytes) -> str:
    best = from_bytes(content[: 2**17], cp_isolation=list(OLDER)).best()
    if best is None:
        raise UnicodeError
    text = content.decode(best.encoding)
    if len(SIGN_IN_WORD.findall(text)) > sum(not character.isascii() for character in text) / 10:
        raise UnicodeError
    return text


def _clean(text: str) -> str:
    """Composed characters, ligatures as letters, nothing invisible."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of characters in broken files
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = INVISIBLE.sub("", re.sub("[\ufb00-\ufb06]", lambda found: unicodedata.normalize("NFKC", found[0]), text))
    return "\n".join(line.rstrip() for line in text.split("\n")).strip()


def _refused(name: str, found: str, remedy: str, allowed: str = "") -> AffinageError:
    return AffinageError(Problem(name, found, allowed, remedy))
