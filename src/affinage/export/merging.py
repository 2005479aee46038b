"""A run's adapter merged into its base model in full precision, as a plain transformers folder."""

import gc
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from peft import PeftConfig
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, PreTrainedModel

from affinage.chat_template import chat_template
from affinage.data import sha256
from affinage.errors import AffinageError, Problem, raise_all
from affinage.export.adapter_weights import merged, with_adapter
from affinage.export.prompts_to_compare import (
    largest_difference,
    next_token_logits,
    prompts_to_compare,
    same_best,
)
from affinage.generation import is_encoder_decoder
from affinage.model_types import refuse_encoder
from affinage.prompts import encode
from affinage.provenance import describe_base_model
from affinage.runs import Run, write_json
from affinage.subjects import Subject, open_run

PROMPTS = 5
# Largest difference of a logit: sums of float32 are rounded otherwise once merged; 0.5 is four steps of bfloat16
# between 16 and 32, where the logits of a sure model are.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.5}
UNMERGEABLE = ("ADAPTION_PROMPT", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "PROMPT_TUNING")
FEW_BITS = re.compile(r"^(bits?\W?)?[48]|nf4|fp4|int[48]|q[48]")
QUANTIZED = (
    "merging into 4-bit or 8-bit weights rounds the adapter away: what it adds to a weight is mostly smaller than the "
    "step between two values of so few bits."
)


@dataclass
class Comparison:
    """How far a merged model is from the adapter on the same base, and from the model that was trained.

    Differences are the largest of any next-token logit over `prompts` prompts; `same_next_token` counts prompts on
    which the merged and the trained model prefer the same token.
    """

    base_model: str
    dtype: str
    trained_in: str
    prompts: int
    from_adapter: float | None
    tolerance: float
    from_trained: float
    same_next_token: int
    sources: dict[str, str]
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


def merge(run: Run, dtype: str = "float32", folder: Path | None = None) -> Path:
    """Writes the merged model with tokenizer, chat template and generation settings to `folder`, and returns it.

    `folder` is <run>/export/merged unless named; beside it, <folder>.json holds the `Comparison`. A run that trained
    every weight is written as it is. What was written is loaded again and compared before it takes its place. Raises
    AffinageError for a run, a base model or a `dtype` that cannot be merged, and when the comparison fails.
    """
    started = time.monotonic()
    refuse_encoder(run, "be merged: it has no base model to put an adapter into")
    target = folder or run.folder / "export" / "merged"
    raise_all([*_dtype_problems(dtype), *run_problems(run)])
    with _whole(target) as partial:
        made = _write(run, dtype, partial)
    made.seconds = round(time.monotonic() - started, 1)
    write_json(record_of(target), asdict(made))
    return target


def record_of(folder: Path) -> Path:
    """The JSON file about a merged model, beside its folder."""
    return folder.with_name(folder.name + ".json")


def fingerprint(run: Run) -> dict[str, str]:
    """SHA-256 of every file of weights a run left; a merged model is up to date when these are its sources."""
    return {path.name: sha256(path) for path in sorted(run.weights_folder.glob("*.safetensors"))}


def _dtype_problems(dtype: str) -> Iterator[Problem]:
    allowed = ", ".join(TOLERANCES)
    if FEW_BITS.search(dtype.lower()):
        yield Problem("dtype", f"'{dtype}': {QUANTIZED}", allowed, "Merge first, then quantize with make gguf.")
    elif dtype not in TOLERANCES:
        yield Problem("dtype", f"'{dtype}' is unknown.", allowed)


def run_problems(run: Run) -> Iterator[Problem]:
    """Why a run cannot be merged, as far as its folder and its base model tell without being loaded."""
    name = f"run {run.folder.name}"
    if not any(run.weights_folder.glob("*.safetensors")):
        yield Problem(name, f"left no model behind (status: {run.status}).", remedy="Finish it, or name another run.")
    if not (run.weights_folder / "adapter_config.json").is_file():
        return
    kind = PeftConfig.from_pretrained(str(run.weights_folder)).peft_type
    if str(getattr(kind, "value", kind)) in UNMERGEABLE:
        found = f"an adapter of type {kind} adds tokens, not weights, so there is nothing to merge."
        yield Problem(name, found, remedy="Use the adapter with PEFT.")
    base = run.manifest["base_model"]
    if "files" in base and Path(base["id"]).is_dir() and describe_base_model(base["id"]) != base:
        remedy = f"Put {base['id']} back as it was."
        yield Problem(name, "its base model has changed since it was trained.", remedy=remedy)


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder to fill that replaces `target` at the end of the block; after an error `target` is as it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        yield partial
        partial.chmod(0o755)
        old = partial.with_name(partial.name + "-old")
        if target.exists():
            target.rename(old)
        partial.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write(run: Run, dtype: str, partial: Path) -> Comparison:
    """Fills the folder and compares. At no time is more than one model in memory."""
    subject = open_run(run)
    tokenizer = AutoTokenizer.from_pretrained(run.weights_folder)
    encoder_decoder = is_encoder_decoder(subject.llm.model)
    ids = encode(prompts_to_compare(subject.config, subject.splits, PROMPTS), tokenizer, encoder_decoder)
    trained = next_token_logits(subject.llm.model, ids)
    generation, trained_in = deepcopy(subject.llm.generation), _precision(subject.config)
    config = _plain_config(subject.llm.model.config)
    tokenizer.chat_template, notes = _chat_template(subject.config, tokenizer, encoder_decoder)
    base_model, trust = subject.config.base_model, subject.config.trust_remote_code
    _forget(subject)
    model, with_adapter = _model(run, config, base_model, getattr(torch, dtype), trust, ids)
    model.generation_config = generation
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    del model
    gc.collect()
    merged = _logits_again(partial, dtype, ids, trust)
    return Comparison(
        base_model,
        dtype,
        trained_in,
        len(ids),
        _checked(with_adapter, merged, dtype),
        TOLERANCES[dtype],
        largest_difference(trained, merged),
        same_best(trained, merged),
        fingerprint(run),
        notes=notes,
    )


def _chat_template(config: Any, tokenizer: Any, encoder_decoder: bool) -> tuple[str | None, list[str]]:
    """The template of training for messages, or None and why there is none."""
    if encoder_decoder:  # apply_chat_template would not add it
        return None, ["no chat template: an encoder reads an end-of-text token after the prompt."]
    try:
        return chat_template(config, tokenizer), []
    except AffinageError as error:
        return None, [f"no chat template: {error}"]


def _precision(config: Any) -> str:
    return f"{config.quantization.bits}-bit" if config.quantization else "float32"


def _plain_config(trained: PretrainedConfig) -> PretrainedConfig:
    """The config of the model as it was trained, with what the run changed in it, without its quantization."""
    config = deepcopy(trained)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    return config


def _forget(subject: Subject) -> None:
    """Frees the model's memory before the next one is loaded."""
    subject.llm.model = None
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _model(
    run: Run, config: PretrainedConfig, base_model: str, dtype: torch.dtype, trust: bool, ids: list[list[int]]
) -> tuple[PreTrainedModel, torch.Tensor | None]:
    """The model to write, and what the adapter said before it was merged (None without an adapter)."""
    adapter = run.weights_folder
    if not (adapter / "adapter_config.json").is_file():
        _refuse_quantized(str(adapter), trust)
        return _load(str(adapter), dtype, trust, config), None
    _refuse_quantized(base_model, trust)
    revision = run.manifest["base_model"].get("revision")
    model = with_adapter(_load(base_model, dtype, trust, config, revision), adapter)
    logits = next_token_logits(model, ids)
    return merged(model), logits


def _load(
    name: str, dtype: torch.dtype, trust: bool = False, config: Any = None, revision: str | None = None
) -> PreTrainedModel:
    options = {key: value for key, value in (("config", config), ("revision", revision)) if value is not None}
    return AutoModelForCausalLM.from_pretrained(name, dtype=dtype, trust_remote_code=trust, **options)


def _refuse_quantized(name: str, trust: bool) -> None:
    if getattr(AutoConfig.from_pretrained(name, trust_remote_code=trust), "quantization_config", None):
        remedy = "Train on the repository with the full-precision weights and set quantization in the config."
        raise AffinageError(Problem(name, f"its stored weights are quantized; {QUANTIZED}", remedy=remedy))


def _logits_again(folder: Path, dtype: str, ids: list[list[int]], trust: bool) -> torch.Tensor:
    """What the saved model says, loaded again as anyone would."""
    model = _load(str(folder), getattr(torch, dtype), trust)
    logits = next_token_logits(model, ids)
    del model
    gc.collect()
    return logits


def _checked(with_adapter: torch.Tensor | None, merged: torch.Tensor, dtype: str) -> float | None:
    if with_adapter is None:
        return None
    difference = largest_difference(with_adapter, merged)
    if not difference <= TOLERANCES[dtype]:
        found = f"differs from the adapter on its base by {difference:.3g} in a logit, so it was not kept."
        raise AffinageError(Problem("merged model", found, f"at most {TOLERANCES[dtype]}", "Use the adapter itself."))
    return difference
