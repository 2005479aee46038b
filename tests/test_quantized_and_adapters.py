"""Every architecture, quantization and adapter the configs offer: trains, saves, loads again, says the same."""

import json
from pathlib import Path

import pytest
import torch

from affinage.errors import AffinageError

NF4 = {"bits": 4, "bnb_4bit_compute_dtype": "float32"}
BF16 = {"bits": 4, "bnb_4bit_compute_dtype": "bfloat16"}
INT8 = {"bits": 8}

CASES = {
    **{
        f"{architecture}-{name}": (architecture, {"quantization": quantization})
        for architecture in ("llama", "mistral", "gpt2", "bloom")
        for name, quantization in (("full-precision", None), ("4-bit", NF4), ("8-bit", INT8))
    },
    "4-bit-bfloat16-compute": ("llama", {"quantization": BF16}),
    "dora": ("llama", {"adapter": {"type": "lora", "use_dora": True}}),
    "dora-4-bit": ("llama", {"adapter": {"type": "lora", "use_dora": True}, "quantization": NF4}),
    "rslora": ("llama", {"adapter": {"type": "lora", "use_rslora": True}}),
    "pissa": ("llama", {"adapter": {"type": "lora", "init_lora_weights": "pissa"}}),
    "listed-modules": ("llama", {"adapter": {"type": "lora", "target_modules": ["o_proj", "up_proj"]}}),
    "all-linear": ("llama", {"adapter": {"type": "lora", "target_modules": ["all-linear"]}}),
    "all-linear-gpt2": ("gpt2", {"adapter": {"type": "lora", "target_modules": ["all-linear"]}}),
    "all-linear-4-bit": ("bloom", {"adapter": {"type": "lora", "target_modules": ["all-linear"]}, "quantization": NF4}),
    "full-fine-tuning": ("llama", {"adapter": None}),
    "full-fine-tuning-gpt2": ("gpt2", {"adapter": None}),
    "checkpointing-4-bit": (
        "llama",
        {
            "quantization": NF4,
            "trainer": {"type": "finetune", "epochs": 1, "batch_size": 4, "enable_gradient_checkpointing": True},
        },
    ),
}


def validation_logits(model, ids):
    model.eval()
    with torch.no_grad():
        return model(input_ids=ids).logits.float()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_trains_saves_and_loads_the_same_model(name, affinage, llm_config, sentences, train):
    from ludwig.api import LudwigModel

    architecture, sections = CASES[name]
    trainer = {"type": "finetune", "epochs": 2, "batch_size": 4, "learning_rate": 0.01}
    config = llm_config(architecture, **({"trainer": trainer} | sections))
    ludwig, results, folder = train(config, sentences(16))
    losses = results.train_stats.validation["output"]["loss"]
    assert losses[-1] < 5.75, "ln(320) = 5.77 is the loss of knowing nothing"
    ids = torch.arange(3, 60)[None]
    ours = validation_logits(ludwig.model.model, ids)
    loaded = validation_logits(LudwigModel.load(str(folder)).model.model, ids)
    # loaded for use, norms and embeddings compute in the config's precision; in training they do in float32
    inexact = sections.get("quantization") in (BF16, INT8)
    assert (ours - loaded).abs().max() < (0.02 if inexact else 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_adapter_folder_loads_with_plain_peft_and_its_own_tokenizer(
    architecture, affinage, llm_config, sentences, train
):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trainer = {"type": "finetune", "epochs": 2, "batch_size": 4, "learning_rate": 0.01}
    config = llm_config(architecture, trainer=trainer)
    ludwig, _, folder = train(config, sentences(16))
    weights = folder / "model_weights"
    base = AutoModelForCausalLM.from_pretrained(config["base_model"], dtype=torch.float32)
    ids = torch.arange(3, 60)[None]
    plain = validation_logits(PeftModel.from_pretrained(base, weights), ids)
    assert torch.equal(plain, validation_logits(ludwig.model.model, ids))
    assert AutoTokenizer.from_pretrained(weights)("le chat").input_ids == ludwig.model.tokenizer("le chat").input_ids
    assert json.loads((weights / "adapter_config.json").read_text())["base_model_name_or_path"] == config["base_model"]


@pytest.mark.slow
@pytest.mark.parametrize("quantization", [None, NF4, INT8], ids=["full-precision", "4-bit", "8-bit"])
def test_checkpoints_hold_what_is_trained_and_not_the_base(quantization, affinage, llm_config, sentences, train):
    _, _, folder = train(llm_config(quantization=quantization), sentences(16))
    checkpoints = folder / "training_checkpoints"
    sizes = {path.name: path.stat().st_size for path in checkpoints.iterdir()}
    adapter = 3584 * 4  # bytes: r 8 on q and v of two layers, in float32
    assert set(sizes) == {"best.pt", "latest.pt"}
    assert sizes["best.pt"] < adapter + 10_000
    assert sizes["latest.pt"] < 3 * adapter + 40_000, "weights, two moments of Adam, random state"


def test_a_merged_model_keeps_its_adapter_in_a_folder_of_its_own(affinage, llm_config, sentences, train):
    adapter = {"type": "lora", "postprocessor": {"merge_adapter_into_base_model": True}}
    _, _, folder = train(llm_config(adapter=adapter), sentences(12))
    names = lambda place: {path.name for path in Path(place).iterdir()}  # noqa: E731
    assert {"model.safetensors", "tokenizer.json"} <= names(folder / "model_weights")
    assert "adapter_config.json" not in names(folder / "model_weights")
    assert {"adapter_config.json", "adapter_model.safetensors"} <= names(folder / "adapter")


@pytest.mark.parametrize(
    ("adapter", "quantization"),
    [
        ({"type": "lora", "init_lora_weights": "eva", "eva_config": {"rho": 2.0}}, None),
        ({"type": "lora", "init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4, "loftq_iter": 1}}, None),
        ({"type": "lora", "init_lora_weights": "corda"}, None),
        ({"type": "lora", "init_lora_weights": "pissa"}, NF4),
    ],
)
def test_an_initialisation_that_would_not_happen_is_refused(adapter, quantization, affinage, llm_config):
    from ludwig.schema.model_types.base import ModelConfig

    with pytest.raises(AffinageError, match=r"adapter\.init_lora_weights: '" + adapter["init_lora_weights"]):
        ModelConfig.from_dict(llm_config(adapter=adapter, quantization=quantization))


def test_trainer_settings_without_effect_are_refused_all_at_once(affinage, llm_config):
    from ludwig.schema.model_types.base import ModelConfig

    section = {"type": "finetune", "model_soup": "uniform", "compile": True, "optimizer": {"type": "lbfgs"}}
    with pytest.raises(AffinageError) as error:
        ModelConfig.from_dict(llm_config(trainer=section))
    for key in ("trainer.model_soup", "trainer.compile", "trainer.optimizer.type"):
        assert key in str(error.value)
