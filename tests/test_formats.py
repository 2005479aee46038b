"""Each format, written by the test, becomes the canonical rows one would write by hand."""

import datetime
import json
import re

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from affinage.curation.rows import Counts
from affinage.curation.sources import open_source
from affinage.errors import AffinageError


def read(path, format="auto", columns=None):
    """The rows of a source, what was counted ({reason: n}), and the source."""
    source, counts = open_source(str(path), format, columns), Counts()
    return list(source.rows(counts)), dict(counts.steps["read"]), source


def write_jsonl(path, *records):
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def own_place(n, file="rows.jsonl"):
    """The names of a row that has none in its source."""
    return {"id": f"{file}#{n}", "group": f"{file}#{n}", "source": f"{file}#{n}"}


ALPACA = [
    {"instruction": "Mets au passif.", "input": "Il lit « l'été ».", "output": "C'est lu.", "model_response": "Lu ?"},
    {"instruction": "Dis\noui.", "output": "Oui."},
    {"instruction": "Dis non.", "input": None, "output": "Non.", "id": 7, "label": "refus", "lang": "fr"},
]


@pytest.mark.parametrize("layout", ["lines", "array", "indented array", "object", "lines called .json"])
def test_alpaca_becomes_rows(tmp_path, layout):
    texts = {
        "lines": "\n\n".join(map(json.dumps, ALPACA)),
        "array": json.dumps(ALPACA),
        "indented array": json.dumps(ALPACA, indent=4, ensure_ascii=False),
        "object": json.dumps({"version": [1], "data": ALPACA, "n": 3}, indent=1),
        "lines called .json": "\n".join(map(json.dumps, ALPACA)) + "\n",
    }
    path = tmp_path / ("rows.jsonl" if layout == "lines" else "rows.json")
    path.write_text(texts[layout], encoding="utf-8")
    rows, counts, source = read(path)
    second, third = (3, 5) if layout == "lines" else (2, 3)
    assert rows == [
        {"instruction": "Mets au passif.", "input": "Il lit « l'été ».", "output": "C'est lu."}
        | own_place(1, path.name)
        | {"model_response": "Lu ?"},
        {"instruction": "Dis\noui.", "input": "", "output": "Oui."} | own_place(second, path.name),
        {"instruction": "Dis non.", "input": "", "output": "Non.", "id": "7", "group": "7", "label": "refus"}
        | {"source": f"{path.name}#{third}", "lang": "fr"},
    ]
    assert list(rows[2]) == ["instruction", "input", "output", "id", "group", "label", "source", "lang"]
    assert (source.format, counts) == ("alpaca", {"seen": 3})


def test_dolly_becomes_rows(tmp_path):
    record = {"instruction": "Qui ?", "context": "Zola écrit.", "response": "Zola.", "category": "closed_qa"}
    rows, _, source = read(write_jsonl(tmp_path / "rows.jsonl", record))
    texts = {"instruction": "Qui ?", "input": "Zola écrit.", "output": "Zola.", "label": "closed_qa"}
    assert (rows, source.format) == ([texts | own_place(1)], "dolly")


def test_seed_tasks_become_a_row_for_each_instance(tmp_path):
    instances = [{"input": "a", "output": "A"}, {"input": "", "output": "B"}, {"input": "c"}]
    task = {"id": "seed_3", "name": "capitals", "instruction": "Écris en capitales.", "instances": instances}
    empty = {"id": "seed_4", "name": "none", "instruction": "Rien.", "instances": []}
    rows, counts, source = read(write_jsonl(tmp_path / "rows.jsonl", task, empty))
    shared = {"instruction": "Écris en capitales.", "group": "seed_3", "source": "rows.jsonl#1", "name": "capitals"}
    assert rows == [
        shared | {"input": "a", "output": "A", "id": "seed_3/1"},
        shared | {"input": "", "output": "B", "id": "seed_3/2"},
    ]
    assert counts == {
        "seen": 4,
        "dropped: instance without instruction or output": 1,
        "dropped: task without instances": 1,
    }
    assert source.format == "seeds"


ANSWERS = [{"text": "1862", "answer_start": 3}, {"text": "en 1862", "answer_start": 0}]
SQUAD = [
    {"id": "q1", "question": "Quand ?", "answers": ANSWERS, "is_impossible": False},
    {"id": "q2", "question": "Où ?", "answers": [], "is_impossible": True, "plausible_answers": ANSWERS},
]


def squad_row(id, question, output, **others):
    texts = {"instruction": question, "input": "En 1862, il part.", "output": output}
    return texts | {"id": id, "group": "Départ", "source": "rows.json#1", **others}


@pytest.mark.parametrize(
    ("columns", "expected", "dropped"),
    [
        ({}, [squad_row("q1", "Quand ?", "1862", is_impossible=False)], {"dropped: question without an answer": 1}),
        (
            {"unanswerable": "Le texte ne le dit pas."},
            [
                squad_row("q1", "Quand ?", "1862", is_impossible=False),
                squad_row("q2", "Où ?", "Le texte ne le dit pas.", is_impossible=True),
            ],
            {},
        ),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_squad_articles_become_a_row_for_each_question(tmp_path, columns, expected, dropped, indent):
    article = {"title": "Départ", "paragraphs": [{"context": "En 1862, il part.", "qas": SQUAD}]}
    text = json.dumps({"version": "v2.0", "data": [article]}, indent=indent, ensure_ascii=False)
    (tmp_path / "rows.json").write_text(text, encoding="utf-8")
    rows, counts, source = read(tmp_path / "rows.json", columns=columns)
    assert (rows, counts, source.format) == (expected, {"seen": 2, **dropped}, "squad")


def test_flat_squad_rows_without_a_title_are_grouped_by_their_context(tmp_path):
    records = [
        {"id": str(n), "context": context, "question": "Quand ?", "answers": {"text": texts, "answer_start": [0]}}
        for n, (context, texts) in enumerate([("Un.", ["1", "un"]), ("Un.", ["1"]), ("Deux.", ["2"]), ("Trois.", [])])
    ]
    rows, counts, source = read(write_jsonl(tmp_path / "rows.jsonl", *records))
    assert [(row["input"], row["output"]) for row in rows] == [("Un.", "1"), ("Un.", "1"), ("Deux.", "2")]
    assert rows[0]["group"] == rows[1]["group"] != rows[2]["group"]
    assert (source.format, counts) == ("squad", {"seen": 4, "dropped: question without an answer": 1})


FIRST_LAYOUT = """<?xml version="1.0" encoding="UTF-8"?>
<Document id="7" source="ADAM" url="https://example.org/7"><Focus>Gout  d'eau</Focus>
<QAPairs>
<QAPair pid="1"><Question qid="7-1" qtype="information">What is
   gout ?</Question><Answer>Key  points
      - it hurts; A &amp; B


      - é</Answer></QAPair>
<QAPair pid="2"><Question qid="7-2" qtype="causes">Why ?</Question><Answer> </Answer></QAPair>
<QAPair pid="3"><Question qid="7-3" qtype="causes"></Question><Answer>Because.</Answer></QAPair>
</QAPairs></Document>"""
SECOND_LAYOUT = """<doc docid="7" corpus="NINDS"><doctitle-focus>Ataxia</doctitle-focus><qaPairs>
<pair pid="1"><question qid="7-1" qtype="outlook">and then ?</question><answer>It depends.</answer></pair>
<pair pid="2"><question qid="7-2" qtype="outlook">no answer ?</question></pair></qaPairs></doc>"""


@pytest.fixture
def medquad(tmp_path):
    (tmp_path / "1_A").mkdir()
    (tmp_path / "2_B").mkdir()
    (tmp_path / "1_A" / "0000007.xml").write_text(FIRST_LAYOUT, encoding="utf-8")
    (tmp_path / "2_B" / "0000007.xml").write_text(SECOND_LAYOUT, encoding="utf-8")
    (tmp_path / "readme.txt").write_text("Two collections.", encoding="utf-8")
    return tmp_path


def test_both_layouts_of_medquad_become_rows(medquad):
    # fault: a reader that knows <Document> alone loses the documents of the other layout without a word
    rows, counts, source = read(medquad)
    place = "1_A/0000007.xml#1"
    assert rows == [
        {"instruction": "What is gout ?", "input": "", "output": "Key points\n- it hurts; A & B\n- é", "id": place}
        | {"group": "ADAM/7", "label": "information", "source": place, "corpus": "ADAM", "focus": "Gout d'eau"}
        | {"url": "https://example.org/7"},
        {"instruction": "and then ?", "input": "", "output": "It depends.", "id": "2_B/0000007.xml#1"}
        | {"group": "NINDS/7", "label": "outlook", "source": "2_B/0000007.xml#1", "corpus": "NINDS", "focus": "Ataxia"},
    ]
    assert counts == {"seen": 5, "dropped: empty answer": 2, "dropped: empty question": 1}
    assert source.format == "medquad"
    assert source.notes[0] == "not read: readme.txt"


def test_as_many_medquad_pairs_are_seen_as_a_search_for_their_tags_finds(medquad):
    text = "".join(path.read_text("utf-8") for path in medquad.rglob("*.xml"))
    pairs = len(re.findall(r"<(?:QAPair|pair)\b", text))
    answers = re.findall(r"<([Aa])nswer>(.*?)</\1nswer>", text, re.DOTALL)
    questions = re.findall(r"<([Qq])uestion[^>]*>(.*?)</\1uestion>", text, re.DOTALL)
    full = sum(bool(answer.strip()) for _, answer in answers) - sum(not question for _, question in questions)
    rows, counts, _ = read(medquad)
    assert (counts["seen"], len(rows)) == (pairs, full)


def test_plain_text_becomes_a_row_for_each_paragraph(tmp_path):
    (tmp_path / "lettre.txt").write_text("\n\nCher ami,\nje pars.  \n\n \nAdieu.\n", encoding="utf-8")
    rows, _, source = read(tmp_path / "lettre.txt")
    shared = {"instruction": "", "input": "", "group": "lettre.txt"}
    assert rows == [
        shared | {"output": "Cher ami,\nje pars.", "id": "lettre.txt#3", "source": "lettre.txt#3"},
        shared | {"output": "Adieu.", "id": "lettre.txt#7", "source": "lettre.txt#7"},
    ]
    assert source.format == "text"
    assert source.notes == [
        "lettre.txt: plain text has no questions: each paragraph is an output, with an empty instruction and input"
    ]


def test_parquet_becomes_rows_that_json_can_hold(tmp_path):
    table = pa.table(
        {
            "instruction": ["Qui ?", "Quoi ?"],
            "output": pa.array(["Zola.", "Ça."]).dictionary_encode(),
            "day": [datetime.date(1902, 9, 29), None],
            "image": [b"\x89PNG", b""],
            "tags": [["a"], []],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    rows, _, source = read(tmp_path / "rows.parquet")
    first = {"instruction": "Qui ?", "input": "", "output": "Zola."} | own_place(1, "rows.parquet")
    assert rows[0] == first | {"day": "1902-09-29", "tags": ["a"]}
    assert (rows[1]["day"], source.total_hint) == (None, 2)
    assert "rows.parquet: columns of bytes are left out: image" in source.notes
    json.dumps(rows)


def test_parquet_of_conversations_is_known_by_its_columns(tmp_path):
    messages = [[{"role": "user", "content": "Qui ?"}, {"role": "assistant", "content": "Moi."}]]
    pd.DataFrame({"messages": messages}).to_parquet(tmp_path / "rows.parquet")
    rows, _, source = read(tmp_path / "rows.parquet")
    assert (rows[0]["instruction"], rows[0]["output"], source.format) == ("Qui ?", "Moi.", "messages")


def test_records_of_unknown_shape_become_rows_by_the_columns_that_are_named(tmp_path):
    record = {"q": "Qui ?", "a": "Zola.", "fil": 12, "year": 1902, "source": "Le Temps", "split": "dev"}
    path = write_jsonl(tmp_path / "rows.jsonl", record)
    rows, _, source = read(path, columns={"instruction": "q", "output": "a", "group": "fil", "annee": "year"})
    texts = {"instruction": "Qui ?", "input": "", "output": "Zola.", "id": "rows.jsonl#1", "group": "12"}
    others = {"source": "rows.jsonl#1", "annee": 1902, "original_source": "Le Temps", "split": "validation"}
    assert (rows, source.format) == ([texts | others], "jsonl")
    with pytest.raises(AffinageError, match=r"no column for instruction and output\. The columns are 'q', 'a', 'fil'"):
        open_source(str(path))


def test_numbers_become_texts_and_are_counted(tmp_path):
    records = [{"question": 42, "answer": 1.5}, {"question": "Vrai ?", "answer": True}]
    rows, counts, _ = read(write_jsonl(tmp_path / "rows.jsonl", *records))
    assert [(row["instruction"], row["output"]) for row in rows] == [("42", "1.5"), ("Vrai ?", "true")]
    assert counts == {"seen": 2, "changed: number written as text": 3}
