"""Base models with an encoder and a decoder, such as T5: how Ludwig comes to load them, and what they cannot do.

Ludwig's model type `llm` knows causal models alone. Here the base model's own config decides (`is_encoder_decoder`).
The prompt goes to the encoder and the answer is learnt by the decoder, so `preprocessing.global_max_sequence_length`
and the context of the base model are limits of the prompt and of the answer, each for itself.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from ludwig.utils import llm_utils
from peft import TaskType
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING

from affinage.errors import AffinageError, Problem, raise_all


def model_config(resolved: Any) -> Any:
    """The transformers config of the base model; an encoder-decoder is one that Ludwig can load from then on."""
    config = AutoConfig.from_pretrained(resolved.base_model, trust_remote_code=resolved.trust_remote_code)
    let_ludwig_load(config)
    return config


def has_encoder(resolved: Any) -> bool:
    """Whether the base model of a resolved Ludwig config has an encoder for the prompt."""
    return bool(model_config(resolved).is_encoder_decoder)


def let_ludwig_load(config: Any) -> None:
    """Enters an encoder-decoder into the registry of AutoModelForCausalLM, through which Ludwig loads every model.

    Fault: without it, Ludwig stops at a T5 with "Unrecognized configuration class". Raises AffinageError for an
    encoder-decoder that does not turn text into text.
    """
    if not config.is_encoder_decoder:
        return
    model_class = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING.get(type(config), None)
    if model_class is None:
        found = f"a {config.model_type} model has an encoder, but does not turn text into text."
        raise AffinageError(Problem("base_model", found, "a causal language model, or an encoder-decoder such as T5"))
    AutoModelForCausalLM.register(type(config), model_class, exist_ok=True)


def untie_as_stored(model: Any) -> None:
    """Gives an empty T5 of version 1.1, such as Flan-T5, the output layer of its own that its stored weights hold.

    transformers ties the output layer of every T5 to the embeddings, and finds out otherwise when it loads weights.
    """
    if getattr(model.config, "scale_decoder_outputs", True) is False:
        head = model.get_output_embeddings()
        head.weight = torch.nn.Parameter(torch.empty_like(head.weight))


class _Seq2SeqAdapter:
    """An adapter section of Ludwig's that asks PEFT for an encoder-decoder.

    Fault: Ludwig asks for a causal model whatever the base model is, and the saved adapter says so to everyone.
    """

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def to_config(self, **options: Any) -> Any:
        return self._adapter.to_config(**{**options, "task_type": TaskType.SEQ_2_SEQ_LM})


def with_adapter(model: Any, resolved: Any) -> Any:
    """Ludwig's `initialize_adapter`: the model inside the adapter of a config, or as it is where there is none."""
    if not model.config.is_encoder_decoder or resolved.adapter is None:
        return llm_utils.initialize_adapter(model, resolved)
    names = SimpleNamespace(
        adapter=_Seq2SeqAdapter(resolved.adapter), adapters=resolved.adapters, base_model=resolved.base_model
    )
    return llm_utils.initialize_adapter(model, names)


def refuse(resolved: Any) -> None:
    """Raises AffinageError, naming all of them, for settings that an encoder-decoder cannot be trained with."""
    if has_encoder(resolved):
        raise_all(list(_problems(resolved)))


def _problems(resolved: Any) -> Iterator[Problem]:
    name = f"{resolved.base_model} is an encoder-decoder"
    if resolved.output_features[0].type != "text":
        found = f"{name}, which gives text, and the output is of type {resolved.output_features[0].type}."
        yield Problem("output_features.0.type", found, "text")
    if getattr(resolved.trainer, "packing", False):
        found = f"{name}, and packing puts several rows into one sequence of prompts and answers."
        yield Problem("trainer.packing", found, "false", "Remove it: rows of like length are batched together anyway.")
    if resolved.trainer.type not in ("finetune", "none"):
        found = f"{name}, and '{resolved.trainer.type}' is computed for causal models alone."
        yield Problem("trainer.type", found, "finetune")
    if getattr(resolved, "adapters", None) is not None:
        yield Problem("adapters", f"{name}, and several adapters are for causal models alone.", "adapter")


def refuse_export(resolved: Any, to: str) -> None:
    """Raises AffinageError for an encoder-decoder, which cannot be written for `to`."""
    config = model_config(resolved)
    if config.is_encoder_decoder:
        found = f"{resolved.base_model} is an encoder-decoder ({config.model_type}), which is not written for {to}."
        remedy = "Use the run with make chat or make serve, or its merged model (make merge) with transformers."
        raise AffinageError(Problem("base_model", found, "a causal language model", remedy))
