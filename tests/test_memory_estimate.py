"""Parameters against built models, bytes against real steps: counted here, and measured on a machine before."""

import json
from dataclasses import replace

import pytest

from affinage.errors import AffinageError
from affinage.paths import ROOT

ALL = {"type": "lora", "r": 3, "target_modules": ["all-linear"]}
BUFFERS = 2 * 8 * 4  # bytes of a tiny Llama's rotary frequencies, as they are and as they were
BITS4 = {"bits": 4, "bnb_4bit_compute_dtype": "float32"}


@pytest.fixture
def resolve(affinage, llm_config):
    from affinage import training

    return lambda *model, **sections: training.resolve(llm_config(*model, **sections), "test")


@pytest.mark.parametrize(
    ("model", "sections"),
    [
        (("llama", "plain"), {}),
        (("llama", "plain"), {"adapter": ALL}),
        (("gpt2", "no_pad"), {"adapter": {"type": "lora", "r": 4}}),
        (("gpt2", "no_pad"), {"adapter": ALL}),
        (("mistral", "bos"), {"adapter": {**ALL, "use_dora": True}}),
        (("llama", "plain"), {"adapter": {**ALL, "init_lora_weights": "pissa"}}),
        (("llama", "plain"), {"adapter": ALL, "quantization": BITS4}),
        (("gpt2", "no_pad"), {"adapter": ALL, "quantization": BITS4}),
        (("llama", "plain"), {"adapter": {"type": "ia3"}}),
        (("llama", "plain"), {"adapter": {"type": "boft"}}),
        (("llama", "plain"), {"adapter": None}),
        (("gpt2", "no_pad"), {"adapter": None}),
    ],
)
def test_counts_equal_those_of_the_model_that_is_trained(resolve, prepare, llm_config, sentences, model, sections):
    from affinage.ludwig_ext.model import parameter_counts
    from affinage.memory_estimate import count_parameters

    counted = count_parameters(resolve(*model, **sections))
    built = prepare(llm_config(*model, **sections), sentences(8))[0].model.model
    assert (counted.trainable, counted.total) == parameter_counts(built)
    if sections.get("adapter", ALL):
        assert (counted.trainable, counted.total) == built.get_nb_trainable_parameters()
    packed = [p for p in built.parameters() if type(p).__name__ == "Params4bit"]
    assert counted.quantized == 2 * sum(p.numel() * p.element_size() for p in packed)


def test_names_the_modules_under_the_adapter(resolve):
    from affinage.memory_estimate import count_parameters

    assert count_parameters(resolve(adapter={"type": "lora", "target_modules": ["q_proj"]})).adapted == ["q_proj"]
    assert count_parameters(resolve("gpt2", "no_pad", adapter=ALL)).adapted == ["c_attn", "c_fc", "c_proj"]
    assert count_parameters(resolve(adapter=None)).adapted == []


def test_an_adapter_that_does_not_fit_the_model_is_an_error_to_mend(resolve):
    from affinage.memory_estimate import count_parameters

    with pytest.raises(AffinageError, match="adapter: does not fit"):
        count_parameters(resolve(adapter={"type": "c3a"}))


def test_the_config_is_left_as_it_was(resolve):
    from affinage.memory_estimate import count_parameters

    resolved = resolve(adapter={**ALL, "init_lora_weights": "pissa"})
    before = resolved.to_dict()
    count_parameters(resolved)
    assert resolved.to_dict() == before


@pytest.mark.parametrize(
    ("quantization", "each"),
    [
        ({"bits": 4}, 0.5 + 1 / 64 + 4 / (64 * 256)),
        ({"bits": 4, "bnb_4bit_use_double_quant": False}, 0.5 + 4 / 64),
        ({"bits": 8}, 1),
    ],
)
def test_quantized_weights_take_their_bits_and_their_scales(resolve, quantization, each):
    from affinage.footprint.step import Skeleton
    from affinage.memory_estimate import count_parameters

    resolved = resolve(quantization=quantization)
    counted = count_parameters(resolved)
    found = Skeleton(resolved, "cpu").weights()
    plain = counted.total - counted.trainable - counted.quantized
    assert found["adapter"] == counted.trainable * 4
    assert found["weights"] == pytest.approx(counted.quantized * each + plain * 4, rel=0.1)  # tiny layers round up


@pytest.mark.parametrize(
    ("optimizer", "each"),
    [
        ({"type": "adamw"}, 8),
        ({"type": "adam", "amsgrad": True}, 12),
        ({"type": "paged_adam_8bit"}, 2),
        ({"type": "lion"}, 4),
        ({"type": "sgd"}, 0),
        ({"type": "sgd", "momentum": 0.9}, 4),
        ({"type": "rmsprop", "centered": True}, 8),
    ],
)
def test_optimizers_keep_as_many_numbers_as_they_do(resolve, optimizer, each):
    from affinage.footprint.needs import state_bytes

    trainer = {"type": "finetune", "learning_rate": 0.001, "optimizer": optimizer}
    assert state_bytes(resolve(trainer=trainer).trainer.optimizer) == each


def trainer_with(**keys):
    return {"type": "finetune", "epochs": 1, "batch_size": 4, "learning_rate": 0.001, **keys}


STEPS = [
    {},
    {"adapter": None},
    {"adapter": {**ALL, "dropout": 0.1}},
    {"quantization": BITS4},
    {"quantization": {"bits": 4, "bnb_4bit_compute_dtype": "bfloat16"}},
    {"quantization": {"bits": 8, "bnb_4bit_compute_dtype": "float32"}},
    {"trainer": trainer_with(enable_gradient_checkpointing=True)},
    {"trainer": trainer_with(use_mixed_precision=True)},
]


@pytest.mark.parametrize(
    ("model", "sections"),
    [*((("llama", "plain"), sections) for sections in STEPS), *((("gpt2", "no_pad"), STEPS[i]) for i in (1, 4))],
)
def test_a_step_on_fake_tensors_allocates_what_a_real_step_does(
    resolve, trainer_of, llm_config, sentences, model, sections
):
    from affinage.footprint.ledger import peak
    from affinage.footprint.step import Batch, Skeleton

    trainer = trainer_of(llm_config(*model, **sections), sentences(8))
    row = max(trainer.rows.rows, key=lambda row: len(row.ids))
    skeleton = Skeleton(resolve(*model, **sections), "cpu")
    kept, real = real_step(trainer, [row] * 3 + [replace(row, ids=row.ids[:-1])])
    assert sum(skeleton.weights().values()) == pytest.approx(kept, rel=0.03)
    found = peak(skeleton.training(Batch(4, len(row.ids), row.answer_tokens)), {})
    assert sum(found.values()) == pytest.approx(sum(real.values()), rel=0.03)


def real_step(trainer, rows):
    """Bytes of the weights, and those at the peak of a step, by the same book on real tensors."""
    from affinage.footprint.ledger import Ledger, peak
    from affinage.footprint.skeleton import held
    from affinage.ludwig_ext.batches import collate

    batch = collate(rows, trainer.model.special.pad)
    trainer.model.model.train()
    tensors = [tensor for tensors in held(trainer.model.model).values() for tensor in tensors]
    with Ledger(tensors, "all") as ledger:
        nll = trainer.nll(batch)
        (nll / batch.answer_tokens).backward()
        del nll
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors), peak(ledger.entries, {})


def test_the_book_agrees_with_what_the_profiler_saw_allocated():
    import torch
    from torch.profiler import ProfilerActivity, profile

    from affinage.footprint.ledger import Ledger, peak
    from affinage.footprint.measure import most_allocated

    layers = torch.nn.Sequential(*(torch.nn.Linear(64, 64) for _ in range(4)))
    inputs = torch.ones(100, 64)

    def step():
        layers.zero_grad()
        layers(inputs).relu().sum().backward()

    with Ledger([*layers.parameters(), inputs], "all") as ledger:
        step()
    layers.zero_grad()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    assert peak(ledger.entries, {})["all"] == pytest.approx(most_allocated(profiler), rel=0.01)


def test_items_are_those_of_the_worst_moment(resolve):
    from affinage.footprint.needs import Footprint
    from affinage.footprint.step import Batch

    def items(rows=4, device="cpu", **keys):
        trainer = trainer_with(skip_all_evaluation=True, **keys)
        return Footprint(resolve(adapter=None, trainer=trainer), device).items(Batch(rows, 50, 20))

    small, large = items(rows=1), items(rows=8)
    assert large["activations"] == pytest.approx(8 * small["activations"], rel=0.1)
    weights = small["weights"] - BUFFERS
    assert small["weights"] == large["weights"]
    assert small["optimizer state"] == 2 * weights
    accumulated = items(rows=8, gradient_accumulation_steps=2)
    assert accumulated["gradients"] == weights > large.get("gradients", 0)
    update = items(rows=1, device="cuda")
    assert update["optimizer update"] == update["gradients"] == weights


def test_an_evaluation_with_larger_batches_is_the_worst_moment(resolve):
    from affinage.memory_estimate import estimate_memory

    small, large = (
        estimate_memory(resolve(trainer=trainer_with(eval_batch_size=n)), 1, 40, 20, "cpu") for n in (1, 200)
    )
    assert "evaluation" not in small.items
    assert large.items["evaluation"] > 2 * small.items["activations"]


def test_gradient_checkpointing_shrinks_what_waits_for_the_backward_pass(resolve):
    from affinage.memory_estimate import estimate_memory

    plain, checkpointed = (
        estimate_memory(resolve(trainer=trainer_with(enable_gradient_checkpointing=on, eval_batch_size=1)), 4, 60, 20)
        for on in (False, True)
    )
    assert checkpointed.items["activations"] < 0.5 * plain.items["activations"]
    assert checkpointed.total < plain.total


def test_a_model_that_needs_real_values_is_said_to_be_uncountable(resolve):
    from affinage.footprint.step import Batch, Skeleton

    skeleton = Skeleton(resolve(), "cpu")
    embeddings = skeleton.model.get_input_embeddings()
    embeddings.register_forward_hook(lambda module, ids, output: output * output.max().item())
    with pytest.raises(AffinageError, match=r"a llama model cannot be counted.*make bench"):
        skeleton.training(Batch(2, 10, 5))


def recorded():
    return json.loads((ROOT / "benchmarks" / "memory.json").read_text(encoding="utf-8"))["cases"]


def test_the_recorded_cases_cover_what_the_estimate_claims():
    cases = list(recorded().values())
    assert len(cases) >= 30
    trainers = [case["config"]["trainer"] for case in cases]
    assert {case["config"].get("quantization", {}).get("bits") for case in cases} == {None, 4, 8}
    assert {case["model"]["model_type"] for case in cases} == {"llama", "gpt2"}
    assert any("adapter" not in case["config"] for case in cases)
    for key in ("enable_gradient_checkpointing", "use_mixed_precision", "packing"):
        assert any(trainer.get(key) for trainer in trainers), key
    assert len({trainer.get("optimizer", {}).get("type") for trainer in trainers}) >= 5


def test_what_is_counted_on_of_a_cpus_memory_is_what_recorded_processes_took():
    from affinage.footprint.units import USABLE

    large = [case for case in recorded().values() if case["peak"] > 2**26]
    assert len(large) > 25
    assert max(case["resident"] / case["peak"] for case in large) == pytest.approx(1 / USABLE["cpu"], rel=0.1)


@pytest.mark.slow
def test_the_estimate_is_within_15_percent_of_every_recorded_case(affinage, tmp_path):
    from affinage import training
    from affinage.footprint.needs import Footprint
    from affinage.footprint.step import Batch

    errors = {}
    for name, case in recorded().items():
        (tmp_path / "config.json").write_text(json.dumps(case["model"]), encoding="utf-8")
        resolved = training.resolve({**case["config"], "base_model": str(tmp_path)}, name)
        found = sum(Footprint(resolved, "cpu").items(Batch(**case["batch"])).values())
        errors[name] = found / case["peak"] - 1
    assert {name: error for name, error in errors.items() if abs(error) > 0.15} == {}
