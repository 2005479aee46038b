"""JSON is read piece by piece, in bounded memory, and gives what the standard library gives."""

import json
import random
import tracemalloc

import pytest

from affinage.curation.formats import json_stream
from affinage.curation.formats.json_records import open_json
from affinage.curation.formats.json_values import DECODER
from affinage.errors import AffinageError

TEXTS = ["é\n\"'\\/☃", "😀", ""]
VALUES = [*TEXTS, 0, -1.5e-7, 12345678901234567890, True, False, None, [], {}, [[1], {"a": [2.5]}]]


def records(path):
    return [record for _, record in open_json(path, path.name).records()]


def random_records(seed):
    draw = random.Random(seed)
    return [{f"k{key}": draw.choice(VALUES) for key in range(draw.randint(0, 5))} for _ in range(draw.randint(1, 12))]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 2**20])
@pytest.mark.parametrize("layout", ["compact", "indented", "ascii", "object"])
def test_an_array_cut_anywhere_gives_the_records_of_the_standard_library(tmp_path, monkeypatch, chunk, layout):
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    monkeypatch.setattr("affinage.curation.formats.json_records.CHUNK", 2**20)
    for seed in range(8):
        expected = random_records(seed)
        options = {"compact": {"separators": (",", ":")}, "indented": {"indent": 3}}.get(layout, {})
        whole = (
            {"version": 12345, "data": expected, "n": [-6.75e3, {}], "m": 678.25} if layout == "object" else expected
        )
        text = json.dumps(whole, ensure_ascii=layout == "ascii", **options)
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
        assert records(tmp_path / "a.json") == expected


@pytest.mark.parametrize("chunk", [1, 5, 64, 2**20])
def test_the_line_of_a_fault_is_the_one_the_standard_library_names(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    monkeypatch.setattr("affinage.curation.formats.json_records.CHUNK", 2**20)
    text = json.dumps([{"a": n, "b": "x" * n} for n in range(30)], indent=2)
    for place in range(40, len(text) - 1, 97):
        wrong = text[:place] + "@" + text[place:]
        try:
            json.loads(wrong)
            continue  # inside a text, where it does no harm
        except json.JSONDecodeError as error:
            expected = error.lineno
        (tmp_path / "a.json").write_text(wrong, encoding="utf-8")
        with pytest.raises(AffinageError, match=rf"a\.json:{expected}: broken JSON"):
            records(tmp_path / "a.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_with_a_byte_order_mark_is_read(tmp_path, encoding, name):
    text = '{"a": "é"}\n{"a": "☃"}\n' if name == "a.jsonl" else '[{"a": "é"}, {"a": "☃"}]'
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert records(tmp_path / name) == [{"a": "é"}, {"a": "☃"}]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_file_larger_than_memory_should_be_takes_little_of_it(tmp_path, name):
    line = json.dumps({"instruction": "Dis oui.", "output": "Oui, oui, oui. " * 20})
    whole = "[" + ",\n".join([line] * 60_000) + "]" if name == "a.json" else f"{line}\n" * 60_000
    (tmp_path / name).write_text(whole, encoding="utf-8")
    size = len(whole)
    del whole
    tracemalloc.start()
    n = sum(1 for _ in open_json(tmp_path / name, name).records())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 60_000
    assert size > 20e6
    assert peak < 8e6


def test_a_record_that_is_longer_than_a_piece_is_whole(tmp_path):
    text = "x" * (3 * json_stream.CHUNK)
    (tmp_path / "a.json").write_text(json.dumps([{"a": text}, {"a": "y"}]), encoding="utf-8")
    assert records(tmp_path / "a.json") == [{"a": text}, {"a": "y"}]


def test_brackets_inside_a_text_are_no_nesting(tmp_path):
    record = {"output": "[" * 5000 + "{" * 5000}
    (tmp_path / "a.jsonl").write_text(json.dumps(record), encoding="utf-8")
    assert records(tmp_path / "a.jsonl") == [record]


def test_a_pair_of_surrogates_is_one_character(tmp_path):
    (tmp_path / "a.jsonl").write_text(r'{"a": "\ud83d\ude00", "b": "\\ud800"}', encoding="utf-8")
    assert records(tmp_path / "a.jsonl") == [{"a": "😀", "b": "\\ud800"}]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", '{"a": 1, "a": 1}'])
def test_what_other_readers_would_refuse_is_refused(text):
    with pytest.raises(ValueError, match=r"not JSON|too large|twice"):
        DECODER.decode(text)
