"""Every broken input gives one clear error that names the file and the place in it, and no row is guessed."""

import io
import json
import os
import re
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from affinage.curation.rows import Counts
from affinage.curation.sources import open_source
from affinage.errors import AffinageError

GOOD = '{"instruction": "Dis oui.", "input": "", "output": "Oui."}'
LINE = GOOD.encode() + b"\n"
DOCUMENT = '<Document id="1" source="A"><QAPairs>{}</QAPairs></Document>'
PAIR = '<QAPair pid="1"><Question qtype="information">Quoi ?</Question><Answer>{}</Answer></QAPair>'
LAUGHS = (
    '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


def turns(*pairs: tuple[str, object]) -> bytes:
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in pairs]}).encode() + b"\n"


def squad(*questions: dict) -> bytes:
    paragraph = {"context": "Le chat dort.", "qas": list(questions)}
    return json.dumps({"data": [{"title": "Chat", "paragraphs": [paragraph]}]}).encode()


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def sheet(*rows: tuple) -> bytes:
    book, buffer = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(buffer)
    return buffer.getvalue()


def parquet(**columns: list) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(columns).to_parquet(buffer)
    return buffer.getvalue()


def cut_sheet() -> bytes:
    whole = zipfile.ZipFile(io.BytesIO(sheet(("question", "réponse"), *[("Quoi ?", "Ça.")] * 50)))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in whole.namelist():
            content = whole.read(name)
            archive.writestr(name, content[: len(content) * 2 // 3] if "sheet1" in name else content)
    return buffer.getvalue()


def circle(path: Path) -> None:
    path.mkdir()
    (path / "a").symlink_to(path / "b")
    (path / "b").symlink_to(path / "a")
    (path / "up").symlink_to(path)


def link_out(path: Path) -> None:
    path.mkdir()
    (path.parent / "outside.jsonl").write_bytes(LINE)
    (path / "rows.jsonl").symlink_to(path.parent / "outside.jsonl")


def lone_circle(path: Path) -> None:
    path.symlink_to(path)


def mixed_folder(path: Path) -> None:
    path.mkdir()
    (path / "a.jsonl").write_bytes(LINE)
    (path / "b.csv").write_text("question,réponse\nQuoi ?,Ça.\n", encoding="utf-8")


def two_formats(path: Path) -> None:
    path.mkdir()
    (path / "a.jsonl").write_bytes(LINE)
    (path / "b.jsonl").write_bytes(turns(("user", "Quoi ?"), ("assistant", "Ça.")))


def two_broken(path: Path) -> None:
    path.mkdir()
    (path / "a.jsonl").write_bytes(b"{")
    (path / "b.jsonl").write_bytes(LINE + b"[1]\n")


Content = bytes | Callable[[Path], object]
# name of the file or folder, what it holds, what the error says after the name
BROKEN: dict[str, tuple[str, Content, str]] = {
    "JSONL line cut": ("a.jsonl", LINE + LINE[:30], r":2: broken JSON: .* The line may be cut\."),
    "JSONL line with a syntax fault": ("a.jsonl", LINE * 2 + b"{'a': 1}\n", r":3: broken JSON: Expecting prop"),
    "JSONL with two objects on a line": ("a.jsonl", LINE + LINE.strip() + LINE, r":2: broken JSON: Extra data"),
    "JSON array cut in half": ("a.json", b"[" + b",\n".join([LINE] * 9)[:200], r":\d+: broken JSON: .*may be cut"),
    "JSON array without its end": ("a.json", b"[\n" + LINE, r":3: the file ends where ',' is expected"),
    "JSON array with a comma too many": ("a.json", b"[" + LINE + b",\n]", r":3: broken JSON: Expecting value"),
    "JSON array without a comma": ("a.json", b"[" + LINE + LINE + b"]", r":2: broken JSON: ',' is expected, not '{'"),
    "JSON with text after its end": ("a.json", b"[" + LINE + b"]\noups", r":3: something follows the end"),
    "JSON object cut": ("a.json", squad({"question": "Qui ?"})[:-9].replace(b"[", b"[\n"), r":\d+: broken JSON"),
    "JSON object without records": ("a.json", b'{\n "a": 1,\n "b": 2}', r": one object with 0 lists .*: a, b\..*data"),
    "JSON object with two lists": ("a.json", b'{"data": [{"a": 1}],\n"rows": [{"a": 1}]}', r": .* 2 lists of records"),
    "JSON number": ("a.json", b"42", r":1: the line is a number, not an object"),
    "JSON text": ("a.json", b'"bonjour"', r":1: the line is a text, not an object"),
    "JSON array of texts": ("a.json", b'[\n"a", "b"]', r":2: record 1 is a text, not an object"),
    "JSON empty array": ("a.json", b"[ ]", r": holds no record"),
    "NaN in JSON": ("a.jsonl", LINE + GOOD.replace('"Oui."', "NaN").encode(), r":2: NaN is not JSON"),
    "infinity in JSON": ("a.json", b"[\n\n" + GOOD.replace('"Oui."', "-Infinity").encode() + b"]", r":3: -Infinity"),
    "number too large": ("a.jsonl", GOOD.replace('"Oui."', "1e999").encode(), r":1: the number 1e999 is too large"),
    "key twice": ("a.jsonl", LINE + b'{"output": "a", "output": "b"}', r":2: the key 'output' stands twice"),
    "lone surrogate": ("a.jsonl", LINE + GOOD.replace("Oui.", r"\ud800").encode(), r":2: \\ud800 is half of a char"),
    "lone surrogate in an array": ("a.json", b"[\n" + GOOD.replace("Oui.", r"\uDC00").encode() + b"]", r":2: \\udc00"),
    "JSON nested 100,000 deep": ("a.jsonl", LINE + b"[" * 100_000 + b"]" * 100_000, r":2: nested more than 100 levels"),
    "JSON nested 500 deep": ("a.jsonl", LINE + b'{"a":' * 500 + b"1" + b"}" * 500, r":2: .*nested more than 100"),
    "JSON array nested deep": ("a.json", b"[\n" * 100_000, r":\d+: nested more than 100 levels"),
    "latin-1 line in JSONL": ("a.jsonl", LINE * 3 + '{"a": "é"}'.encode("latin-1"), r":4: not UTF-8.*mixes encodings"),
    "latin-1 far into an array": (
        "a.json",
        b"[" + b",\n".join([GOOD.encode()] * 40_000) + ',{"é": 1}]'.encode("latin-1"),
        r":40000: not UTF-8",
    ),
    "UTF-16 cut inside a character": ("a.jsonl", (GOOD * 2).encode("utf-16")[:-1], r":1: not UTF-16"),
    "PNG called .jsonl": ("a.jsonl", PNG, r": holds a PNG image, not JSON"),
    "PNG called .csv": ("a.csv", PNG, r": holds a PNG image, not text"),
    "zip called .csv": ("a.csv", zipped("a.csv", b"a,b\n"), r": holds a zip archive"),
    "NUL bytes in JSONL": ("a.jsonl", LINE + b"\0\0\0", r":2: holds NUL bytes"),
    "empty JSONL": ("a.jsonl", b"", r": the file is empty"),
    "empty CSV": ("a.csv", b"", r": the file is empty"),
    "empty XML": ("a.xml", b"", r": the file is empty"),
    "blank lines in JSONL": ("a.jsonl", b"\n \n\n", r": holds no record"),
    "blank lines in CSV": ("a.csv", b"\n\n\n", r":1: no header"),
    "blank lines in text": ("a.txt", b"\n\n\n", r": no row could be made: there is no record"),
    "JSONL line of 100 MB": ("a.jsonl", LINE + b'{"output": "' + b"x" * 10**8 + b'"}', r":2: the line is longer"),
    "JSON record of 100 MB": ("a.json", b"[\n" + LINE + b',{"a": "' + b"x" * 10**8 + b'"}]', r":3: the record is long"),
    "CSV line of 100 MB": ("a.csv", b"question,answer\na,b\nc," + b"x" * 10**8, r":3: the line is longer than 32 MiB"),
    "CSV with mixed encodings": ("a.csv", "question;réponse\nQui ?;".encode() + b"\xe9t\xe9\n", r":2: not UTF-8"),
    "CSV in no encoding": ("a.csv", b"question;answer\n" + bytes(range(128, 256)) * 9, r":2: not UTF-8.*cp1252.*UTF-8"),
    "NUL byte in CSV": ("a.csv", b"question,answer\n" + b"a,b\n" * 9000 + b"c,d\0\n", r":9002: holds a NUL byte"),
    "CSV row too long": ("a.csv", b"question,answer\na,b\nc,d,e\n", r":3: the row has 3 cells, the header has 2 "),
    "CSV row too short": ("a.csv", b"question,answer,year\na,b,1\n\nc,d\n", r":4: the row has 2 cells, .* 3 "),
    "CSV header only": ("a.csv", b"question,answer\n", r": no row could be made: there is no record"),
    "CSV without a header": ("a.csv", b"Qui es-tu ?;Un chat.\nEt toi ?;Un chien.\n", r": no column for instruct"),
    "CSV with one column": ("a.csv", b"question\nQui ?\n", r": no column for output\. The columns are 'question'"),
    "CSV column name twice": ("a.csv", b"question,answer,answer\na,b,c\n", r":1: .* column is called 'answer'"),
    "CSV quote never closed": ("a.csv", b'question,answer\na,b\nc,"d\ne,f\n', r":3: a quote opens .* is never"),
    "CSV text after a quote": ("a.csv", b'question,answer\na,"b" c\n', r":2: text follows a closing quote"),
    "CSV with two questions": ("a.csv", b"question,prompt,answer\n", r": instruction can be 'question' or 'prompt'"),
    "billion laughs": ("a.xml", f"{LAUGHS}{DOCUMENT.format(PAIR.format('&c;'))}".encode(), r": declares a document"),
    "external entity": (
        "a.xml",
        b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + DOCUMENT.format(PAIR.format("&x;")).encode(),
        r": declares a document type",
    ),
    "document type alone": ("a.xml", b"<!DOCTYPE d>" + DOCUMENT.format(PAIR).encode(), r": declares a document type"),
    "XML cut in half": ("a.xml", DOCUMENT.format("\n" + PAIR.format("Ça.")).encode()[:90], r":2: broken XML: .*cut"),
    "XML with another root": ("a.xml", b"<html><p>Oui</p></html>", r": the outermost element is <html>.*<Doc"),
    "XML without pairs": ("a.xml", DOCUMENT.format("").encode(), r": no row could be made: 1 dropped: document w"),
    "XML without answers": ("a.xml", DOCUMENT.format(PAIR.format(" ")).encode(), r": no row .*: empty answer .*pair 1"),
    "starts with the assistant": ("a.jsonl", turns(("assistant", "Bonjour.")), r"starts with the assistant .*jsonl:1"),
    "two user turns in a row": ("a.jsonl", turns(("user", "a"), ("user", "b"), ("assistant", "c")), r"two user turns"),
    "unknown role": ("a.jsonl", turns(("user", "a"), ("chien", "b")), r"unknown role \(such as .*a\.jsonl:1: chien\)"),
    "empty list of messages": ("a.jsonl", b'{"messages": []}\n', r"1 dropped: conversation without turns .*a\.jsonl:1"),
    "messages that are no list": ("a.jsonl", b'{"messages": "Bonjour"}\n', r"conversation without turns .*: a text\)"),
    "message that is no object": ("a.jsonl", b'{"messages": ["Bonjour"]}\n', r"turn that is no object .*: a text\)"),
    "message without content": ("a.jsonl", turns(("user", "a"), ("assistant", None)), r"turn without text .*jsonl:1"),
    "tool turns only": ("a.jsonl", turns(("user", "a"), ("tool", "b"), ("assistant", "c")), r"1 dropped: tool turn"),
    "records without an answer": ("a.jsonl", b'{"question": "a"}\n', r"a\.jsonl: no column for output"),
    "answers that are lists": ("a.jsonl", b'{"question": "a", "answer": ["b"]}', r"output is neither text .*list\)"),
    "SQuAD without answers": ("a.json", squad({"question": "Qui ?", "id": "q1"}), r"no answers, .*: record 1: q1\)"),
    "SQuAD with empty answers": ("a.json", squad({"question": "Qui ?", "answers": []}), r"question without an answer"),
    "SQuAD without questions": ("a.json", squad(), r"paragraph without questions .*record 1: Chat\)"),
    "corrupt XLSX": ("a.xlsx", b"PK\x03\x04" + b"x" * 99, r": not a whole XLSX file"),
    "zip that is no XLSX": ("a.xlsx", zipped("a.txt", b"a"), r": not a whole XLSX file"),
    "XLSX with a password": ("a.xlsx", b"\xd0\xcf\x11\xe0" + bytes(600), r": holds an old Office file .*password"),
    "XLSX that is text": ("a.xlsx", b"question;answer\n", r": holds no zip archive, not an XLSX file"),
    "XLSX with a sheet cut": ("a.xlsx", cut_sheet(), r": not a whole XLSX file in row \d+"),
    "XLSX with an empty sheet": ("a.xlsx", sheet(), r": the first sheet is empty"),
    "XLSX cells beside the table": ("a.xlsx", sheet(("question", "answer"), ("a", "b", "c")), r": row 2 has 3 cells"),
    "XLSX column name twice": ("a.xlsx", sheet(("answer", "answer")), r": row 1: .* column is called 'answer'"),
    "XLSX with a formula error": ("a.xlsx", sheet(("question", "answer"), ("a", "#REF!")), r": row 2: the formula in"),
    "corrupt Parquet": ("a.parquet", b"PAR1" + b"x" * 99 + b"PAR1", r": not a whole Parquet file"),
    "Parquet that is text": ("a.parquet", LINE, r": not a whole Parquet file"),
    "Parquet lacking columns": ("a.parquet", parquet(question=["a"], year=[1]), r": no column for output.*'question',"),
    "Parquet with bytes as answers": ("a.parquet", parquet(question=["a"], answer=[b"b"]), r": no column for output"),
    "Parquet with lists as texts": ("a.parquet", parquet(question=[["a"]], answer=["b"]), r"instruction is neither"),
    "unknown kind of file": ("a.doc", b"Bonjour", r": no format fits\. .*Bonjour.*alpaca.*\.jsonl.*FORMAT="),
    "unknown binary": ("a.dat", b"%PDF-1.7", r": no format fits\. The file holds a PDF document"),
    "folder of two kinds": ("d", mixed_folder, r": the folder holds files .*1 of csv, 1 of json"),
    "folder of two formats": ("d", two_formats, r": files of several formats: alpaca \(a\.jsonl\), messages \(b"),
    "folder with two broken files": ("d", two_broken, r"/a\.jsonl:1: broken JSON(.|\n)*/b\.jsonl:2: the line is a"),
    "empty folder": ("d", Path.mkdir, r": an empty folder"),
    "folder of links in a circle": ("d", circle, r": an empty folder(.|\n)*a is not read: a link that leads nowhere"),
    "folder with a link out of it": ("d", link_out, r": an empty folder(.|\n)*rows.jsonl is not read: a link out"),
    "link in a circle": ("d", lone_circle, r": a link that leads nowhere or in a circle"),
    "missing file": ("a.jsonl", lambda path: None, r": no such file or folder"),
}


def test_there_are_enough_broken_inputs() -> None:
    assert len(BROKEN) >= 40


@pytest.mark.parametrize(("name", "content", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_input_gives_one_error_that_names_the_place(tmp_path, name, content, words):
    path = tmp_path / name
    content(path) if callable(content) else path.write_bytes(content)
    started = time.monotonic()
    with pytest.raises(AffinageError) as caught:
        list(open_source(str(path)).rows(Counts()))
    assert re.search(re.escape(name) + f"(?:{words})" if words.startswith((":", " ")) else words, str(caught.value))
    assert name in str(caught.value)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINE + b'{"output": "' + b"x" * 10**8),
        ("a.json", b"[" + LINE + b',{"a": "' + b"x" * 10**8),
        ("a.csv", b"question,answer\na,b\nc," + b"x" * 10**8),
        ("a.txt", b"x" * 10**8),
        ("a.txt", b"xxxxxxxxx\n" * 10**7),
    ],
)
def test_a_text_of_100_mb_takes_little_memory_to_refuse(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    with pytest.raises(AffinageError, match="longer than 32 MiB"):
        list(open_source(str(tmp_path / name)).rows(Counts()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250e6


def test_rows_before_the_fault_are_given_and_none_after_it(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINE * 500 + b"{\n" + LINE)
    rows = open_source(str(tmp_path / "a.jsonl")).rows(Counts())
    assert sum(1 for _, row in zip(range(500), rows, strict=False) if row["output"] == "Oui.") == 500
    with pytest.raises(AffinageError, match=r"a\.jsonl:501: broken JSON"):
        next(rows)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["", "rows.jsonl"])
def test_a_place_without_permission_is_an_error(tmp_path, name):
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "rows.jsonl").write_bytes(LINE)
    (folder / name).chmod(0)
    try:
        for source in (folder, folder / "rows.jsonl"):
            with pytest.raises(AffinageError, match=r"cannot be opened: Permission denied\. Check the .*rights"):
                open_source(str(source))
    finally:
        (folder / name).chmod(0o700)
