"""Repeating a run from its folder: identical losses, and what changed since is named."""

import json

import pytest

from affinage.provenance import describe_base_model, differences, make_line
from affinage.reproduce import compare


def write_history(folder, losses):
    folder.mkdir()
    records = [{"step": n, "loss": loss, "lr": 0.1} for n, loss in enumerate(losses, 1)]
    text = "".join(json.dumps(record) + "\n" for record in [*records, {"step": len(losses), "train_loss": 1.0}])
    (folder / "history.jsonl").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("again", "same", "said"),
    [
        ([3.0, 2.0, 1.0], True, "all 3 losses are identical"),
        ([3.0, 2.0 + 5e-7, 1.0], True, "at most 5.00e-07, first at step 2"),
        ([3.0, 2.0, 1.1], False, "at most 1.00e-01, first at step 3"),
        ([3.0, 2.0], False, "at most inf, first at step 3"),
        ([3.0, 2.0, 1.0, 0.5], True, "all 3 losses are identical"),
    ],
)
def test_losses_are_compared_step_by_step(tmp_path, again, same, said):
    first, second = write_history(tmp_path / "a", [3.0, 2.0, 1.0]), write_history(tmp_path / "b", again)
    comparison = compare(first, second)
    assert comparison.same is same and said in str(comparison)


def test_a_run_that_recorded_nothing_is_not_repeated(tmp_path):
    comparison = compare(tmp_path, write_history(tmp_path / "b", [1.0]))
    assert not comparison.same and "nothing to compare" in str(comparison)


def test_only_what_changed_is_named():
    before = {"seed": 42, "environment": {"cpu": "A", "packages": {"torch": "1", "peft": "2"}}}
    now = {"seed": 42, "environment": {"cpu": "B", "packages": {"torch": "1", "peft": "3"}}}
    assert differences(before, before) == []
    assert differences(before, now) == ["cpu: A then, B now", "peft: 2 then, 3 now"]


def test_the_base_model_is_known_by_the_hash_of_each_file(tiny_model):
    import hashlib
    from pathlib import Path

    folder = Path(tiny_model())
    described = describe_base_model(str(folder))
    weights = (folder / "model.safetensors").read_bytes()
    assert described["files"]["model.safetensors"] == hashlib.sha256(weights).hexdigest()
    assert {"config.json", "tokenizer.json"} <= described["files"].keys()


def test_the_make_line_quotes_what_a_shell_would_take_apart(tmp_path):
    line = make_line(tmp_path / "my config.yaml", "ludwig://alpaca", "trainer.epochs=1 adapter.r=4")
    assert (
        line
        == f"make train CONFIG='{tmp_path}/my config.yaml' DATASET=ludwig://alpaca SET='trainer.epochs=1 adapter.r=4'"
    )
