"""Copies of a run elsewhere: in order however they break off, refused in time, and enough to go on from."""

import json
import shutil
import subprocess
import sys
import time

import fsspec
import pytest
import yaml

from affinage import run_copies
from affinage.errors import AffinageError
from affinage.paths import ROOT
from affinage.runs import all_runs, create_run

FILES = ("history.jsonl", "model/training_checkpoints/best.pt", "model/training_checkpoints/latest.pt", "run.json")


@pytest.fixture
def run(tmp_path):
    made = create_run("task", "tiny", tmp_path / "results")
    write(made.folder, "old")
    return made


def write(folder, state):
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"task": "task", "config": "tiny", "run_id": folder.name, "state": state}))


def states(place):
    return [json.loads((place / name).read_text())["state"] for name in FILES]


def copy_to(folder, run):
    (copy,) = run_copies.copies(run, {"backend": {"storage": folder.as_uri()}})
    return copy, folder / "task" / "tiny" / run.folder.name


@pytest.mark.parametrize("done", range(2 * len(FILES) + 1))
def test_a_copy_that_breaks_off_anywhere_can_be_gone_on_from(done, run, tmp_path, monkeypatch):
    copy, place = copy_to(tmp_path / "store", run)
    assert copy.update() == "" and states(place) == ["old"] * len(FILES)
    write(run.folder, "new!")
    left = [done]

    def broken(real):
        def call(*arguments, **others):
            if not left[0]:
                raise OSError("the line is cut")
            left[0] -= 1
            return real(*arguments, **others)

        return call

    for name in ("put_file", "mv"):
        monkeypatch.setattr(copy._store, name, broken(getattr(copy._store, name)))
    assert ("the line is cut" in copy.update()) == (done < 2 * len(FILES))
    found = states(place)
    assert found == ["new!"] * (done // 2) + ["old"] * (len(FILES) - done // 2)  # never a checkpoint before its history
    monkeypatch.undo()
    assert copy.update() == "" and states(place) == ["new!"] * len(FILES)
    assert not list(place.rglob("*.partial"))


def test_only_what_has_changed_is_copied_and_what_is_made_anew_is_not(run, tmp_path):
    for name in ("model/rows/training.arrow", "model/weights.partial", ".lock"):
        (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / name).touch()
    copy, place = copy_to(tmp_path / "store", run)
    copy.update()
    assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()) == sorted(FILES)
    (place / "history.jsonl").write_text("untouched")
    (run.folder / "run.json").write_text("{}")
    copy.update()
    assert (place / "history.jsonl").read_text() == "untouched" and (place / "run.json").read_text() == "{}"


def test_a_copy_in_a_store_of_objects_comes_back_whole(run, tmp_path):
    (copy,) = run_copies.copies(run, {"backend": {"storage": "memory://bucket/runs"}})
    copy.update()
    (run.folder / "run.json").write_text("{}")
    here = tmp_path / "another machine"
    found = run_copies.fetch(f"memory://bucket/runs/task/tiny/{run.folder.name}", here)
    assert found.folder == here / "task" / "tiny" / run.folder.name and states(found.folder) == ["old"] * len(FILES)
    assert [path.name for path in found.folder.parent.iterdir()] == [run.folder.name]
    with pytest.raises(AffinageError, match=f"on this machine already.*RESUME={run.folder.name}"):
        run_copies.fetch(f"memory://bucket/runs/task/tiny/{run.folder.name}", here)
    with pytest.raises(AffinageError, match="no copy of a run is there"):
        run_copies.fetch("memory://bucket/runs/task/tiny", here)


WRONG = {
    "nowhere://bucket": "cannot be opened: Protocol not known: nowhere",
    "dropbox://folder": "needs a package that is not installed",
    "sftp://anna:secret@example.org/runs": "holds a password",
}


@pytest.mark.parametrize("address", WRONG)
def test_an_address_that_nothing_can_be_written_below_is_refused_at_once(address):
    with pytest.raises(AffinageError, match=WRONG[address]) as error:
        run_copies.check({"backend": {"storage": address}})
    assert "secret" not in str(error.value)


def test_a_store_is_tried_before_the_run_and_left_clean(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AffinageError, match=r"backend\.storage 'file://.*cannot be written to"):
        run_copies.check({"backend": {"storage": (tmp_path / "file" / "folder").as_uri()}})
    run_copies.check({"backend": {"storage": (tmp_path / "new").as_uri()}})
    assert list((tmp_path / "new").iterdir()) == []
    run_copies.check({"backend": "local"})
    run_copies.check({})


@pytest.fixture
def project(tmp_path, llm_config, sentences):
    rows = sentences(40)
    rows["split"] = [0] * 25 + [1] * 8 + [2] * 7
    rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    trainer = {"type": "finetune", "train_steps": 120, "batch_size": 6, "steps_per_checkpoint": 20}
    split = {"split": {"type": "fixed", "column": "split"}}
    config = llm_config(preprocessing=split, trainer=trainer, adapter={"type": "lora", "dropout": 0.1})
    path = tmp_path / "task" / "tiny.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def command(results, **options):
    given = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [sys.executable, str(ROOT / "tools" / "train.py"), "--results", str(results), *given]


def losses(folder):
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "lr" in line]


@pytest.mark.slow
def test_another_machine_goes_on_from_the_copy_of_a_killed_run(project, tmp_path):
    store = (tmp_path / "store").as_uri()
    options = {"config": project, "dataset": tmp_path / "rows.jsonl"}
    subprocess.run(command(tmp_path / "whole", **options), check=True, capture_output=True)
    (whole,) = all_runs(tmp_path / "whole")
    killed = subprocess.Popen(command(tmp_path / "lost", **options, set=f"backend.storage={store}"))
    copied = tmp_path / "store" / "task" / "tiny"
    while killed.poll() is None and not list(copied.glob("*/model/training_checkpoints/latest.pt")):
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -9
    shutil.rmtree(tmp_path / "lost")
    (copy,) = copied.iterdir()
    done = subprocess.run(command(tmp_path / "found", resume=copy.as_uri()), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = all_runs(tmp_path / "found")
    assert run.folder.name == copy.name and run.status == "finished"
    assert losses(run.folder) == pytest.approx(losses(whole.folder), abs=1e-6)
    for name in ("predictions.jsonl", "metrics.json"):
        assert (run.folder / name).read_text() == (whole.folder / name).read_text()
    for path in run.folder.rglob("*.*"):
        if path.is_file() and path.name != ".lock":
            assert (copy / path.relative_to(run.folder)).read_bytes() == path.read_bytes(), path


@pytest.mark.slow
def test_a_store_that_goes_away_ends_no_run(project, tmp_path):
    from ludwig.callbacks import Callback

    from affinage import training

    config = yaml.safe_load(project.read_text())
    config["backend"] = {"storage": "memory://going/away"}
    project.write_text(yaml.safe_dump(config))

    class Gone(Callback):
        def on_batch_end(self, trainer, progress_tracker, save_path, sync_step=True, **kwargs):
            if progress_tracker.steps == 50:
                fsspec.filesystem("memory").put_file = fail

    def fail(*arguments, **others):
        raise OSError("gone")

    ready = training.plan(project, str(tmp_path / "rows.jsonl"))
    run = training.start(ready, tmp_path / "results")
    try:
        training.complete(run, ready, [Gone()])
    finally:
        del fsspec.filesystem("memory").put_file
    assert run.status == "finished" and run.manifest["storage"]["error"].endswith("brought up to date: gone")
    notes = [note for note in run.manifest["training"]["notes"] if "could not be brought up to date: gone" in note]
    assert len(notes) == 1
