"""An adapter put on a base model, and added to its weights."""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import PreTrainedModel


def with_adapter(base: Any, adapter: Path) -> PeftModel:
    """The base with the adapter of a folder on it, input and output embeddings apart, and as many rows as trained."""
    _resize(base, adapter)
    output = base.get_output_embeddings()
    if output is not None and output.weight is base.get_input_embeddings().weight:
        # one of them may be trained, and merged into a tensor they share it would change the other
        output.weight = torch.nn.Parameter(output.weight.detach().clone(), requires_grad=False)
    return PeftModel.from_pretrained(base, adapter)


def merged(model: Any) -> PreTrainedModel:
    """The model with its adapter added to the weights, in place."""
    tied = model.config.tie_word_embeddings
    plain = model.merge_and_unload()
    output, given = plain.get_output_embeddings(), plain.get_input_embeddings()
    if tied and output is not None:
        plain.config.tie_word_embeddings = torch.equal(output.weight, given.weight)
        if plain.config.tie_word_embeddings:
            output.weight = given.weight
    return plain


def _resize(base: Any, adapter: Path) -> None:
    """Gives the base as many embeddings as the adapter's own hold, where it was saved with a larger vocabulary."""
    file = adapter / "adapter_model.safetensors"
    if not file.is_file():
        return
    given = next(name for name, module in base.named_modules() if module is base.get_input_embeddings())
    with safe_open(file, "pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118 (no mapping)
            if key.endswith((f"{given}.weight", f"{given}.lora_embedding_A")):
                shape = tensors.get_slice(key).get_shape()
                rows = shape[1] if key.endswith("A") else shape[0]
                if rows != base.get_input_embeddings().weight.shape[0]:
                    base.resize_token_embeddings(rows, mean_resizing=False)
