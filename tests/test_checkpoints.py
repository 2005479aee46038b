"""Checkpoints: what they hold, that they come back bit by bit, and that none is ever half there."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from affinage.ludwig_ext import checkpoints


def model_of(seed=0):
    """A frozen layer, a trainable one, and a buffer."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2, bias=False))
    model[0].requires_grad_(False)
    torch.nn.init.normal_(model[1].weight)  # 1 in every model otherwise
    return model


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_the_state_holds_trainable_parameters_alone():
    assert list(checkpoints.trainable_state(model_of())) == ["1.weight", "1.bias", "2.weight"]


def test_the_state_is_a_copy_that_later_steps_do_not_change():
    model = model_of()
    state = checkpoints.trainable_state(model)
    before = model[2].weight.detach().clone()
    with torch.no_grad():
        model[2].weight.add_(1)
    assert torch.equal(state["2.weight"], before)


def test_weights_come_back_bit_by_bit_and_frozen_ones_stay(tmp_path):
    source, target = model_of(1), model_of(2)
    frozen = weights(target)["0.weight"]
    checkpoints.save(tmp_path / "state.pt", checkpoints.trainable_state(source))
    checkpoints.load_trainable_state(target, checkpoints.load(tmp_path / "state.pt"))
    assert all(torch.equal(weights(target)[name], weights(source)[name]) for name in ("1.weight", "1.bias", "2.weight"))
    assert torch.equal(weights(target)["0.weight"], frozen)
    assert not torch.equal(frozen, weights(source)["0.weight"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_weights_keep_their_type(dtype, tmp_path):
    state = {"w": torch.randn(5, 5).to(dtype)}
    checkpoints.save(tmp_path / "state.pt", state)
    loaded = checkpoints.load(tmp_path / "state.pt")["w"]
    assert loaded.dtype == dtype
    assert torch.equal(loaded, state["w"])


def test_loaded_weights_still_train(tmp_path):
    model = model_of()
    checkpoints.load_trainable_state(model, checkpoints.trainable_state(model_of(1)))
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True, True, True]
    assert all(parameter.is_leaf for parameter in model.parameters())


@pytest.mark.parametrize(
    ("drop", "add"), [("1.bias", None), (None, "other.weight"), (None, "0.weight"), ("1.bias", "1.beta")]
)
def test_a_state_with_other_names_is_refused_and_changes_nothing(drop, add):
    model = model_of()
    before = weights(model)
    state = checkpoints.trainable_state(model_of(1))
    if drop:
        del state[drop]
    if add:
        state[add] = torch.zeros(3)
    with pytest.raises(KeyError, match=drop or add):
        checkpoints.load_trainable_state(model, state)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_a_state_with_other_shapes_is_refused():
    # fault: copy_ stretches a LoRA matrix of rank 1 over one of rank 8 without a word
    model, state = model_of(), checkpoints.trainable_state(model_of(1))
    state["2.weight"] = state["2.weight"][:1]
    with pytest.raises((KeyError, ValueError, RuntimeError)):
        checkpoints.load_trainable_state(model, state)


def draws():
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(3).tolist(), torch.randn(3).tolist()


def test_the_next_random_draws_after_a_restore_are_the_same(tmp_path):
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    draws()  # an odd number of gaussian draws leaves one in store
    checkpoints.save(tmp_path / "state.pt", {"random": checkpoints.random_state()})
    expected = draws()
    assert draws() != expected
    checkpoints.restore_random_state(checkpoints.load(tmp_path / "state.pt")["random"])
    assert draws() == expected


def test_everything_a_trainer_keeps_comes_back_equal(tmp_path):
    model = model_of()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    model(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    history = [{"step": 1, "train_loss": 0.5, "samples": [{"answer": "été"}]}]
    state = {"steps": 7, "optimizer": optimizer.state_dict(), "history": history, "best_loss": float("inf")}
    checkpoints.save(tmp_path / "deep" / "er" / "latest.pt", state)
    loaded = checkpoints.load(tmp_path / "deep" / "er" / "latest.pt")
    assert (loaded["steps"], loaded["history"], loaded["best_loss"]) == (7, history, float("inf"))
    moments = [(loaded["optimizer"]["state"][i], optimizer.state_dict()["state"][i]) for i in range(3)]
    assert all(torch.equal(a["exp_avg_sq"], b["exp_avg_sq"]) and a["step"] == b["step"] for a, b in moments)


def test_a_disk_that_fills_up_leaves_the_old_checkpoint(tmp_path, disk_full_after):
    path = tmp_path / "latest.pt"
    checkpoints.save(path, {"steps": 1})
    with disk_full_after(1000), pytest.raises((OSError, RuntimeError)):
        checkpoints.save(path, {"steps": 2, "weights": torch.randn(10_000)})
    assert checkpoints.load(path) == {"steps": 1}


def test_a_save_that_stops_halfway_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path, whole_save = tmp_path / "latest.pt", torch.save
    checkpoints.save(path, {"steps": 1})

    def stop_halfway(state, file):
        whole_save(state, file)
        file.truncate(file.tell() // 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stop_halfway)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(path, {"steps": 2})
    monkeypatch.undo()
    assert checkpoints.load(path) == {"steps": 1}
    checkpoints.save(path, {"steps": 3})
    assert checkpoints.load(path) == {"steps": 3}
    assert list(tmp_path.iterdir()) == [path]


class _Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_with_code_in_it_is_refused_and_the_code_does_not_run(tmp_path):
    torch.save({"steps": 1, "weights": _Payload(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        checkpoints.load(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "evil.pt", weights_only=False)  # the payload works, so the refusal above means something
    assert (tmp_path / "ran").exists()
