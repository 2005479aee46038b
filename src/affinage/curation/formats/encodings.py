"""Text files as lines: which encoding, which line is broken, and never a line too long for memory."""

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from charset_normalizer import from_bytes

from affinage.curation.formats.records import MAX_CHARS, broken
from affinage.errors import AffinageError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What spreadsheets on Windows, old Macs and DOS write; latin-1 differs from cp1252 only in control characters.
OLDER = {"cp1252": "cp1252 (Windows, latin-1)", "mac_roman": "mac_roman (Mac)", "cp850": "cp850 (DOS)"}
BEGINNINGS = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"PK\x03\x04": "a zip archive (XLSX, ODS and DOCX files are such)",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"%PDF": "a PDF document",
    b"PAR1": "a Parquet table",
    b"SQLite format 3": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an old Office file (.xls, .doc) or one with a password",
}
SAVE_AS_UTF8 = "Save the whole file as UTF-8."
# A sign such as ‚ or ƒ between two letters: the text was decoded with the wrong table.
SIGN_IN_WORD = re.compile(r"(?<=[a-zA-Z])[^\w\s\x00-\x7f’‘·–—…°«»](?=[a-zA-Z])")
SAMPLE_BYTES = 2**17


def head(path: Path, size: int = 2**13) -> bytes:
    """The first bytes of a file. Raises AffinageError when it is empty or may not be read."""
    with open_binary(path) as file:
        start = file.read(size)
    if not start:
        raise broken(path, None, "the file is empty.", "Name a file that holds rows.")
    return start


def open_binary(path: Path) -> IO[bytes]:
    """The file, open for reading. Raises AffinageError when the system refuses."""
    try:
        return path.open("rb")
    except OSError as error:
        raise broken(path, None, f"cannot be opened: {error.strerror}.", "Check the name and the rights.") from error


def open_text(path: Path, encoding: str, newline: str) -> IO[str]:
    """The file, open for reading as text. Raises AffinageError when the system refuses."""
    return io.TextIOWrapper(open_binary(path), encoding=encoding, newline=newline)


def beginning(start: bytes) -> str:
    """What kind of binary file starts with these bytes, in words; "" for none that we know."""
    return next((kind for magic, kind in BEGINNINGS.items() if start.startswith(magic)), "")


def refuse_binary(path: Path, expected: str) -> None:
    """Raises AffinageError when the file is empty or begins like something that is no text."""
    start = head(path)
    kind = beginning(start)
    if kind:
        raise broken(path, None, f"holds {kind}, not {expected}.", "Give the file its right name, or unpack it.")
    if b"\0" in start and not _mark(start):
        line = start[: start.index(b"\0")].count(b"\n") + 1
        raise broken(path, line, f"holds NUL bytes: a binary file, not {expected}.", SAVE_AS_UTF8)


def marked_encoding(path: Path) -> str:
    """The encoding that the byte order mark names, else "utf-8"."""
    return _mark(head(path)) or "utf-8"


def _mark(start: bytes) -> str:
    return next((encoding for mark, encoding in MARKS if start.startswith(mark)), "")


def find_encoding(path: Path) -> tuple[str, str]:
    """The encoding of a text file, and a sentence about it when it is not plain UTF-8.

    Raises AffinageError for a file that mixes encodings, naming the line, and for one whose encoding is unclear.
    """
    refuse_binary(path, "text")
    marked = marked_encoding(path)
    if marked != "utf-8":
        return marked, f"encoding {marked.removesuffix('-sig').upper()}, by its byte order mark"
    if _is_utf8(path):
        return "utf-8", ""
    utf8_line, other_line, sample = _classify_lines(path)
    if utf8_line:
        found = f"not UTF-8, while line {utf8_line} is: the file mixes encodings."
        raise broken(path, other_line, found, SAVE_AS_UTF8)
    encoding = _guess(sample)
    if not encoding:
        raise broken(path, other_line, "not UTF-8, and no other encoding fits.", SAVE_AS_UTF8, ", ".join(OLDER))
    return encoding, f"encoding {OLDER[encoding]}, guessed from its accents"


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_binary(path) as file:
        try:
            for chunk in iter(lambda: file.read(2**20), b""):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _classify_lines(path: Path) -> tuple[int, int, bytes]:
    """The first line with accents in UTF-8, the first that is not UTF-8 (0 for none), and a sample of the latter."""
    utf8_line = other_line = 0
    sample = b""
    with open_binary(path) as file:
        for n, line in enumerate(iter(lambda: file.readline(MAX_CHARS + 1), b""), start=1):
            if len(line) > MAX_CHARS:
                raise too_long(path, n)
            try:
                line.decode()
                utf8_line = utf8_line or (0 if line.isascii() else n)
            except UnicodeDecodeError:
                other_line = other_line or n
                if len(sample) < SAMPLE_BYTES:
                    sample += line[:SAMPLE_BYTES]
    return utf8_line, other_line, sample


def _guess(sample: bytes) -> str:
    best = from_bytes(sample, cp_isolation=list(OLDER)).best()
    if best is None:
        return ""
    text = sample.decode(best.encoding)
    accents = sum(not character.isascii() for character in text)
    return "" if len(SIGN_IN_WORD.findall(text)) > accents / 10 else best.encoding


def text_start(path: Path, encoding: str, characters: int) -> str:
    """The first characters of a text file. Raises AffinageError when they are not in its encoding."""
    with open_text(path, encoding, "") as file:
        try:
            return file.read(characters)
        except UnicodeDecodeError as error:
            raise undecodable(path, encoding) from error


def text_lines(path: Path, encoding: str, newline: str = "\n") -> Iterator[str]:
    """The lines of a text file, with their ends. Raises AffinageError naming a line that is broken or too long."""
    with open_text(path, encoding, newline) as file:
        try:
            for n, line in enumerate(iter(lambda: file.readline(MAX_CHARS + 1), ""), start=1):
                if len(line) > MAX_CHARS:
                    raise too_long(path, n)
                if "\0" in line:
                    raise broken(path, n, "holds a NUL byte.", SAVE_AS_UTF8)
                yield line
        except UnicodeDecodeError as error:
            raise undecodable(path, encoding) from error


def too_long(path: Path, line: int) -> AffinageError:
    """The error for a line that is longer than any text should be."""
    found = f"the line is longer than {MAX_CHARS // 2**20} MiB."
    return broken(path, line, found, "Put one record on each line, and cut texts that long.")


def undecodable(path: Path, encoding: str) -> AffinageError:
    """The error for a file that is not in its encoding, with the first line that is not."""
    decoder, line = codecs.getincrementaldecoder(encoding)(), 1
    with open_binary(path) as file:
        for chunk in iter(lambda: file.read(2**16), b""):
            try:
                line += decoder.decode(chunk).count("\n")
            except UnicodeDecodeError as error:
                line += bytes(error.object[: error.start]).count(b"\n")
                break
    name = encoding.removesuffix("-sig").upper()
    return broken(path, line, f"not {name}: the file mixes encodings or is cut.", SAVE_AS_UTF8)
