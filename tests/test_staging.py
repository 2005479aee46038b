"""A dataset folder that appears whole or not at all, whatever stops the work."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from affinage.curation.staging import staged
from affinage.errors import AffinageError


def fill(folder, text="new"):
    for name in ("train.jsonl", "manifest.json"):
        (folder / name).write_text(text)


def files(folder):
    """Every file below a folder with its text."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_appears_only_at_the_end(tmp_path):
    target = tmp_path / "datasets" / "task"
    with staged(target) as partial:
        fill(partial)
        assert not target.exists()
    assert files(tmp_path) == {"datasets/task/train.jsonl": "new", "datasets/task/manifest.json": "new"}


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit, AffinageError("broken")])
def test_after_an_error_nothing_is_left(tmp_path, error):
    with pytest.raises(error if isinstance(error, type) else type(error)), staged(tmp_path / "task") as partial:
        fill(partial)
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_data_is_refused_before_any_work(tmp_path):
    (tmp_path / "task").mkdir()
    fill(tmp_path / "task", "old")
    with pytest.raises(AffinageError, match=r"task: holds data already: manifest.json, train.jsonl.*--replace"):
        staged(tmp_path / "task").__enter__()
    assert files(tmp_path) == {"task/train.jsonl": "old", "task/manifest.json": "old"}


def test_replacing_keeps_what_is_no_split_and_no_manifest(tmp_path):
    old = tmp_path / "task"
    (old / "raw").mkdir(parents=True)
    for name in ("train.csv", "test.jsonl", "manifest.json", "README.md", "raw/mail.txt", "curate.yaml", "rows.csv"):
        (old / name).write_text("old")
    (old / "raw" / "latest.txt").symlink_to("mail.txt")
    with staged(old, replace=True) as partial:
        fill(partial)
        assert len(files(old)) == 8
    kept = dict.fromkeys(["README.md", "raw/mail.txt", "raw/latest.txt", "curate.yaml", "rows.csv"], "old")
    assert (tmp_path / "task" / "raw" / "latest.txt").is_symlink()
    assert files(tmp_path / "task") == {"train.jsonl": "new", "manifest.json": "new", **kept}
    assert [path.name for path in tmp_path.iterdir()] == ["task"]


def test_an_error_while_replacing_leaves_the_old_dataset(tmp_path):
    (tmp_path / "task").mkdir()
    fill(tmp_path / "task", "old")
    with pytest.raises(KeyError), staged(tmp_path / "task", replace=True) as partial:
        fill(partial)
        raise KeyError
    assert files(tmp_path) == {"task/train.jsonl": "old", "task/manifest.json": "old"}


def test_raw_data_in_the_folder_is_no_dataset_when_it_is_the_source(tmp_path):
    raw = tmp_path / "task" / "raw.csv"
    raw.parent.mkdir()
    raw.write_text("old")
    with staged(raw.parent, sources=[raw]) as partial:
        fill(partial)
    assert files(tmp_path / "task") == {"raw.csv": "old", "train.jsonl": "new", "manifest.json": "new"}


@pytest.mark.parametrize("replace", [True, False])
def test_a_source_is_never_replaced(tmp_path, replace):
    source = tmp_path / "task" / "train.csv"
    source.parent.mkdir()
    source.write_text("old")
    with pytest.raises(AffinageError, match=r"train\.csv: is a source and would be replaced"):
        staged(source.parent, replace, [source]).__enter__()
    assert source.read_text() == "old"


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "task").write_text("old")
    with pytest.raises(AffinageError, match="task: is a file"):
        staged(tmp_path / "task").__enter__()


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "task").symlink_to(tmp_path / "elsewhere")
    with staged(tmp_path / "task") as partial:
        fill(partial)
    assert (tmp_path / "task").is_symlink()
    assert sorted(files(tmp_path / "elsewhere")) == ["manifest.json", "train.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "task"]


def test_two_at_once_are_told_apart(tmp_path):
    with staged(tmp_path / "task") as partial:
        with pytest.raises(AffinageError, match=f"process {os.getpid()} is making this dataset"):
            staged(tmp_path / "task").__enter__()
        fill(partial)
    assert sorted(files(tmp_path / "task")) == ["manifest.json", "train.jsonl"]


@pytest.mark.parametrize("pid", ["", "nonsense", "1 1.0", f"{2**22 - 1} 5.0"])
def test_what_a_killed_process_left_is_taken_over(tmp_path, pid):
    left = tmp_path / ".task-partial"
    left.mkdir()
    fill(left, "half")
    if pid:
        (left / "pid").write_text(pid)
    with staged(tmp_path / "task") as partial:
        assert [path.name for path in partial.iterdir()] == ["pid"]
        fill(partial)
    assert [path.name for path in tmp_path.iterdir()] == ["task"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    old = tmp_path / ".task-old"
    old.mkdir()
    fill(old, "old")
    with pytest.raises(AffinageError, match="holds data already"):
        staged(tmp_path / "task").__enter__()
    assert files(tmp_path) == {"task/train.jsonl": "old", "task/manifest.json": "old"}


WORK = """
import sys, time
from pathlib import Path
from affinage.console import run_script
from affinage.curation.staging import staged

def main():
    with staged(Path(sys.argv[1]), replace=True) as partial:
        (partial / "train.jsonl").write_text("half")
        time.sleep(60)

raise SystemExit(run_script(main))
"""


def working(target):
    """A process that fills the folder, caught in the middle."""
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(WORK), str(target)], stderr=subprocess.PIPE)
    half = target.with_name(f".{target.name}-partial") / "train.jsonl"
    while not half.exists():
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_stopped_leaves_nothing(tmp_path, sent):
    process = working(tmp_path / "task")
    process.send_signal(sent)
    assert b"interrupted" in process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_leaves_the_old_dataset_and_the_next_one_cleans_up(tmp_path):
    (tmp_path / "task").mkdir()
    fill(tmp_path / "task", "old")
    process = working(tmp_path / "task")
    process.kill()
    process.communicate()
    assert not psutil.pid_exists(process.pid)
    assert files(tmp_path / "task") == {"train.jsonl": "old", "manifest.json": "old"}
    with staged(tmp_path / "task", replace=True) as partial:
        fill(partial)
    assert files(tmp_path) == {"task/train.jsonl": "new", "task/manifest.json": "new"}
