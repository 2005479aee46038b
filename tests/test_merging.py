"""An adapter merged into the full-precision base: equal to the adapter, whole, and refused where it cannot be."""

import json
import runpy
from pathlib import Path

import pytest
import torch
from peft import IA3Config, LoHaConfig, LoraConfig, PeftModel, PromptTuningConfig, TaskType
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from affinage.errors import AffinageError

made = runpy.run_path(str(Path(__file__).with_name("exported_runs.py")))
load = made["load"]
LM = {"task_type": TaskType.CAUSAL_LM}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IDS = torch.arange(3, 60)[None]


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS % model.config.vocab_size).logits


CASES = {
    "lora": ("llama", LoraConfig(r=4, target_modules=LINEAR, **LM)),
    "gpt2": ("gpt2", LoraConfig(r=4, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True, **LM)),
    "dora": ("llama", LoraConfig(r=4, use_dora=True, target_modules=LINEAR, **LM)),
    "rslora": ("mistral", LoraConfig(r=8, use_rslora=True, target_modules=LINEAR, **LM)),
    "patterns": ("llama", LoraConfig(r=4, rank_pattern={"k_proj": 2}, alpha_pattern={"v_proj": 32}, **LM)),
    "pissa": ("llama", LoraConfig(r=4, init_lora_weights="pissa", target_modules=LINEAR, **LM)),
    "bias": ("gpt2", LoraConfig(r=4, bias="all", target_modules=["c_attn"], fan_in_fan_out=True, **LM)),
    "head-to-save": ("llama", LoraConfig(r=4, modules_to_save=["lm_head"], **LM)),
    "embeddings-to-save": ("llama", LoraConfig(r=4, modules_to_save=["embed_tokens", "lm_head"], **LM)),
    "embeddings": ("llama", LoraConfig(r=4, target_modules=["embed_tokens", "q_proj"], **LM)),
    "ia3": ("llama", IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], **LM)),
    "loha": ("llama", LoHaConfig(r=4, target_modules=LINEAR, **LM)),
}


@pytest.mark.parametrize("tied", [False, True], ids=["apart", "tied"])
@pytest.mark.parametrize("name", CASES)
def test_what_was_merged_and_saved_says_what_the_adapter_says(name, tied, tiny_model, tmp_path):
    from affinage.export.adapter_weights import merged, with_adapter

    architecture, config = CASES[name]
    settings = AutoConfig.from_pretrained(tiny_model(architecture), tie_word_embeddings=tied)
    AutoModelForCausalLM.from_config(settings).save_pretrained(tmp_path / "base")
    made["adapter_folder"](load(tmp_path / "base"), tmp_path / "adapter", config)
    plain = PeftModel.from_pretrained(load(tmp_path / "base"), tmp_path / "adapter")
    merged(with_adapter(load(tmp_path / "base"), tmp_path / "adapter")).save_pretrained(tmp_path / "merged")
    assert (logits(plain) - logits(load(tmp_path / "merged"))).abs().max() < 1e-4
    assert (logits(plain) - logits(load(tmp_path / "base"))).abs().max() > 0.01, "the adapter changes nothing"


def test_embeddings_stay_one_tensor_unless_the_adapter_moved_one_of_them(tiny_model, tmp_path):
    from affinage.export.adapter_weights import merged, with_adapter

    settings = AutoConfig.from_pretrained(tiny_model("llama"), tie_word_embeddings=True)
    LlamaForCausalLM(settings).save_pretrained(tmp_path / "base")
    for name, tied in (("lora", True), ("head-to-save", False)):
        made["adapter_folder"](load(tmp_path / "base"), tmp_path / name, CASES[name][1])
        result = merged(with_adapter(load(tmp_path / "base"), tmp_path / name))
        assert result.config.tie_word_embeddings is tied
        assert (result.lm_head.weight is result.model.embed_tokens.weight) is tied


@pytest.mark.parametrize("rows", [330, 300])
def test_an_adapter_trained_with_another_vocabulary_brings_its_embeddings(rows, tiny_model, tmp_path):
    from affinage.export.adapter_weights import merged, with_adapter

    config = LoraConfig(r=4, modules_to_save=["embed_tokens", "lm_head"], **LM)
    resize = lambda model: model.resize_token_embeddings(rows, mean_resizing=False)  # noqa: E731
    tuned = made["adapter_folder"](load(tiny_model("llama")), tmp_path / "adapter", config, before=resize)
    result = merged(with_adapter(load(tiny_model("llama")), tmp_path / "adapter"))
    assert result.config.vocab_size == rows
    assert (logits(tuned) - logits(result)).abs().max() < 1e-4


@pytest.fixture(scope="module")
def qlora_run(tmp_path_factory, tiny_model, sentences):
    folder = tmp_path_factory.mktemp("qlora")
    base = folder / "base"
    load(tiny_model("llama", "bos")).save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_model("llama", "bos")).save_pretrained(base)
    return made["trained_run"](folder, base, sentences(32), quantization=made["NF4"])


@pytest.mark.slow
def test_a_4_bit_run_merges_into_the_base_that_was_not_rounded(qlora_run):
    from affinage.export.merging import merge, record_of

    folder = merge(qlora_run)
    assert folder == qlora_run.folder / "export" / "merged"
    base = qlora_run.manifest["base_model"]["id"]
    adapter = PeftModel.from_pretrained(load(base), qlora_run.weights_folder)
    assert (logits(adapter) - logits(load(folder))).abs().max() < 1e-4
    record = json.loads(record_of(folder).read_text())
    assert record["from_adapter"] < 1e-4
    assert record["from_trained"] > 0.001, "4 bits round: nothing to see would mean that the wrong model was compared"
    assert (record["trained_in"], record["prompts"], record["dtype"]) == ("4-bit", 4, "float32")


@pytest.mark.slow
def test_the_merged_folder_is_one_that_transformers_loads_alone(qlora_run, tmp_path):
    from affinage import training
    from affinage.chat_template import prompt_of
    from affinage.export.merging import merge

    folder = merge(qlora_run, folder=tmp_path / "elsewhere")
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("config.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    }
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    assert AutoModelForCausalLM.from_pretrained(folder).generation_config.max_new_tokens == 24
    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "system", "content": "copie"}, {"role": "user", "content": "le chat"}]
    config = training.plan_again(qlora_run).resolved
    prompt = prompt_of(config, {"instruction": "copie", "input": "le chat"})
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "<s>" + prompt


@pytest.mark.slow
def test_bfloat16_halves_the_file_and_stays_near(qlora_run, tmp_path):
    from affinage.export.merging import merge, record_of

    folder = merge(qlora_run, "bfloat16", tmp_path / "half")
    assert load(folder).config.vocab_size == 320
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16
    assert json.loads(record_of(folder).read_text())["from_adapter"] < 0.5


@pytest.mark.slow
def test_a_merge_that_fails_its_check_leaves_what_was_there(qlora_run, tmp_path, monkeypatch):
    from affinage.export import merging

    target = tmp_path / "merged"
    target.mkdir()
    (target / "old").write_text("kept")
    monkeypatch.setitem(merging.TOLERANCES, "float32", -1.0)
    with pytest.raises(AffinageError, match="differs from the adapter on its base"):
        merging.merge(qlora_run, folder=target)
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]
    assert (target / "old").read_text() == "kept"


@pytest.mark.slow
def test_every_reason_not_to_merge_is_said_at_once(qlora_run, tmp_path):
    from affinage.export.merging import merge

    base = Path(qlora_run.manifest["base_model"]["id"]) / "config.json"
    before = base.read_text()
    base.write_text(before.replace("{", "{ ", 1))
    try:
        with pytest.raises(AffinageError) as error:
            merge(qlora_run, "nf4", tmp_path / "merged")
    finally:
        base.write_text(before)
    assert len(error.value.problems) == 2
    assert "rounds the adapter away" in str(error.value) and "has changed since" in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["4bit", "nf4", "int8", "4", "8-bit", "float64", ""])
def test_a_precision_that_is_not_offered_is_refused_with_the_reason(dtype, tmp_path):
    from affinage.export.merging import merge
    from affinage.runs import Run

    with pytest.raises(AffinageError) as error:
        merge(Run(tmp_path, {"status": "failed"}), dtype)
    assert ("rounds the adapter away" in str(error.value)) == (dtype not in ("float64", ""))
    assert "float32, bfloat16" in str(error.value) and "left no model behind" in str(error.value)


def test_a_base_whose_stored_weights_are_quantized_is_refused(tmp_path):
    from affinage.export.merging import _refuse_quantized

    LlamaConfig(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}).save_pretrained(tmp_path)
    with pytest.raises(AffinageError, match="its stored weights are quantized"):
        _refuse_quantized(str(tmp_path), trust=False)


def test_an_adapter_that_adds_tokens_is_refused(tiny_model, tmp_path):
    from affinage.export.merging import run_problems
    from affinage.runs import Run

    run = Run(tmp_path, {"status": "finished", "base_model": {"id": "user/base", "revision": None}})
    config = PromptTuningConfig(num_virtual_tokens=4, **LM)
    made["adapter_folder"](load(tiny_model("llama")), run.weights_folder, config)
    assert "adds tokens, not weights" in str(next(run_problems(run)))


@pytest.mark.slow
def test_a_run_that_trained_every_weight_is_written_as_it_is(tiny_model, sentences, tmp_path):
    from affinage.export.merging import merge, record_of

    trainer = {**made["TRAINER"], "epochs": 1, "learning_rate": 0.001}
    run = made["trained_run"](tmp_path, tiny_model("gpt2", "no_pad"), sentences(32), adapter=None, trainer=trainer)
    folder = merge(run)
    assert (logits(load(folder)) - logits(load(run.weights_folder))).abs().max() == 0
    record = json.loads(record_of(folder).read_text())
    assert record["from_adapter"] is None and record["from_trained"] < 1e-5


@pytest.mark.slow
def test_the_script_says_how_far_the_merged_model_is_from_the_trained_one(qlora_run, capsys, monkeypatch):
    monkeypatch.chdir(Path.cwd())
    assert made["script"]("merge")(["--run", str(qlora_run.folder)]) == 0
    said = capsys.readouterr().out
    assert "Equal to the adapter on" in said and "(allowed 0.0001)" in said
    assert "From the model that was trained (4-bit) it differs by up to" in said
    assert f"Next: make gguf RUN={qlora_run.folder.name}" in said
