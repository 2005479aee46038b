"""tools/prepare_data.py from the command line to rows that training reads, for every format."""

import csv
import json
import os
import runpy
import signal
import subprocess
import sys
import time

import openpyxl
import pandas as pd
import pytest

from affinage.data import SPLITS, dataset_files, load_splits
from affinage.paths import ROOT

SCRIPT = ROOT / "tools" / "prepare_data.py"
N = 30
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def question(i):
    return f"Où trouver le registre {ALPHABET[i % 26] * 6}{i} ?"


def answer(i):
    return f"Sous la cote {ALPHABET[i * 7 % 26] * 5} {i}, en salle {ALPHABET[i * 3 % 26] * 4}."


def json_lines(path, record):
    path.write_text("".join(json.dumps(record(i), ensure_ascii=False) + "\n" for i in range(N)), encoding="utf-8")
    return path


def table(path, separator=",", encoding="utf-8"):
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=separator).writerows(
            [("question", "réponse"), *((question(i), answer(i)) for i in range(N))]
        )
    return path


def alpaca(folder):
    path = folder / "rows.json"
    path.write_text(json.dumps([{"instruction": question(i), "output": answer(i)} for i in range(N)]))
    return path


def sharegpt(folder):
    def record(i):
        return {
            "id": i,
            "conversations": [{"from": "human", "value": question(i)}, {"from": "gpt", "value": answer(i)}],
        }

    return json_lines(folder / "chats.jsonl", record)


def messages(folder):
    def record(i):
        turns = [("user", question(i)), ("assistant", answer(i))]
        return {"messages": [{"role": role, "content": text} for role, text in turns]}

    return json_lines(folder / "chats.jsonl", record)


def dolly(folder):
    def record(i):
        return {"instruction": question(i), "context": "", "response": answer(i), "category": "open_qa"}

    return json_lines(folder / "dolly.jsonl", record)


def seeds(folder):
    def record(i):
        instances = [{"input": "", "output": answer(i)}]
        return {"id": f"seed_{i}", "name": "n", "instruction": question(i), "instances": instances}

    return json_lines(folder / "seeds.jsonl", record)


def squad(folder):
    def article(i):
        asked = {"id": f"s{i}", "question": question(i), "answers": [{"text": answer(i), "answer_start": 0}]}
        return {"title": f"t{i}", "paragraphs": [{"context": f"Contexte. {answer(i)}", "qas": [asked]}]}

    path = folder / "squad.json"
    path.write_text(json.dumps({"version": "1.1", "data": [article(i) for i in range(N)]}))
    return path


def xlsx(folder):
    book = openpyxl.Workbook()
    for row in [("question", "réponse"), *((question(i), answer(i)) for i in range(N))]:
        book.active.append(row)
    book.save(folder / "rows.xlsx")
    return folder / "rows.xlsx"


def parquet(folder):
    rows = [{"instruction": question(i), "input": "", "output": answer(i)} for i in range(N)]
    pd.DataFrame(rows).to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


def medquad(folder):
    (folder / "xml").mkdir()
    for i in range(N):
        pair = f'<QAPair pid="1"><Question qid="{i}-1" qtype="information">{question(i)}</Question>'
        pair += f"<Answer>{answer(i)}</Answer></QAPair>"
        text = f'<?xml version="1.0" encoding="UTF-8"?><Document id="{i:07d}" source="s" url="u"><Focus>f</Focus>'
        (folder / "xml" / f"{i:07d}.xml").write_text(text + f"<QAPairs>{pair}</QAPairs></Document>", encoding="utf-8")
    return folder / "xml"


def reviews(folder):
    """Thumbs that people gave in the application."""
    about = {"review": "up", "reviewed": "2026-11-22T00:00:00+00:00", "turns_before": 0, "stop": "end"}
    return json_lines(
        folder / "reviews.jsonl", lambda i: {"instruction": question(i), "input": "", "output": answer(i)} | about
    )


SOURCES = {
    "alpaca": alpaca,
    "sharegpt": sharegpt,
    "messages": messages,
    "dolly": dolly,
    "seeds": seeds,
    "reviews": reviews,
    "squad": squad,
    "csv": lambda folder: table(folder / "rows.csv"),
    "csv with semicolons in cp1252": lambda folder: table(folder / "rows.csv", ";", "cp1252"),
    "tsv": lambda folder: table(folder / "rows.tsv", "\t"),
    "xlsx": xlsx,
    "parquet": parquet,
    "medquad": medquad,
}


def read(folder):
    splits = load_splits(dataset_files("task", str(folder)), None, 42)
    assert list(splits) == list(SPLITS)
    return {(row["instruction"], row["output"]) for rows in splits.values() for row in rows.to_dict("records")}


@pytest.mark.parametrize("name", SOURCES)
def test_every_format_becomes_rows_that_training_reads(name, tmp_path, capsys):
    main = runpy.run_path(str(SCRIPT))["main"]
    main(["--source", str(SOURCES[name](tmp_path)), "--task", "task", "--datasets", str(tmp_path / "datasets")])
    assert read(tmp_path / "datasets" / "task") == {(question(i), answer(i)) for i in range(N)}
    shown = capsys.readouterr().out
    assert name.split()[0] in shown.splitlines()[0]
    assert shown.rstrip().endswith("Next: make check-data TASK=task")


def run(*arguments, **others):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, env=environment, **others
    )


def test_a_relative_source_and_what_the_command_prints(tmp_path):
    table(tmp_path / "rows.csv", ";", "cp1252")
    with (tmp_path / "rows.csv").open("a", encoding="cp1252") as file:
        file.write(f"{question(0)};{answer(0)}\nsans réponse;\n[bold]x[/bold];<b>y</b> z\n")
    done = run("--source", "rows.csv", "--task", "task", "--datasets", "datasets", "--sample", "20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for expected in (
        "Recognised: rows.csv as csv",
        "question", "réponse", "cp1252",
        "1 dropped: exact duplicate", "1 dropped: empty answer", "sans réponse", "11 dropped: not drawn",
        "│ train      │    16 │  16 │      16 │",
        "warning: The test split has 2 rows",
        "datasets/task/train.jsonl", "datasets/task/manifest.json",
        "Next: make check-data TASK=task",
    ):  # fmt: skip
        assert expected in done.stdout, expected
    assert "Reading" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == ["task"]


def test_labels_that_look_like_markup_are_shown_as_they_are(tmp_path, capsys):
    def record(i):
        return {"instruction": question(i), "output": answer(i), "label": ("[red]a[/red]", "[/]")[i % 2]}

    source = json_lines(tmp_path / "rows.jsonl", record)
    main = runpy.run_path(str(SCRIPT))["main"]
    main(["--source", str(source), "--task", "task", "--datasets", str(tmp_path / "d"), "--balance", "upsample"])
    shown = capsys.readouterr().out
    assert min(shown.count("[red]a[/red]"), shown.count("[/]")) >= 2


def test_every_wrong_option_is_named_at_once_and_nothing_is_written(tmp_path):
    done = run(
        "--task", "../x", "--split", "0.8/0.1", "--seed", "x", "--languages", "klingon", "--datasets", "d", cwd=tmp_path
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert [line.split(": ")[1] for line in done.stderr.splitlines() if line.startswith("error: ")] == [
        "--source", "--task", "--split", "--seed", "--languages"
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_broken_source_leaves_nothing_and_the_message_names_the_line(tmp_path):
    json_lines(tmp_path / "rows.jsonl", lambda i: {"instruction": question(i), "output": answer(i)})
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"instruction": "cut\n')
    done = run("--source", "rows.jsonl", "--task", "task", "--datasets", "datasets", cwd=tmp_path)
    assert done.returncode == 2 and f"rows.jsonl:{N + 1}" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_second_run_refuses_and_replace_makes_the_same_bytes(tmp_path, capsys):
    main = runpy.run_path(str(SCRIPT))["main"]
    arguments = ["--source", str(alpaca(tmp_path)), "--task", "task", "--datasets", str(tmp_path / "datasets")]
    main(arguments)
    before = {path.name: path.read_bytes() for path in (tmp_path / "datasets" / "task").glob("*.jsonl")}
    refused = run(*arguments)
    assert refused.returncode == 2 and "--replace" in refused.stderr
    main([*arguments, "--replace"])
    assert {path.name: path.read_bytes() for path in (tmp_path / "datasets" / "task").glob("*.jsonl")} == before


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_run_that_is_stopped_in_the_middle_leaves_nothing(tmp_path, sent, code):
    with (tmp_path / "rows.jsonl").open("w") as file:
        file.writelines(
            json.dumps({"instruction": f"{question(i)} {i}", "output": answer(i)}) + "\n" for i in range(80_000)
        )
    command = [
        sys.executable,
        SCRIPT,
        "--source",
        tmp_path / "rows.jsonl",
        "--task",
        "task",
        "--datasets",
        tmp_path / "d",
    ]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    waiting = tmp_path / "d" / ".task-partial" / "work" / "rows.jsonl"
    while not (waiting.exists() and waiting.stat().st_size > 10_000):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(sent)
    _, shown = process.communicate(timeout=30)
    assert process.returncode == code and "interrupted" in shown and "Traceback" not in shown
    assert list((tmp_path / "d").iterdir()) == []


def test_help_names_every_option_of_the_model():
    from affinage.curation.options import RULE_OPTIONS, Options

    options = set(runpy.run_path(str(SCRIPT))["OPTIONS"]) | {"replace"}
    fields = {name.replace("_", "-") for name in (*Options.model_fields, *RULE_OPTIONS)} - {"rules", "typed"}
    assert options == fields
