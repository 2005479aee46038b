"""Our LoRA GGUF writer, run by llama.cpp on a GGUF file of the base model, says what PEFT says."""

import runpy
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader
from peft import IA3Config, LoraConfig, TaskType
from transformers import AutoConfig, AutoTokenizer

made = runpy.run_path(str(Path(__file__).with_name("exported_runs.py")))
load = made["load"]
LM = {"task_type": TaskType.CAUSAL_LM}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GPT2 = {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True, **LM}
TOKENIZERS = {"llama": "bos", "mistral": "plain", "gpt2": "no_pad"}
CASES = {
    "llama-all-linear": ("llama", LoraConfig(r=4, lora_alpha=8, target_modules=LINEAR, **LM)),
    "llama-rslora": ("llama", LoraConfig(r=8, lora_alpha=4, use_rslora=True, target_modules=LINEAR, **LM)),
    "llama-patterns": (
        "llama",
        LoraConfig(r=4, rank_pattern={"k_proj": 2}, alpha_pattern={"v_proj": 32}, target_modules=LINEAR, **LM),
    ),
    "mistral-rslora-patterns": (
        "mistral",
        LoraConfig(r=4, use_rslora=True, rank_pattern={"q_proj": 8}, target_modules=LINEAR, **LM),
    ),
    "gpt2-all-linear": ("gpt2", LoraConfig(r=4, lora_alpha=8, **GPT2)),
    "gpt2-rslora-patterns": ("gpt2", LoraConfig(r=4, use_rslora=True, alpha_pattern={"c_fc": 3}, **GPT2)),
}
PROMPTS = [
    f"### Instruction:\ncopie\n\n### Input:\n{text}\n\n### Response:\n"
    for text in "le chat|la souris lit un livre|une pomme rouge|grand jardin|petit".split("|")
]


@pytest.fixture(scope="module")
def base_file(tiny_model, tmp_path_factory):
    """The base model of an architecture as a GGUF file, made once."""
    from affinage.export.gguf_file import About, write_floats

    files = {}

    def make(architecture):
        if architecture not in files:
            files[architecture] = tmp_path_factory.mktemp("base") / f"{architecture}.gguf"
            source = Path(tiny_model(architecture, TOKENIZERS[architecture]))
            write_floats(made["llama_or_skip"](), source, files[architecture], "f16", "", About("base", "", {}))
        return files[architecture]

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_base_and_adapter_files_say_what_peft_says(name, base_file, tiny_model, tmp_path):
    from affinage.export.gguf_adapter import problems, write_adapter
    from affinage.export.gguf_check import check, reference_of
    from affinage.export.gguf_file import About

    architecture, config = CASES[name]
    llama = made["llama_or_skip"]()
    folder = tiny_model(architecture, TOKENIZERS[architecture])
    tuned = made["adapter_folder"](load(folder), tmp_path / "adapter", config)
    assert list(problems(tmp_path / "adapter", AutoConfig.from_pretrained(folder))) == []
    write_adapter(tuned, tmp_path / "adapter.gguf", About("copie", "", {"license": "mit"}))
    reference = reference_of(tuned, AutoTokenizer.from_pretrained(folder), PROMPTS)
    found = check(llama, base_file(architecture), "f16", reference, adapter=tmp_path / "adapter.gguf")
    assert found.largest_difference < 0.01 and found.same_next_token == 5
    assert found.texts_cut_alike == found.texts > 50 and found.run_prompts_cut_alike == 5
    assert found.faults == []
    without = check(llama, base_file(architecture), "f16", reference)
    assert without.largest_difference > 0.05 and without.faults, "the adapter changes nothing"


def test_the_file_says_that_it_is_an_adapter_and_of_what(tiny_model, tmp_path):
    from affinage.export.gguf_adapter import write_adapter
    from affinage.export.gguf_file import About

    config = LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj"], **LM)
    tuned = made["adapter_folder"](load(tiny_model("llama")), tmp_path / "adapter", config)
    write_adapter(tuned, tmp_path / "adapter.gguf", About("copie tiny", "Une description", {"license": "mit"}))
    fields = GGUFReader(tmp_path / "adapter.gguf").fields
    expected = {
        "general.type": "adapter",
        "general.architecture": "llama",
        "adapter.type": "lora",
        "adapter.lora.alpha": 6 * 4**0.5,
        "general.name": "copie tiny",
        "general.description": "Une description",
        "general.license": "mit",
    }
    assert {key: fields[key].contents() for key in expected} == expected


def test_keys_and_queries_are_put_in_the_order_in_which_llama_cpp_rotates(tiny_model, tmp_path):
    from affinage.export.gguf_adapter import _rotated

    rows = torch.arange(8.0)[:, None]  # two heads of four dimensions; pairs (0, 2), (1, 3) become neighbours
    assert _rotated(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


REFUSED = {
    "DoRA": (LoraConfig(use_dora=True, **LM), "is DoRA"),
    "modules_to_save": (
        LoraConfig(modules_to_save=["lm_head"], **LM),
        "modules_to_save, or adapted embeddings): lm_head",
    ),
    "pissa": (LoraConfig(init_lora_weights="pissa", **LM), "began as pissa"),
    "olora": (LoraConfig(init_lora_weights="olora", **LM), "began as olora"),
    "embeddings": (LoraConfig(target_modules=["embed_tokens", "q_proj"], **LM), "adapted embeddings"),
    "head": (LoraConfig(target_modules=["lm_head", "q_proj"], **LM), "adapted embeddings"),
    "biases": (LoraConfig(bias="all", **LM), "trained biases"),
    "IA3": (IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], **LM), "not LoRA"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_gguf_adapter_cannot_say_is_refused_with_the_reason(name, tiny_model, tmp_path):
    from affinage.export.gguf_adapter import problems

    config, reason = REFUSED[name]
    made["adapter_folder"](load(tiny_model("llama")), tmp_path, config)
    found = list(map(str, problems(tmp_path, AutoConfig.from_pretrained(tiny_model("llama")))))
    assert any(reason in problem for problem in found)
    assert all("KIND=model" in problem for problem in found)


def test_other_architectures_and_runs_without_an_adapter_are_refused(tiny_model, tmp_path):
    from affinage.export.gguf_adapter import problems

    config = LoraConfig(r=4, target_modules=["query_key_value"], **LM)
    made["adapter_folder"](load(tiny_model("bloom")), tmp_path, config)
    bloom = AutoConfig.from_pretrained(tiny_model("bloom"))
    assert "stands on a bloom model" in str(next(problems(tmp_path, bloom)))
    assert "every weight was trained" in str(next(problems(Path(tiny_model("bloom")), bloom)))
