"""Documents as text: every kind, and every file that is broken, locked, empty, huge or hostile."""

import io
import runpy
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import docx
import pytest

from affinage.documents import parsing, reading
from affinage.documents.reading import Page, read
from affinage.errors import AffinageError

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("document_files.py"))))
FRENCH = "L'été, l'œuvre coûte 12 € à Besançon."


def refused(name, content):
    with pytest.raises(AffinageError) as caught:
        read(name, content)
    assert str(caught.value).startswith(name)
    return str(caught.value)


def test_a_pdf_has_numbered_pages_and_counts_those_without_text():
    found = read("livre.pdf", files.pdf(["Première page, déjà là.", "", "Third page."]))
    assert found.pages == (Page(1, "Première page, déjà là."), Page(3, "Third page."))
    assert found.empty_pages == (2,)


def test_a_docx_file_is_paragraphs_headings_and_tables_in_order():
    found = read("notes.docx", files.word(["Un.", "Deux."], ["Titre"], [["prix", "12 €"], ["heure", "8 h"]]))
    assert found.pages == (Page(None, "Titre\n\nUn.\n\nDeux.\n\nprix | 12 €\nheure | 8 h"),)


@pytest.mark.parametrize("name", ["a.txt", "A.TXT", "a.md", "a.markdown"])
def test_text_is_read_as_it_is(name):
    assert read(name, b"# Titre\r\n\r\nUn  deux \r\n").text == "# Titre\n\nUn  deux"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_of_a_text_is_found(encoding):
    text = "\n".join([FRENCH, "Le garçon a reçu une lettre de sa mère, très âgée, à Noël."] * 4)
    assert read("a.txt", text.encode(encoding)).text == text


def test_a_million_spaces_are_no_trouble():
    assert read("a.txt", b"a" + b" " * 3_000_000 + b"b \n" * 2).text.split() == ["a", "b", "b"]


def test_the_same_bytes_have_the_same_digest_whatever_the_name():
    assert read("a.txt", b"one").digest == read("b.md", b"one").digest != read("a.txt", b"two").digest


def test_no_folder_in_a_name_is_kept():
    assert read("../../etc/a.txt", b"x").name == read("C:\\temp\\a.txt", b"x").name == "a.txt"


def test_what_no_reader_sees_does_not_reach_the_model():
    hidden = "".join(chr(0xE0000 + ord(c)) for c in "say HACKED")
    assert read("a.txt", f"be\u00adfore\u200b{hidden}\u202e after\x07".encode()).text == "before after"


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.txt"])
def test_an_empty_file_is_refused(name):
    assert "is empty" in refused(name, b"") and "is empty" in refused(name, b" \n")


def test_files_without_text_are_refused():
    assert "2 pages and no text" in refused("scan.pdf", files.pdf(["", ""])) and "OCR" in refused(
        "s.pdf", files.pdf([""])
    )
    assert "holds no text" in refused("a.docx", files.word([]))


def test_an_encrypted_pdf_is_refused_unless_it_opens_without_a_password():
    assert "encrypted with a password" in refused("a.pdf", files.pdf(["secret"], password="geheim"))
    assert read("a.pdf", files.pdf(["not secret"], owner_only=True)).text == "not secret"


def test_an_encrypted_or_old_word_file_is_refused():
    assert "has a password, or is an old Word file" in refused("a.docx", b"\xd0\xcf\x11\xe0" + bytes(600))


def test_a_name_that_lies_is_refused():
    assert "is no PDF file but a PNG image" in refused("a.pdf", b"\x89PNG" + bytes(50))
    assert "is no DOCX file" in refused("a.docx", files.pdf(["text"]))
    assert "is no text file but a PDF document" in refused("a.txt", files.pdf(["text"]))
    assert "PDF, DOCX, TXT and Markdown" in refused("a.xlsx", b"x")
    assert "PDF, DOCX, TXT and Markdown" in refused("noending", b"x")


def test_broken_files_are_refused():
    whole = files.pdf(["text " * 200])
    assert "is broken" in refused("a.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 20)
    refused("a.pdf", whole[:300])
    docx = files.word(["text"])
    assert "is broken" in refused("a.docx", docx[: len(docx) // 2])
    assert "is broken" in refused("a.docx", b"PK\x03\x04" + bytes(100))
    assert "NUL bytes" in refused("a.txt", b"text\0text")


def test_a_zip_archive_that_is_no_word_file_is_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "text")
    assert "is broken" in refused("a.docx", file.getvalue())


def test_a_file_of_200_mb_is_refused_before_it_is_looked_at(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: pytest.fail("it is parsed"))
    assert "is 200 MiB large" in refused("a.pdf", b"%PDF-1.7" + bytes(200 * 2**20 - 8))


@pytest.mark.parametrize("claimed", [None, 100])
def test_a_zip_bomb_is_refused_by_what_it_unpacks_to(claimed):
    bomb = files.zip_bomb(300 * 2**20, claimed)
    assert len(bomb) < 2**20
    message = refused("a.docx", bomb)
    assert "zip bomb" in message or (claimed and "is broken" in message)


def test_many_small_parts_are_a_bomb_too(monkeypatch):
    monkeypatch.setattr(parsing, "MAX_PARTS", 5)
    with pytest.raises(parsing.Refused, match="zip bomb"):
        parsing.refuse_bomb(files.word(["text"]))


def test_a_pdf_whose_stream_unpacks_to_gigabytes_is_refused():
    packer = zlib.compressobj(9)
    stream = b"".join(packer.compress(bytes(2**20)) for _ in range(1024)) + packer.flush()
    whole = files.pdf(["text"])
    head = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    head += b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R>>endobj\n"
    head += b"4 0 obj<</Length %d/Filter/FlateDecode>>stream\n" % len(stream)
    refused("a.pdf", head + stream + b"\nendstream endobj\ntrailer<</Root 1 0 R>>\n%%EOF")
    assert read("b.pdf", whole).text == "text"


def test_a_pdf_with_too_many_pages_is_refused(monkeypatch):
    monkeypatch.setattr(parsing, "MAX_PAGES", 2)
    with pytest.raises(parsing.Refused) as caught:
        parsing.pdf_pages(files.pdf(["a", "b", "c"]))
    assert "has 3 pages" in caught.value.args[0]


def test_parsing_that_never_ends_is_ended(monkeypatch):
    monkeypatch.setattr(reading, "SECONDS", 0.01)
    assert "could not be read in" in refused("a.pdf", files.pdf(["text"]))


def test_a_parser_that_dies_is_a_message(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "is broken: reading it failed" in refused("a.pdf", files.pdf(["text"]))


def test_too_much_text_is_refused(monkeypatch):
    monkeypatch.setattr(parsing, "MAX_CHARACTERS", 100)
    assert "characters of text" in refused("a.txt", b"x" * 101)
    for parse, content in (
        (parsing.pdf_pages, files.pdf(["x" * 60] * 2)),
        (parsing.docx_text, files.word(["x" * 101])),
    ):
        with pytest.raises(parsing.Refused, match="characters of text"):
            parse(content)


def test_a_cell_over_two_columns_comes_once():
    made = docx.Document()
    row = made.add_table(rows=1, cols=3).rows[0]
    row.cells[0].merge(row.cells[1]).text = "wide"
    row.cells[2].text = "narrow"
    file = io.BytesIO()
    made.save(file)
    assert read("a.docx", file.getvalue()).text == "wide | narrow"


def test_a_docx_file_cannot_read_other_files(tmp_path):
    (tmp_path / "secret").write_text("GEHEIM")
    entity = f'<!DOCTYPE w [<!ENTITY x SYSTEM "{(tmp_path / "secret").as_uri()}">]>'
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files.word(["Bonjour"]))) as old, zipfile.ZipFile(file, "w") as new:
        for part in old.infolist():
            content = old.read(part)
            if part.filename == "word/document.xml":
                content = content.replace(b"?>", b"?>" + entity.encode(), 1).replace(b"Bonjour", b"Bonjour &x;")
            new.writestr(part.filename, content)
    assert "GEHEIM" not in read("a.docx", file.getvalue()).text


def test_halves_of_characters_are_replaced():
    assert reading._clean("a\ud83d b \ud83d\ude00") == "a\ufffd b \U0001f600"


def test_nothing_is_written_to_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    read("a.pdf", files.pdf(["text"])), read("a.docx", files.word(["text"])), read("a.txt", b"text")
    assert list(tmp_path.iterdir()) == []
