"""The pages of a PDF or DOCX file, parsed in a process of its own: python -m affinage.documents.parsing pdf < FILE.

It writes {"pages": [text]} or {"problem": [what was found, what to do]} as JSON and may hold MEMORY_BYTES.
"""

import contextlib
import io
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

MAX_PAGES = 3000
MAX_CHARACTERS = 5_000_000  # of text: some 2,500 pages of a book
MEMORY_BYTES = 2 * 2**30
MAX_UNPACKED = 200 * 2**20  # bytes of all parts of a DOCX file
MAX_RATIO = 200  # of one part; XML rarely packs better than 1:50
RATIO_FROM = 10 * 2**20  # bytes unpacked: smaller parts do no harm however well they pack
MAX_PARTS = 10_000
TOO_LONG = f"holds more than {MAX_CHARACTERS:,} characters of text."
BOMB = ("unpacks to far more than its size ({}), as a zip bomb does.", "Do not open it.")


class Refused(Exception):
    """What was found and what to do."""


def pdf_pages(content: bytes) -> list[str]:
    """The text of every page, "" for one without. Raises Refused for a file that is encrypted or too long."""
    from pypdf import PasswordType, PdfReader

    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise Refused("is encrypted with a password.", "Save a copy without a password.")
    if len(reader.pages) > MAX_PAGES:
        raise Refused(f"has {len(reader.pages):,} pages; at most {MAX_PAGES:,} can be read.", "Split it.")
    return _bounded(page.extract_text() or "" for page in reader.pages)


def docx_text(content: bytes) -> list[str]:
    """The paragraphs and tables in order, as one page. Raises Refused for a zip bomb and a file that is too long."""
    import docx

    refuse_bomb(content)
    return ["\n\n".join(_bounded(_blocks(docx.Document(io.BytesIO(content)))))]


def refuse_bomb(content: bytes) -> None:
    """Raises Refused when a zip archive unpacks to too much; what counts are bytes unpacked, not what it claims."""
    total = 0
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if len(archive.infolist()) > MAX_PARTS:
            raise Refused(BOMB[0].format(f"{len(archive.infolist()):,} parts"), BOMB[1])
        for part in archive.infolist():
            if part.flag_bits & 1:
                raise Refused("is encrypted with a password.", "Save a copy without a password.")
            size = 0
            with archive.open(part) as stream:
                while chunk := stream.read(2**20):
                    size += len(chunk)
                    dense = size > RATIO_FROM and size > MAX_RATIO * max(1, part.compress_size)
                    if dense or total + size > MAX_UNPACKED:
                        raise Refused(BOMB[0].format(f"over {(total + size) // 2**20} MiB"), BOMB[1])
            total += size


def _blocks(document: Any) -> Iterator[str]:
    from docx.table import Table

    for block in document.iter_inner_content():
        if isinstance(block, Table):
            yield "\n".join(" | ".join(_cells(row)) for row in block.rows)
        elif block.text.strip():
            yield block.text.strip()


def _cells(row: Any) -> list[str]:
    """The texts of a row; a cell that goes over several columns comes once."""
    return [cell.text.strip() for cell in {id(cell._tc): cell for cell in row.cells}.values()]


def _bounded(texts: Iterable[str]) -> list[str]:
    found, total = [], 0
    for text in texts:
        total += len(text)
        if total > MAX_CHARACTERS:
            raise Refused(TOO_LONG, "Split it.")
        found.append(text)
    return found


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows and macOS; the parsers have limits there too
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def main(kind: str) -> None:
    """Reads a file from the standard input and writes its pages to the standard output."""
    _limit_memory()
    content = sys.stdin.buffer.read()
    try:
        reply: dict[str, object] = {"pages": pdf_pages(content) if kind == "pdf" else docx_text(content)}
    except Refused as error:
        reply = {"problem": error.args}
    except MemoryError:
        reply = {"problem": ("needs too much memory to be read.", "Split it, or save it again without pictures.")}
    except Exception as error:  # a broken file makes the parsers raise whatever there is
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        reply = {"problem": (f"is broken: {first_line}", "Open it and save it again.")}
    sys.stdout.write(json.dumps(reply))


if __name__ == "__main__":
    main(sys.argv[1])
