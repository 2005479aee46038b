"""The model that a config would train, built as Ludwig builds it but from fake tensors: shapes without any content."""

import copy
import re
from types import SimpleNamespace
from typing import Any

import torch
from bitsandbytes.functional import QuantState
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from peft import prepare_model_for_kbit_training
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM
from transformers.integrations.bitsandbytes import replace_with_bnb_linear
from transformers.quantizers.base import HfQuantizer

from affinage.errors import AffinageError, Problem
from affinage.ludwig_ext import seq2seq
from affinage.ludwig_ext.model import (
    computes_in_bfloat16,
    keep_4bit_weights_as_they_are,
    keep_frozen_weights_small,
    linear_modules,
)

BLOCK, NESTED_BLOCK = 64, 256  # weights per scale, and scales per scale of scales, as bitsandbytes quantizes


def is_quantized(resolved: Any) -> bool:
    """Whether the base weights are held in 4 or 8 bits during training; torchao rounds them only afterwards."""
    return resolved.quantization is not None and resolved.quantization.backend == "bitsandbytes"


def empty_base(resolved: Any) -> Any:
    """The base model on torch's meta device, where tensors take no memory; its weights are never looked for."""
    config = seq2seq.model_config(resolved)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, trust_remote_code=resolved.trust_remote_code
        )
        seq2seq.untie_as_stored(model)
    return model


def not_quantized(model: Any) -> list[str]:
    """Parts of the names of layers whose weights transformers leaves as they are when it quantizes the others."""
    return HfQuantizer.get_modules_to_not_convert(model, None, model._keep_in_fp32_modules)


def with_adapter(model: Any, resolved: Any) -> Any:
    """The model inside the config's adapter, as PEFT makes it. Raises AffinageError for one that does not fit."""
    adapter = copy.deepcopy(resolved.adapter)
    if adapter is not None and getattr(adapter, "target_modules", None) == ["all-linear"]:
        adapter.target_modules = linear_modules(model)
    if getattr(adapter, "init_lora_weights", None):
        adapter.init_lora_weights = "default"  # the others compute with weights that are not there
    names = SimpleNamespace(adapter=adapter, adapters=resolved.adapters, base_model=resolved.base_model)
    try:
        return seq2seq.with_adapter(model, names)
    except ValueError as error:
        raise AffinageError(Problem("adapter", f"does not fit {resolved.base_model}: {error}.")) from error


def freeze(model: Any, pattern: str | None) -> None:
    """Freezes the parameters that `trainer.layers_to_freeze_regex` names."""
    for name, parameter in model.named_parameters():
        if pattern and re.search(pattern, f"model.{name}"):
            parameter.requires_grad = False


def build(resolved: Any, mode: FakeTensorMode) -> Any:
    """The model ready for a training step inside `mode`, adapter and gradient checkpointing included."""
    model, quantized = empty_base(resolved), is_quantized(resolved)
    if quantized:
        model = replace_with_bnb_linear(model, not_quantized(model), resolved.quantization.to_bitsandbytes())
        model.is_loaded_in_4bit = resolved.quantization.bits == 4
        model.is_loaded_in_8bit = resolved.quantization.bits == 8
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    model = with_adapter(model, resolved)
    if computes_in_bfloat16(resolved):
        keep_frozen_weights_small(model)
    freeze(model, resolved.trainer.layers_to_freeze_regex)
    with mode:
        _fill(model, resolved.quantization)
    if resolved.trainer.enable_gradient_checkpointing:  # as Ludwig's Trainer.prepare does
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
        model.enable_input_require_grads()
    keep_4bit_weights_as_they_are(model)
    return model


def _fill(model: Any, quantization: Any) -> None:
    """Puts fake tensors on the CPU in the place of those on the meta device; tied weights stay tied."""
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is None:
                continue
            if id(weight) not in made:
                made[id(weight)] = _parameter(module, name, weight, quantization)
            module._parameters[name] = made[id(weight)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def _parameter(module: Any, name: str, weight: torch.Tensor, quantization: Any) -> torch.nn.Parameter:
    if name == "weight" and isinstance(module, Linear4bit):
        return _in_4_bits(weight, quantization)
    if name == "weight" and isinstance(module, Linear8bitLt):
        module.state.threshold = 0.0  # the rare columns kept in 16 bits depend on content, which there is none of
        module.state.CB = torch.empty(weight.shape, dtype=torch.int8)
        module.state.SCB = torch.empty(weight.shape[0])
        parameter: Any = torch.nn.Parameter(module.state.CB, requires_grad=False)
        parameter.CB = parameter.SCB = None
        return parameter
    return torch.nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype), weight.requires_grad)


def _in_4_bits(weight: torch.Tensor, quantization: Any) -> torch.nn.Parameter:
    """Two weights a byte and a scale per block, which is a float32 or, quantized in its turn, a byte."""
    blocks, nested = -(weight.numel() // -BLOCK), quantization.bnb_4bit_use_double_quant
    state = QuantState(
        torch.empty(blocks, dtype=torch.uint8 if nested else torch.float32),
        weight.shape,
        torch.empty(16),
        BLOCK,
        quantization.bnb_4bit_quant_type,
        torch.float32,
    )
    if nested:
        scales = torch.empty(-(blocks // -NESTED_BLOCK))
        state.nested, state.offset = True, torch.empty(())
        state.state2 = QuantState(scales, code=torch.empty(256), blocksize=NESTED_BLOCK, dtype=torch.float32)
    parameter: Any = torch.nn.Parameter(
        torch.empty((weight.numel() + 1) // 2, 1, dtype=torch.uint8), requires_grad=False
    )
    parameter.quant_state = state
    return parameter


def held(model: Any) -> dict[str, list[torch.Tensor]]:
    """Everything the model holds while it trains, a storage once: frozen or base weights, and the adapter's."""
    found: dict[str, list[torch.Tensor]] = {"weights": [], "adapter": []}
    seen: set[int] = set()
    adapted = hasattr(model, "peft_config")
    for module in model.modules():
        extra = [module.state.CB, module.state.SCB] if isinstance(module, Linear8bitLt) else []
        for tensor in [*module._parameters.values(), *module._buffers.values(), *extra]:
            for part in [tensor, *_scales(tensor)]:
                key = part.untyped_storage()._cdata if part is not None else None
                if key is None or key in seen:
                    continue
                seen.add(key)
                found["adapter" if adapted and tensor.requires_grad else "weights"].append(part)
    return found


def _scales(tensor: Any) -> list[torch.Tensor]:
    state = getattr(tensor, "quant_state", None)
    if state is None:
        return []
    inner = [state.offset, state.state2.absmax, state.state2.code] if state.nested else []
    return [state.absmax, state.code, *inner]
