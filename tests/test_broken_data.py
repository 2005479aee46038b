"""Twenty broken datasets: each is refused with its place and reason, and nothing is left behind."""

import json

import pytest
import yaml

from affinage.errors import AffinageError

ROW = {"instruction": "copie", "input": "le chat", "output": "LE CHAT"}
LINES = [json.dumps({**ROW, "id": f"r{n}"}) for n in range(8)]
TABLE = "instruction,input,output\n" + "copie,le chat,LE CHAT\n" * 6
FIXED = {"split": {"type": "fixed", "column": "split"}}


def lines(*changes, n=8):
    """Eight good rows as JSON lines, the last ones replaced."""
    return "\n".join([*LINES[: n - len(changes)], *changes])


BROKEN = {
    "an empty file": ("a.jsonl", "", "holds no row"),
    "blank lines alone": ("a.jsonl", "\n \n\n", "holds no row"),
    "a table with a header alone": ("a.csv", "instruction,input,output\n", "holds no row"),
    "a missing column": ("a.jsonl", '{"instruction": "a", "output": "b"}\n' * 8, "no column 'input'"),
    "a wrong encoding": ("a.csv", TABLE.replace("CHAT\n", "ÉTÉ\n", 1).encode("latin-1"), "line 2 is not UTF-8"),
    "UTF-16": ("a.jsonl", "\n".join(LINES).encode("utf-16"), "line 1 is not UTF-8"),
    "one row": ("a.jsonl", LINES[0], "1 rows to train on"),
    "answers that are all missing": ("a.jsonl", lines().replace('"LE CHAT"', "null"), "0 rows to train on"),
    "answers that are all NaN": ("a.jsonl", lines().replace('"LE CHAT"', "NaN"), "0 rows to train on"),
    "a cell of 10 MB": ("a.jsonl", lines(json.dumps({**ROW, "output": "chat " * 2_000_000})), "1 of 8 training rows"),
    "ids that repeat": ("a.jsonl", lines(LINES[0], LINES[0]), "2 rows have an id that stood before, such as 'r0'"),
    "a row with too many cells": ("a.csv", TABLE + "a,b,c,d\n", "line 8 has 4 cells, the header 3"),
    "a row with too few cells": ("a.csv", TABLE + "a,b\n", "line 8 has 2 cells, the header 3"),
    "a quote that never ends": ("a.csv", TABLE + 'a,"b,c\n', "unexpected end of data"),
    "a list cut in half": ("a.json", "[" + ",\n".join(LINES)[:-30], "no JSON: line 8"),
    "a line cut in half": ("a.jsonl", lines(LINES[0][:20]), "line 8 is no JSON"),
    "an object where a list belongs": ("a.json", LINES[0], "holds no list of rows"),
    "a line that is a list": ("a.jsonl", lines("[1, 2]"), "line 8 holds no object"),
    "a picture called Parquet": ("a.parquet", b"\x89PNG\r\n\x1a\n" * 40, "cannot be read as parquet"),
    "a suffix nobody knows": ("a.docx", "text", r"cannot read '\.docx'"),
    "a split without train": (
        "a.jsonl",
        "\n".join(line[:-1] + ', "split": 2}' for line in LINES),
        "0 rows to train on",
    ),
    "a split of its own making": (
        "a.jsonl",
        "\n".join(line[:-1] + ', "split": "dev"}' for line in LINES),
        r"holds \['dev'\]",
    ),
}


@pytest.fixture
def config(tmp_path, llm_config):
    def write(preprocessing):
        path = tmp_path / "configs" / "copie" / "tiny.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(llm_config(preprocessing=preprocessing)), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("name", BROKEN)
def test_is_refused_with_its_place_and_reason_and_leaves_nothing(name, config, tmp_path):
    from affinage import preview, training

    file, content, message = BROKEN[name]
    data = tmp_path / "data" / file
    data.parent.mkdir()
    data.write_bytes(content if isinstance(content, bytes) else content.encode())
    path = config(FIXED if "split" in name else {"split": {"type": "random", "probabilities": [1.0, 0.0, 0.0]}})
    with pytest.raises(AffinageError, match=message):
        preview.refuse(training.plan(path, str(data)))
    assert [found.name for found in data.parent.iterdir()] == [file]
    assert not (tmp_path / "results").exists()


def test_a_folder_of_splits_without_train_is_refused(config, tmp_path):
    from affinage import training

    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("validation", "test"):
        (folder / f"{split}.jsonl").write_text("\n".join(LINES))
    with pytest.raises(AffinageError, match="2 data files, none called train"):
        training.plan(config(FIXED), str(folder))


def test_rows_without_an_answer_are_counted_when_others_are_left(config, tmp_path):
    from affinage import training

    data = tmp_path / "a.jsonl"
    data.write_text(lines(json.dumps({**ROW, "output": None}), json.dumps({**ROW, "output": " "})))
    ready = training.plan(config({"split": {"type": "random", "probabilities": [1.0, 0.0, 0.0]}}), str(data))
    assert ready.dropped == {"train": 2} and len(ready.splits["train"]) == 6
