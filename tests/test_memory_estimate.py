"""Parameters against built models, bytes against arithmetic and against what a process really takes."""

import json
import os
import subprocess
import sys

import pytest

from affinage.errors import AffinageError
from affinage.paths import ROOT

ALL = {"type": "lora", "r": 3, "target_modules": ["all-linear"]}
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
    from affinage.ludwig_ext.trainer import parameter_counts
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


def estimate(resolved, parameters, batch=2, longest=10, answer=3):
    from affinage.memory_estimate import estimate_memory

    return estimate_memory(resolved, parameters, batch, longest, answer)


def test_items_add_up_to_arithmetic_done_by_hand(resolve):
    from affinage.memory_estimate import Parameters

    items = estimate(resolve(), Parameters(1_000, 100_000, 0, [])).items
    assert items["weights"] == 400_000
    assert items["gradients"] == 4_000
    assert items["optimizer state"] == 8_000
    assert items["activations"] == 2 * 10 * 2 * (12 * 64 + 4 * 128) * 4  # rows, tokens, layers, numbers, bytes
    assert items["logits of answers"] == 2 * 3 * 320 * 12
    assert estimate(resolve(), Parameters(1_000, 100_000, 0, [])).total == sum(items.values())


@pytest.mark.parametrize(
    ("quantization", "weights"),
    [
        ({"bits": 4}, 64_000 * (0.5 + 1 / 64) + 36_000 * 4),
        ({"bits": 4, "bnb_4bit_use_double_quant": False}, 64_000 * (0.5 + 4 / 64) + 36_000 * 4),
        ({"bits": 8}, 64_000 + 36_000 * 4),
    ],
)
def test_quantized_weights_take_their_bits_and_their_scales(resolve, quantization, weights):
    from affinage.memory_estimate import Parameters

    found = estimate(resolve(quantization=quantization), Parameters(1_000, 100_000, 64_000, [])).items["weights"]
    assert found == round(weights)


@pytest.mark.parametrize(
    ("optimizer", "each"),
    [
        ({"type": "adamw"}, 8),
        ({"type": "paged_adam_8bit"}, 2),
        ({"type": "lion"}, 4),
        ({"type": "sgd"}, 0),
        ({"type": "sgd", "momentum": 0.9}, 4),
    ],
)
def test_optimizers_keep_as_many_numbers_as_they_do(resolve, optimizer, each):
    from affinage.memory_estimate import Parameters

    trainer = {"type": "finetune", "learning_rate": 0.001, "optimizer": optimizer}
    found = estimate(resolve(trainer=trainer), Parameters(1_000, 100_000, 0, [])).items["optimizer state"]
    assert found == 1_000 * each


def test_gradient_checkpointing_and_mixed_precision_shrink_activations(resolve):
    from affinage.memory_estimate import Parameters

    def activations(**keys):
        resolved = resolve(trainer={"type": "finetune", "learning_rate": 0.001, **keys})
        return estimate(resolved, Parameters(1, 1, 0, [])).items["activations"]

    assert activations(use_mixed_precision=True) * 2 == activations()
    assert activations(enable_gradient_checkpointing=True) == 2 * 10 * (2 * 64 + 12 * 64 + 4 * 128) * 4


MEASURE = """
import gc, json, sys, threading, time
from pathlib import Path
import pandas as pd, psutil
from affinage import training
from affinage.preview import preview
from ludwig.api import LudwigModel

process, peak, running = psutil.Process(), [0], [True]

def watch():
    while running:
        peak[0] = max(peak[0], process.memory_info().rss)
        time.sleep(0.005)

config, folder, small = sys.argv[1:]

def fit(overrides, folder):
    plan = training.plan(Path(config), overrides=overrides)
    ludwig = LudwigModel(plan.config, backend="local")
    ludwig.train(training_set=plan.splits["train"], model_resume_path=folder, skip_save_processed_input=True)
    return plan

fit(small, folder + "/small")
gc.collect()
before = process.memory_info().rss
threading.Thread(target=watch, daemon=True).start()
plan = fit(small.replace("batch_size=1", "batch_size=96"), folder + "/large")
running.clear()
estimate = preview(plan).memory
print("MEASURED", json.dumps({"estimate": estimate.total, "measured": peak[0] - before}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["petit-llama-lora", "petit-llama-full"])
def test_the_estimate_is_within_a_factor_of_three_of_what_a_process_takes(name, tmp_path):
    """Both trainings are in one process, so that libraries loaded on the way are not counted."""
    for part in ("small", "large"):
        (tmp_path / part).mkdir()
    overrides = "trainer.batch_size=1 trainer.train_steps=2 trainer.skip_all_evaluation=true"
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, f"ludwig_configs/voix-passive/{name}.yaml", str(tmp_path), overrides],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "MEASURED" in done.stdout, done.stderr[-3000:]
    numbers = json.loads(done.stdout.split("MEASURED")[1].splitlines()[0])
    assert 1 / 3 < numbers["estimate"] / numbers["measured"] < 3, numbers
