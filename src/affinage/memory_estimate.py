"""How many parameters a config trains and about how much memory that takes, without loading a weight."""

import copy
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import psutil
import torch
from ludwig.utils.llm_utils import initialize_adapter
from ludwig.utils.torch_utils import get_torch_device
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoConfig, AutoModelForCausalLM

from affinage.errors import AffinageError, Problem
from affinage.ludwig_ext.model import linear_modules
from affinage.ludwig_ext.trainer import parameter_counts

FLOAT32, HALF = 4, 2  # bytes
ONE_STATE = ("adagrad", "lars", "lion", "muon", "rmsprop")  # optimizers that keep one number per parameter, not two


@dataclass(frozen=True)
class Parameters:
    """Counts of weights: `trainable` and `quantized` are parts of `total`; `adapted` names the adapter's modules."""

    trainable: int
    total: int
    quantized: int
    adapted: list[str]


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by what they hold, and the bytes free now on the device (cuda, mps or cpu) that would train."""

    items: dict[str, int]
    device: str
    free: int

    @property
    def total(self) -> int:
        return sum(self.items.values())


def count_parameters(resolved: Any) -> Parameters:
    """Counts what a resolved Ludwig config trains; the base is on torch's meta device, where tensors take no memory.

    Raises AffinageError for an adapter that does not fit the base model.
    """
    config = AutoConfig.from_pretrained(resolved.base_model, trust_remote_code=resolved.trust_remote_code)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=resolved.trust_remote_code)
        quantized = _quantized_weights(model) if is_quantized(resolved) else 0
    model.requires_grad_(not is_quantized(resolved))
    model = _with_adapter(model, resolved)
    _freeze(model, resolved.trainer.layers_to_freeze_regex)
    adapted = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    return Parameters(*parameter_counts(model), quantized, sorted(adapted))


def is_quantized(resolved: Any) -> bool:
    """Whether the base weights are held in 4 or 8 bits during training; torchao rounds them only afterwards."""
    return resolved.quantization is not None and resolved.quantization.backend == "bitsandbytes"


def _quantized_weights(model: Any) -> int:
    head, kinds = model.get_output_embeddings(), ("Linear", "Conv1D")
    linear = [module for module in model.modules() if type(module).__name__ in kinds and module is not head]
    return sum(module.weight.numel() for module in linear)


def _with_adapter(model: Any, resolved: Any) -> Any:
    adapter = copy.deepcopy(resolved.adapter)
    if adapter is not None and getattr(adapter, "target_modules", None) == ["all-linear"]:
        adapter.target_modules = linear_modules(model)
    if getattr(adapter, "init_lora_weights", None):
        adapter.init_lora_weights = "default"  # the others compute with weights that are not there
    names = SimpleNamespace(adapter=adapter, adapters=resolved.adapters, base_model=resolved.base_model)
    try:
        return initialize_adapter(model, names)
    except ValueError as error:
        raise AffinageError(Problem("adapter", f"does not fit {resolved.base_model}: {error}.")) from error


def _freeze(model: Any, pattern: str | None) -> None:
    for name, parameter in model.named_parameters():
        if pattern and re.search(pattern, f"model.{name}"):
            parameter.requires_grad = False


def estimate_memory(
    resolved: Any, parameters: Parameters, batch: int, longest: int, longest_answer: int
) -> MemoryEstimate:
    """An estimate of what a training step holds at its peak, on top of Python and its libraries.

    `batch` rows of `longest` tokens, `longest_answer` of them learnt: the worst batch there can be. Weights that are
    not quantized and gradients are float32, as Ludwig and PEFT hold them; Adam keeps two numbers per trained weight.
    Activations are tokens x layers x (12 x hidden + 4 x intermediate) numbers, what a Llama block keeps for the
    backward pass when attention scores are not stored (SDPA); with gradient checkpointing it is `hidden` numbers per
    token and layer, and one block. Counted on small models, LoRA on few modules keeps 0.7 of that, GPT-2 1.5 times
    and adapter dropout up to 1.8 times. Logits take 12 bytes each: value, log-probability and gradient.
    Fragmentation, workspaces and the CUDA context (about 0.5 GB) are not in it: on a CPU, petit-llama with a batch of
    96 took 1.2 (full) to 2.5 (QLoRA) times the estimate. No GPU was measured.
    """
    shape = AutoConfig.from_pretrained(
        resolved.base_model, trust_remote_code=resolved.trust_remote_code
    ).get_text_config()
    device = get_torch_device()
    items = {
        "weights": _weight_bytes(resolved.quantization, parameters),
        "gradients": parameters.trainable * FLOAT32,
        "optimizer state": parameters.trainable * _state_bytes(resolved.trainer.optimizer),
        "activations": _activation_bytes(resolved, shape, batch * longest),
        "logits of answers": batch * longest_answer * shape.vocab_size * 3 * FLOAT32,
    }
    if device == "cpu":
        items["copy for the checkpoint"] = parameters.trainable * FLOAT32
    return MemoryEstimate(items, device, _free(device))


def _weight_bytes(quantization: Any, parameters: Parameters) -> int:
    """Float32, but in 4 bits one scale per 64 weights as well: a float32, or a byte when quantized in its turn."""
    if not parameters.quantized:
        return parameters.total * FLOAT32
    scale = 1 if quantization.bnb_4bit_use_double_quant else FLOAT32
    each = 0.5 + scale / 64 if quantization.bits == 4 else 1.0
    return round(parameters.quantized * each) + (parameters.total - parameters.quantized) * FLOAT32


def _state_bytes(optimizer: Any) -> int:
    """Bytes of optimizer state per trained parameter; the 8-bit optimizers keep a byte per number."""
    name = optimizer.type.removeprefix("paged_").removesuffix("_8bit")
    numbers = 1 if name in ONE_STATE else 2
    if name == "sgd":
        numbers = int(optimizer.momentum > 0)
    return numbers * (1 if optimizer.type.endswith("_8bit") else FLOAT32)


def _activation_bytes(resolved: Any, shape: Any, tokens: int) -> int:
    hidden, layers = shape.hidden_size, shape.num_hidden_layers
    intermediate = getattr(shape, "intermediate_size", None) or getattr(shape, "n_inner", None) or 4 * hidden
    block = 12 * hidden + 4 * intermediate
    numbers = layers * hidden + block if resolved.trainer.enable_gradient_checkpointing else layers * block
    computes_in_half = is_quantized(resolved) and resolved.quantization.bnb_4bit_compute_dtype != "float32"
    half = resolved.trainer.use_mixed_precision or computes_in_half
    return tokens * numbers * (HALF if half else FLOAT32)


def _free(device: str) -> int:
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    if device == "mps":
        return torch.mps.recommended_max_memory()
    return psutil.virtual_memory().available
