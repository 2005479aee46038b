"""Run folders and their manifest: never shared, never half written, always strict JSON."""

import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from affinage.runs import MANIFEST_VERSION, create_run, write_json, write_jsonl

FRENCH = "« L'été où naquit Zoë »\u2028— ç'a été dit œuvre 🐈\n"


def strict(text):
    """JSON as the standard has it: NaN and Infinity are errors."""

    def refuse(constant):
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def manifest_of(run):
    return strict((run.folder / "run.json").read_text(encoding="utf-8"))


def test_runs_of_the_same_second_get_different_folders(tmp_path):
    runs = [create_run("task", "name", tmp_path) for _ in range(6)]
    assert len({run.folder for run in runs}) == 6
    assert all(manifest_of(run)["run_id"] == run.folder.name for run in runs)
    assert any(run.folder.name.count("-") == 2 for run in runs)  # six runs take far less than six seconds


def test_runs_that_start_at_once_get_different_folders(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda _: create_run("task", "name", tmp_path), range(32)))
    assert len({run.folder for run in runs}) == 32
    assert len(list((tmp_path / "task" / "name").iterdir())) == 32


def test_a_run_folder_that_exists_is_left_alone(tmp_path):
    first = create_run("task", "name", tmp_path)
    (first.folder / "mine.txt").write_text("kept")
    before = manifest_of(first)
    create_run("task", "name", tmp_path)
    assert (first.folder / "mine.txt").read_text() == "kept"
    assert manifest_of(first) == before


def test_a_new_run_explains_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/tools/train.py", "--config", "été.yaml"])
    before = datetime.now(UTC).replace(microsecond=0)
    run = create_run("voix-passive", "petit-lora", tmp_path)
    manifest = manifest_of(run)
    started = datetime.fromisoformat(manifest.pop("started"))
    assert before <= started <= datetime.now(UTC)
    assert run.folder.name.startswith(started.strftime("%Y%m%d-%H%M%S"))
    assert run.folder.parent == tmp_path / "voix-passive" / "petit-lora"
    assert manifest == {
        "version": MANIFEST_VERSION,
        "task": "voix-passive",
        "config": "petit-lora",
        "run_id": run.folder.name,
        "command": ["train.py", "--config", "été.yaml"],
        "status": "running",
    }


def test_a_record_adds_to_what_is_there(tmp_path):
    run = create_run("task", "name", tmp_path)
    run.record(seed=42, status="failed")
    run.record(status="finished")
    manifest = manifest_of(run)
    assert (manifest["seed"], manifest["status"], manifest["task"]) == (42, "finished", "task")


def test_the_model_lies_in_the_run_folder(tmp_path):
    run = create_run("task", "name", tmp_path)
    assert run.weights_folder == run.folder / "model" / "model_weights"
    assert run.model_folder == run.folder / "model"


def test_a_disk_that_fills_up_leaves_the_old_manifest(tmp_path, disk_full_after):
    run = create_run("task", "name", tmp_path)
    before = (run.folder / "run.json").read_bytes()
    with disk_full_after(1000), pytest.raises(OSError):
        run.record(log="x" * 100_000)
    assert (run.folder / "run.json").read_bytes() == before


def test_a_value_that_is_no_json_leaves_the_old_manifest(tmp_path):
    run = create_run("task", "name", tmp_path)
    before = (run.folder / "run.json").read_bytes()
    with pytest.raises(TypeError):
        run.record(bad=object())
    assert (run.folder / "run.json").read_bytes() == before


def test_after_a_record_that_failed_the_next_one_works(tmp_path):
    # fault: the bad value stays in the manifest, so `status="failed"` can no longer be recorded either
    run = create_run("task", "name", tmp_path)
    with pytest.raises(TypeError):
        run.record(bad=object())
    run.record(status="failed")
    assert manifest_of(run)["status"] == "failed"


def test_nothing_is_left_beside_the_manifest(tmp_path):
    run = create_run("task", "name", tmp_path)
    run.record(seed=1)
    assert [path.name for path in run.folder.iterdir()] == ["run.json"]


NUMBERS = {"loss": math.nan, "deep": [{"best": math.inf, "ok": 0.5}, (-math.inf, 3)], "flag": True, "none": None}
PLAIN = {"loss": None, "deep": [{"best": None, "ok": 0.5}, [None, 3]], "flag": True, "none": None}


def test_numbers_that_json_does_not_have_become_null(tmp_path):
    write_json(tmp_path / "a.json", NUMBERS)
    write_jsonl(tmp_path / "a.jsonl", [NUMBERS, NUMBERS])
    assert strict((tmp_path / "a.json").read_text(encoding="utf-8")) == PLAIN
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").split("\n")
    assert [strict(line) for line in lines[:-1]] == [PLAIN, PLAIN]


def test_json_is_utf_8_that_a_person_can_read(tmp_path):
    write_json(tmp_path / "a.json", {"texte": FRENCH})
    raw = (tmp_path / "a.json").read_bytes()
    assert "« L'été où naquit Zoë »".encode() in raw
    assert raw.endswith(b"}\n")
    assert strict(raw.decode("utf-8")) == {"texte": FRENCH}


def test_jsonl_holds_one_record_per_line_and_comes_back_equal(tmp_path):
    records = [{"answer": FRENCH, "n": i, "nested": {"é": [1, 2.5, None, True]}} for i in range(3)]
    write_jsonl(tmp_path / "a.jsonl", records)
    raw = (tmp_path / "a.jsonl").read_bytes()
    assert raw.count(b"\n") == 3
    assert [strict(line) for line in raw.decode("utf-8").rstrip("\n").split("\n")] == records


def test_an_empty_list_of_records_is_an_empty_file(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [])
    assert (tmp_path / "a.jsonl").read_bytes() == b""


def test_jsonl_on_a_disk_that_fills_up_leaves_the_old_file(tmp_path, disk_full_after):
    write_jsonl(tmp_path / "a.jsonl", [{"old": 1}])
    with disk_full_after(1000), pytest.raises(OSError):
        write_jsonl(tmp_path / "a.jsonl", [{"new": "x" * 100_000}])
    assert (tmp_path / "a.jsonl").read_text() == '{"old": 1}\n'
