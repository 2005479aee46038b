"""Tables from any spreadsheet: encodings, delimiters and column names are found, told, and never guessed in silence."""

import csv
import datetime
import io
import zipfile

import openpyxl
import pandas as pd
import pytest

from affinage.curation.rows import Counts
from affinage.curation.sources import open_source
from affinage.errors import AffinageError

ROWS = [
    ("Où est né Victor Hugo ?", "À Besançon, en février 1802 ; c'est sûr."),
    ('Que dit « l\'élève » dans "Émile" ?', "Il dit :\n« J'ai terminé »,\tpuis s'en va | sans bruit."),
    ("Combien coûte la copie ?", ""),
    ("007", "1.50"),
]
HEADER = ("Question", "Réponse")
ENCODINGS = {
    "utf-8": [],
    "utf-8-sig": ["encoding UTF-8, by its byte order mark"],
    "utf-16": ["encoding UTF-16, by its byte order mark"],
    "cp1252": ["encoding cp1252 (Windows, latin-1), guessed from its accents"],
    "latin-1": ["encoding cp1252 (Windows, latin-1), guessed from its accents"],
    "mac_roman": ["encoding mac_roman (Mac), guessed from its accents"],
}
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
READ_AS = [
    "column 'Question' is read as instruction, guessed from its name",
    "column 'Réponse' is read as output, guessed from its name",
]


def table(rows, delimiter=",", end="\r\n"):
    buffer = io.StringIO(newline="")
    # With "\r" as line end, the writer puts no quotes around a text that holds "\n".
    quoting = csv.QUOTE_ALL if end == "\r" else csv.QUOTE_MINIMAL
    csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    return buffer.getvalue()


def read(path, **options):
    source, counts = open_source(str(path), **options), Counts()
    return list(source.rows(counts)), counts, source


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_table_gives_the_same_rows_in_every_encoding_and_layout(tmp_path, encoding, delimiter, end):
    path = tmp_path / "table.csv"
    path.write_bytes(table([HEADER, *ROWS], delimiter, end).encode(encoding))
    rows, _, source = read(path)
    assert [(row["instruction"], row["output"]) for row in rows] == ROWS
    guessed = f"delimiter {DELIMITERS[delimiter]}, guessed from the first lines"
    assert source.notes == [f"table.csv: {note}" for note in (*ENCODINGS[encoding], guessed, *READ_AS)]
    assert source.format == ("tsv" if delimiter == "\t" else "csv")


def test_rows_are_named_by_the_line_on_which_they_begin(tmp_path):
    (tmp_path / "table.csv").write_text(table([HEADER, *ROWS], end="\n"), encoding="utf-8")
    rows, _, _ = read(tmp_path / "table.csv")
    assert [row["source"] for row in rows] == [f"table.csv#{line}" for line in (2, 3, 5, 6)]


@pytest.mark.parametrize("suffix", [".tsv", ".txt"])
def test_a_table_of_tabs_is_read_by_its_name_or_by_the_format(tmp_path, suffix):
    (tmp_path / f"table{suffix}").write_text(table([HEADER, *ROWS], "\t"), encoding="utf-8")
    rows, _, source = read(tmp_path / f"table{suffix}", format="tsv")
    assert [(row["instruction"], row["output"]) for row in rows] == ROWS
    assert source.notes == [f"table{suffix}: {note}" for note in READ_AS]


def test_the_line_that_names_the_delimiter_is_obeyed_and_is_no_header(tmp_path):
    text = "sep=;\r\n" + table([("question", "réponse, note"), ("a, b", "c"), ("d", "e\nf")], ";")
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    rows, _, source = read(tmp_path / "table.csv", columns={"output": "réponse, note"})
    texts = [(row["instruction"], row["output"], row["source"]) for row in rows]
    assert texts == [("a, b", "c", "table.csv#3"), ("d", "e\nf", "table.csv#4")]
    assert source.notes == ["table.csv: column 'question' is read as instruction, guessed from its name"]


def test_a_table_without_accents_in_the_first_lines_is_read_in_its_own_encoding(tmp_path):
    rows = [("question", "answer"), *[("plain", "text")] * 20_000, ("Où ?", "À côté.")]
    (tmp_path / "table.csv").write_bytes(table(rows).encode("cp1252"))
    found, _, _ = read(tmp_path / "table.csv")
    assert (found[-1]["instruction"], found[-1]["output"]) == ("Où ?", "À côté.")


def test_text_of_an_encoding_that_does_not_fit_is_no_guess(tmp_path):
    # fault: this DOS text is taken for Windows text, and "réponse" becomes "r‚ponse"
    text = "question;réponse\r\nOù est né Victor Hugo ?;Où se trouve l'état civil ?\r\n"
    (tmp_path / "table.csv").write_bytes(text.encode("cp850"))
    with pytest.raises(AffinageError, match=r"table\.csv:1: not UTF-8, and no other encoding fits"):
        open_source(str(tmp_path / "table.csv"))


def test_blank_lines_are_passed_over_and_rows_without_text_are_counted(tmp_path):
    (tmp_path / "table.csv").write_text("question;réponse\n\na;b\n;\n  ;\n\nc;d\n", encoding="utf-8")
    rows, counts, _ = read(tmp_path / "table.csv")
    assert [(row["output"], row["source"]) for row in rows] == [("b", "table.csv#3"), ("d", "table.csv#7")]
    assert counts.steps["read"] == {"seen": 4, "dropped: blank row": 2}


def test_columns_that_are_named_win_and_the_others_are_kept(tmp_path):
    header = ("question", "réponse", "thème", "réponse courte", "année", "")
    (tmp_path / "table.csv").write_text(table([header, ("a", "b", "t", "c", "1914", "x")]), encoding="utf-8")
    columns = {"output": "réponse courte", "label": "thème", "year": "année"}
    [row], _, source = read(tmp_path / "table.csv", columns=columns)
    place = dict.fromkeys(("id", "group", "source"), "table.csv#2")
    texts = {"instruction": "a", "input": "", "output": "c", "label": "t"}
    assert row == texts | place | {"year": "1914", "réponse": "b", "column 6": "x"}
    assert "table.csv: columns without a name are called column 6" in source.notes
    assert not any("réponse" in note and "output" in note for note in source.notes)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"output": "reponse"}, r"no column 'reponse'\. Allowed: question, réponse\. Correct COLUMNS="),
        ({"output": "x", "instruction": "y"}, r"no column 'x'(.|\n)*no column 'y'"),
        ({"ouput": "réponse"}, r"COLUMNS ouput=réponse: did you mean 'output'\?"),
        ({"unanswerable": "Je ne sais pas."}, r"COLUMNS unanswerable=Je ne sais pas\.: csv has no such columns"),
    ],
)
def test_a_column_that_cannot_be_named_is_an_error_with_the_columns_there_are(tmp_path, columns, words):
    (tmp_path / "table.csv").write_text("question;réponse\na;b\n", encoding="utf-8")
    with pytest.raises(AffinageError, match=words):
        open_source(str(tmp_path / "table.csv"), columns=columns)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("consigne", "entrée", "sortie"), ("instruction", "input", "output")),
        (("Prompt", "Contexte", "Completion"), ("instruction", "input", "output")),
        (("QUESTION", "catégorie", "Reponse"), ("instruction", "label", "output")),
        (("question", "answer", "conversation_id"), ("instruction", "output", "group")),
        (("instruction", "prompt", "output"), ("instruction", "prompt", "output")),
    ],
)
def test_column_names_in_french_and_english_are_known(tmp_path, names, expected):
    (tmp_path / "table.csv").write_text(table([names, ("1", "2", "3")]), encoding="utf-8")
    [row], _, source = read(tmp_path / "table.csv")
    assert [row[name] for name in expected] == ["1", "2", "3"]
    told = {
        f"table.csv: column '{a}' is read as {b}, guessed from its name" for a, b in zip(names, expected, strict=True)
    }
    same = {f"table.csv: column '{name}' is read as {name}, guessed from its name" for name in names}
    assert {note for note in source.notes if "is read as" in note} == told - same


def test_an_xlsx_sheet_becomes_rows(tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "Accueil"
    cells = [(), (*HEADER, "année", "vu le"), ("Où ?", "Là.", 1914, datetime.datetime(2023, 5, 2)), (), ("Quand ?",)]
    for line in (*cells, (12, 1.5, 2.0, datetime.datetime(2023, 5, 2, 9, 30)), (None, " ", None, None)):
        book.active.append(line)
    book.create_sheet("Brouillon").append(("x",))
    book.save(tmp_path / "table.xlsx")
    rows, counts, source = read(tmp_path / "table.xlsx")
    assert [(row["instruction"], row["output"], row["année"], row["vu le"], row["source"]) for row in rows] == [
        ("Où ?", "Là.", 1914, "2023-05-02", "table.xlsx#3"),
        ("Quand ?", "", "", "", "table.xlsx#5"),
        ("12", "1.5", 2, "2023-05-02T09:30:00", "table.xlsx#6"),
    ]
    assert counts.steps["read"] == {"seen": 4, "changed: number written as text": 2, "dropped: blank row": 1}
    assert source.notes[0] == "table.xlsx: only the sheet 'Accueil' is read, not 'Brouillon'"
    assert source.format == "xlsx"


def test_an_xlsx_sheet_gives_the_rows_that_another_reader_finds(tmp_path):
    book = openpyxl.Workbook()
    for line in [HEADER, *ROWS[:2], *[(f"Q{n}", f"R{n}") for n in range(2000)]]:
        book.active.append(line)
    book.save(tmp_path / "table.xlsx")
    rows, _, _ = read(tmp_path / "table.xlsx")
    expected = pd.read_excel(tmp_path / "table.xlsx").itertuples(index=False, name=None)
    assert [(row["instruction"], row["output"]) for row in rows] == list(expected)


def test_an_xlsx_sheet_that_states_a_wrong_size_is_read_whole(tmp_path):
    # fault: some programs state "A1" as the size of every sheet, and all other cells are lost
    book, buffer = openpyxl.Workbook(), io.BytesIO()
    for line in (HEADER, ("Q", "A"), ("Q2", "A2")):
        book.active.append(line)
    book.save(buffer)
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(tmp_path / "table.xlsx", "w") as wrong:
        for name in whole.namelist():
            wrong.writestr(name, whole.read(name).replace(b'<dimension ref="A1:B3"', b'<dimension ref="A1"'))
        assert b'<dimension ref="A1:B3"' in whole.read("xl/worksheets/sheet1.xml")
    rows, _, _ = read(tmp_path / "table.xlsx")
    assert [(row["instruction"], row["output"]) for row in rows] == [("Q", "A"), ("Q2", "A2")]
