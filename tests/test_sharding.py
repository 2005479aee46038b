"""A model in parts (FSDP) against one whole model: the same losses, answers, weights and checkpoints."""

import json

import pytest
import torch
from safetensors.torch import load_file
from tests.worker_processes import LORA, TRAINER, history, resume, same, stopped, together, train, writer

from affinage.errors import AffinageError
from affinage.runs import all_runs

pytestmark = pytest.mark.slow
PARTS = {"backend": {"type": "local", "trainer": {"strategy": "fsdp"}}}
KINDS = {
    "llama, lora": (("llama", "plain"), LORA, {}),
    "llama, full": (("llama", "plain"), {"adapter": None}, {}),
    "llama, full, checkpointing": (("llama", "plain"), {"adapter": None}, {"enable_gradient_checkpointing": True}),
    "gpt2, full, tied": (("gpt2", "no_pad"), {"adapter": None}, {"optimizer": {"type": "adamw"}}),
}


@pytest.fixture
def project(tmp_path, llm_config, sentences):
    return writer(tmp_path, llm_config, sentences)


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_with_a_part_each_train_as_one_with_the_whole(kind, project, tmp_path):
    model, sections, trainer = KINDS[kind]
    config, data = project(model, trainer={**TRAINER, **trainer}, **sections, **PARTS)
    [one] = together(train, config, data, tmp_path / "one", size=1)
    [two, _] = together(train, config, data, tmp_path / "two")
    same(one, two, 1e-5)
    (run,) = all_runs(tmp_path / "two")
    (other,) = all_runs(tmp_path / "one")
    assert run.manifest["training"]["workers"] == 2 and "scaling_efficiency" not in run.manifest["training"]
    for key in ("parameters", "trainable_parameters", "answer_tokens_per_epoch", "best_step"):
        assert run.manifest["training"][key] == other.manifest["training"][key]
    saved, expected = (weights(folder) for folder in (two, one))
    assert saved.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(saved[name], tensor, atol=1e-4, rtol=0)


def test_parts_in_two_types_of_number_train_as_the_whole(project, tmp_path):
    config, data = project(trainer={**TRAINER, "use_mixed_precision": True}, **LORA, **PARTS)  # frozen: bfloat16
    [one] = together(train, config, data, tmp_path / "one", size=1)
    [two, _] = together(train, config, data, tmp_path / "two")
    losses = [[entry["loss"] for entry in history(folder) if "lr" in entry] for folder in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=5e-3) and len(losses[0]) == 4


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_workers_train_an_encoder_decoder_as_one(strategy, project, tmp_path, sentences):
    from affinage.tiny_models import make_tiny_model

    rows = sentences(60)
    make_tiny_model("t5", [*rows["input"], *rows["output"], "copie ### Instruction: Input: Response:"], tmp_path / "t5")
    backend = {"type": "local", "trainer": {"strategy": strategy}}
    config, data = project(base_model=str(tmp_path / "t5"), **LORA, backend=backend)
    [one] = together(train, config, data, tmp_path / "one", size=1)
    [two, _] = together(train, config, data, tmp_path / "two")
    same(one, two, 1e-5)


def weights(folder):
    (file,) = (folder / "model").rglob("*model*.safetensors")
    return load_file(file)


def test_a_loss_in_chunks_trains_an_output_layer_in_parts(project, tmp_path):
    config, data = project(adapter=None, **PARTS)
    [one] = together(train, config, data, tmp_path / "one", size=1)
    [two, _] = together(train_in_chunks, config, data, tmp_path / "two")
    same(one, two, 1e-5)


def train_in_chunks(config, data, results):
    from affinage.ludwig_ext import loss

    loss.LOGITS_AT_ONCE = 1  # one position at a time
    return train(config, data, results)


def test_a_stopped_run_in_parts_goes_on_with_parts_and_with_one_worker(project, tmp_path):
    config, data = project(**LORA, **PARTS)
    [whole, _] = together(train, config, data, tmp_path / "whole")
    for size in (2, 1):
        [half, _] = together(stopped, config, data, tmp_path / f"half of {size}")
        assert [entry["step"] for entry in history(half) if "lr" in entry] == [1, 2, 3]
        again = together(resume, half, size=size)[0]
        same(whole, again, 1e-5)
    (run,) = all_runs(tmp_path / "half of 1")
    assert any("2 workers, and 1 go on" in note for note in run.manifest["training"]["notes"])


def in_parts(folder):
    """Whether each worker holds its part alone, and whether steps of all optimizers equal those on the whole model."""
    from ludwig.schema.optimizers import optimizer_registry
    from transformers import AutoModelForCausalLM

    from affinage.ludwig_ext import sharding

    found = {}
    for name in sharding.OPTIMIZERS:
        expected = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        empty = sharding.skeleton(model)
        sharding.shard(model)
        held = sum(parameter.to_local().numel() for parameter in model.parameters())
        optimizers = [optimizer_registry[name][0](m.parameters(), lr=0.01) for m in (model, expected)]
        ids = torch.arange(12).reshape(2, 6)
        for _ in range(2):
            for m, optimizer, share in zip((model, expected), optimizers, (0.5, 1), strict=True):
                (m(input_ids=ids, labels=ids).loss * share).backward()  # the same rows in both workers
                optimizer.step()
                optimizer.zero_grad()
        state = sharding.optimizer_state(optimizers[0])
        sharding.load_optimizer_state(optimizers[0], state)
        again = sharding.optimizer_state(optimizers[0])
        full = sharding.gathered(empty, model)
        found[name] = {
            "held": held / sum(parameter.numel() for parameter in expected.parameters()),
            "weights": _distance(full.state_dict(), expected.state_dict()),
            "state": max(_distance(a, b) for a, b in _pairs(state, optimizers[1].state_dict())),
            "again": max(_distance(a, b) for a, b in _pairs(state, again)),
            "class": type(full) is type(expected),
        }
    return found


def _pairs(one, two):
    assert one["param_groups"] == two["param_groups"] and one["state"].keys() == two["state"].keys()
    return [(one["state"][i], two["state"][i]) for i in one["state"]] or [({}, {})]


def _distance(one, two):
    assert one.keys() == two.keys()
    values = [(one[key], two[key]) for key in one if one[key] is not None]
    return max((torch.as_tensor(a - b).abs().max().item() for a, b in values), default=0.0)


@pytest.mark.parametrize("family", [("llama", "plain"), ("gpt2", "no_pad")])
def test_each_worker_holds_half_and_every_optimizer_steps_as_on_the_whole(family, tiny_model):
    for found in together(in_parts, str(tiny_model(*family))):
        for name, one in found.items():
            assert 0.45 < one["held"] < 0.55 and one["class"], name
            assert one["weights"] < 1e-4 and one["state"] < 1e-5 and one["again"] == 0, (name, one)


ADAFACTOR = {"type": "adafactor", "relative_step": False, "lr": 0.001}
REFUSED = {
    "4 bits": (LORA | {"quantization": {"bits": 4}}, {}, ["quantization"]),
    "the rest": (
        {"adapter": {"type": "ia3"}},
        {"type": "dpo", "optimizer": ADAFACTOR},
        ["adapter.type", "trainer.type", "trainer.optimizer.type"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_dealt_out_is_refused_all_at_once(case, project):
    from affinage import training
    from affinage.ludwig_ext.workers import refuse

    sections, trainer, expected = REFUSED[case]
    config, data = project(trainer={**TRAINER, **trainer}, **sections, **PARTS)
    rows = [{**json.loads(line), "rejected": "no"} for line in data.read_text().splitlines()]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(AffinageError) as error:
        refuse(training.plan(config, str(data)).resolved)
    assert [problem.where for problem in error.value.problems] == expected
