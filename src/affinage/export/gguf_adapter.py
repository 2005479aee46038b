"""A run's LoRA adapter as a GGUF file for llama.cpp and Ollama, to be used on a GGUF file of its base model."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import torch
from huggingface_hub import snapshot_download
from peft import PeftConfig, PeftModel
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from affinage import training
from affinage.before_after import REWRITES_BASE
from affinage.data import sha256
from affinage.errors import AffinageError, Problem, raise_all
from affinage.export import llama_cpp
from affinage.export.gguf_check import PROMPTS_CUT, check, reference_of
from affinage.export.gguf_file import RECORD, About, GgufFile, about, keep, partial_beside, record, write_floats
from affinage.export.llama_cpp import LlamaCpp
from affinage.export.prompts_to_compare import prompts_to_compare
from affinage.ludwig_ext.seq2seq import refuse_export
from affinage.model_types import refuse_encoder
from affinage.runs import Run

ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "mistral": gguf.MODEL_ARCH.LLAMA, "gpt2": gguf.MODEL_ARCH.GPT2}
ROTATED = (".self_attn.q_proj", ".self_attn.k_proj")
BASE_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja")


def export_adapter(run: Run, folder: Path | None = None, pre_tokenizer: str = "", licence: str = "") -> GgufFile:
    """Writes <run>/export/<task>-<config>-adapter.gguf (or into `folder`) and, for it to stand on, its base model as
    <base>-f16.gguf (bf16 if stored so); both together are compared with the run.

    `pre_tokenizer` and `licence` as for `export_gguf`. Raises AffinageError for adapters that llama.cpp cannot apply.
    """
    started = time.monotonic()
    refuse_encoder(run, "be written as GGUF here")
    ready = training.plan_again(run)
    refuse_export(ready.resolved, "llama.cpp")
    llama = llama_cpp.find()
    stored = AutoConfig.from_pretrained(ready.resolved.base_model, trust_remote_code=ready.resolved.trust_remote_code)
    raise_all(problems(run.weights_folder, stored))
    target = (folder or run.folder / "export") / f"{run.manifest['task']}-{run.manifest['config']}-adapter.gguf"
    kind = "bf16" if stored.dtype == torch.bfloat16 else "f16"
    said = about(run, ready.resolved, licence)
    base = _base(run, llama, ready.resolved.base_model, kind, target.parent, pre_tokenizer, said)
    with partial_beside(target) as partial:
        model = _with_adapter(run, ready.resolved.base_model)
        write_adapter(model, partial, said)
        tokenizer = AutoTokenizer.from_pretrained(run.weights_folder)
        reference = reference_of(model, tokenizer, prompts_to_compare(ready.resolved, ready.splits, PROMPTS_CUT))
        del model
        found = check(llama, base, kind, reference, adapter=partial)
        made = keep(partial, target, "adapter", found)
    record(GgufFile(base, "base", sha256(base), made.check), llama_cpp=llama.version)
    record(made, base=base.name, llama_cpp=llama.version, seconds=round(time.monotonic() - started, 1))
    return made


def problems(adapter: Path, base: Any) -> Iterator[Problem]:
    """Why an adapter folder cannot become a GGUF adapter for a base of that transformers config."""
    remedy = "Make the whole model instead: make gguf with KIND=model."
    if not (adapter / "adapter_config.json").is_file():
        yield Problem(str(adapter), "holds no adapter: every weight was trained.", remedy=remedy)
        return
    config: Any = PeftConfig.from_pretrained(str(adapter))
    lora = str(config.peft_type.value) == "LORA"
    reasons = list(_reasons(config, adapter)) if lora else [f"is {config.peft_type.value}, not LoRA"]
    if base.model_type not in ARCHITECTURES:
        reasons.append(f"stands on a {base.model_type} model, and only {', '.join(ARCHITECTURES)} can be written")
    for reason in reasons:
        yield Problem(str(adapter), f"cannot become a GGUF adapter: it {reason}.", remedy=remedy)


def _reasons(config: Any, adapter: Path) -> Iterator[str]:
    if config.use_dora:
        yield "is DoRA, which holds a length for every output beside A and B"
    if config.init_lora_weights in REWRITES_BASE:
        yield f"began as {config.init_lora_weights}, which changed the base model's weights too"
    if config.bias != "none" or config.lora_bias:
        yield "trained biases"
    if config.target_parameters or config.trainable_token_indices:
        yield "has target_parameters or trainable_token_indices"
    with safe_open(adapter / "adapter_model.safetensors", "pt") as tensors:
        whole = [key for key in tensors.keys() if ".lora_" not in key]  # noqa: SIM118 (no mapping)
    if config.modules_to_save or (whole and config.bias == "none"):
        name = ", ".join(config.modules_to_save or whole[:1])
        yield f"holds whole tensors beside LoRA (modules_to_save, or adapted embeddings): {name}"


def _with_adapter(run: Run, base_model: str) -> PeftModel:
    revision = run.manifest["base_model"].get("revision")
    base = AutoModelForCausalLM.from_pretrained(base_model, dtype=torch.float32, revision=revision)
    return PeftModel.from_pretrained(base, run.weights_folder)


def write_adapter(model: Any, target: Path, about: About) -> None:
    """Writes the LoRA layers of a model as llama.cpp reads them.

    Per weight W it adds (alpha / r) B A, with one alpha for all and r the rows of A. rsLoRA, whose factor is
    alpha / sqrt(r), is written with alpha sqrt(r); where layers have factors of their own (alpha_pattern,
    rank_pattern), B is multiplied by what is missing.
    """
    config = model.config
    names = gguf.get_tensor_name_map(ARCHITECTURES[config.model_type], config.num_hidden_layers)
    layers: dict[str, Any] = {
        name: layer for name, layer in model.base_model.model.named_modules() if isinstance(layer, LoraLayer)
    }
    first = next(iter(layers.values()))
    alpha = first.scaling["default"] * first.r["default"]
    writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[ARCHITECTURES[config.model_type]])
    _write_facts(writer, about, alpha)
    for name, layer in layers.items():
        a, b = (part["default"].weight.detach().float() for part in (layer.lora_A, layer.lora_B))
        b = b * (layer.scaling["default"] * layer.r["default"] / alpha)
        if config.model_type != "gpt2" and name.endswith(ROTATED):
            heads = config.num_attention_heads if name.endswith("q_proj") else config.num_key_value_heads
            b = _rotated(b, heads)
        tensor = names.get_name(name)
        if tensor is None:
            raise AffinageError(Problem(name, "llama.cpp has no such layer.", remedy="Leave it out of target_modules."))
        writer.add_tensor(f"{tensor}.weight.lora_a", a.contiguous().numpy())
        writer.add_tensor(f"{tensor}.weight.lora_b", b.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_facts(writer: gguf.GGUFWriter, about: About, alpha: float) -> None:
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    writer.add_name(about.name)
    writer.add_description(about.description)
    if "license" in about.card:
        writer.add_license(str(about.card["license"]))


def _rotated(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows (out, r) in the order of llama.cpp, which rotates neighbouring dimensions of a head where transformers
    rotates dimension i and i + half.
    """
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def _base(
    run: Run, llama: LlamaCpp, base_model: str, kind: str, folder: Path, pre_tokenizer: str, about: About
) -> Path:
    """The base model as a GGUF file, made unless the last export of this run left it."""
    target = folder / f"{Path(base_model).name}-{kind}.gguf"
    made = folder / RECORD
    if made.is_file() and target.is_file():
        entry = json.loads(made.read_text(encoding="utf-8")).get("adapter", {})
        if entry.get("base") == target.name and entry.get("llama_cpp") == llama.version:
            return target
    source = Path(base_model)
    if not source.is_dir():
        revision = run.manifest["base_model"].get("revision")
        source = Path(snapshot_download(base_model, revision=revision, allow_patterns=list(BASE_FILES)))
    said = About(Path(base_model).name, "", {key: about.card[key] for key in about.card if key != "base_model"})
    with partial_beside(target) as partial:
        write_floats(llama, source, partial, kind, pre_tokenizer, said)
        partial.replace(target)
    return target
