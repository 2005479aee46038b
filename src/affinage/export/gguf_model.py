"""A run as one GGUF file: merged, converted by llama.cpp's own converter, quantized, and compared with the run."""

import gc
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import torch
from gguf import GGUFReader
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from affinage import training
from affinage.errors import AffinageError, Problem, raise_all
from affinage.export import llama_calls, llama_cpp
from affinage.export.gguf_check import PROMPTS_CUT, Reference, check, reference_of
from affinage.export.gguf_file import About, GgufFile, about, keep, partial_beside, record, write_floats
from affinage.export.llama_cpp import LlamaCpp
from affinage.export.merging import fingerprint, merge, record_of, run_problems
from affinage.export.prompts_to_compare import prompts_to_compare
from affinage.ludwig_ext.seq2seq import refuse_export
from affinage.model_types import refuse_encoder
from affinage.runs import Run

FLOATS = ("f32", "f16", "bf16")
QUANTIZATIONS = (*FLOATS, "q8_0", "q4_k_m")
BLOCK = 256  # weights that Q4_K packs together; the width of a tensor must be a multiple


def export_gguf(
    run: Run, quantization: str = "q8_0", folder: Path | None = None, pre_tokenizer: str = "", licence: str = ""
) -> GgufFile:
    """Writes <run>/export/<task>-<config>-<quantization>.gguf (or into `folder`), and beside it gguf.json.

    `pre_tokenizer` is llama.cpp's name to write for a tokenizer that it does not know, `licence` what the file says
    instead of the base model's licence. Raises AffinageError when llama.cpp is not there or fails, and for a run or a
    tokenizer that it cannot take.
    """
    started = time.monotonic()
    if quantization not in QUANTIZATIONS:
        raise AffinageError(Problem("quantization", f"'{quantization}' is unknown.", ", ".join(QUANTIZATIONS)))
    refuse_encoder(run, "be written as GGUF here")
    ready = training.plan_again(run)
    refuse_export(ready.resolved, "llama.cpp")
    llama = llama_cpp.find()
    model = merged_model(run, ready.resolved)
    name = f"{run.manifest['task']}-{run.manifest['config']}-{quantization}.gguf"
    target = (folder or run.folder / "export") / name
    with partial_beside(target) as partial:
        _write(llama, model, partial, quantization, pre_tokenizer, about(run, ready.resolved, licence))
        notes = fallbacks(partial) if quantization == "q4_k_m" else ()
        reference = _reference(model, prompts_to_compare(ready.resolved, ready.splits, PROMPTS_CUT))
        made = keep(partial, target, quantization, check(llama, partial, quantization, reference), notes)
    record(made, llama_cpp=llama.version, seconds=round(time.monotonic() - started, 1))
    return made


def merged_model(run: Run, config: Any) -> Path:
    """The run's merged model, made unless it is there already: in bfloat16 if the base is stored so, else float32."""
    raise_all(run_problems(run))
    folder = run.folder / "export" / "merged"
    base = config.base_model if (run.weights_folder / "adapter_config.json").is_file() else run.weights_folder
    stored = AutoConfig.from_pretrained(base, trust_remote_code=config.trust_remote_code).dtype
    dtype = "bfloat16" if stored == torch.bfloat16 else "float32"
    if folder.is_dir() and record_of(folder).is_file():
        made = json.loads(record_of(folder).read_text(encoding="utf-8"))
        if made["sources"] == fingerprint(run) and made["dtype"] == dtype:
            return folder
    return merge(run, dtype)


def _write(llama: LlamaCpp, model: Path, target: Path, quantization: str, pre_tokenizer: str, about: About) -> None:
    if quantization in FLOATS:
        write_floats(llama, model, target, quantization, pre_tokenizer, about)
        return
    exact = "bf16" if AutoConfig.from_pretrained(model).dtype == torch.bfloat16 else "f32"
    floats = target.with_name(f"{exact}.gguf")
    write_floats(llama, model, floats, exact, pre_tokenizer, about)
    llama_calls.quantize(llama, floats, target, quantization)
    floats.unlink()


def _reference(model: Path, prompts: list[str]) -> Reference:
    """What the merged model says; computed in float32, or in bfloat16 where memory does not hold it."""
    size = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    if AutoConfig.from_pretrained(model).dtype == torch.bfloat16:
        size *= 2
    dtype = torch.float32 if size * 1.2 < psutil.virtual_memory().available else torch.bfloat16
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
    reference = reference_of(loaded, AutoTokenizer.from_pretrained(model), prompts)
    del loaded
    gc.collect()
    return reference


def fallbacks(file: Path) -> tuple[str, ...]:
    """One sentence about the tensors that Q4_K cannot hold; none when their widths are multiples of 256."""
    tensors = [tensor for tensor in GGUFReader(file).tensors if len(tensor.shape) == 2]
    other = Counter(tensor.tensor_type.name for tensor in tensors if tensor.shape[0] % BLOCK)
    if not other:
        return ()
    kinds = ", ".join(f"{n} as {name}" for name, n in other.most_common())
    share = f"{other.total()} of {len(tensors)} weight matrices have a width that is no multiple of {BLOCK}"
    return (f"{share}, which Q4_K needs; llama.cpp wrote them in more bits: {kinds}.",)
