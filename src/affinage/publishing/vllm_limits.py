"""What vLLM can do with a LoRA adapter, from its adapter_config.json and the kind of its base model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEFAULT_RANK = 16
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the values --max-lora-rank takes (vllm/config/lora.py)
# Architectures that vLLM runs, but without LoRA (docs/models/supported_models.md), as transformers' `model_type`.
WITHOUT_LORA = ("bloom", "falcon", "gpt2", "gpt_neox", "gptj", "mpt")


@dataclass(frozen=True)
class VllmLimits:
    """`max_lora_rank` is the value that vLLM must be started with, None where its default does; `obstacles` say why it
    cannot load the adapter at all, and are empty when it can.
    """

    max_lora_rank: int | None
    obstacles: tuple[str, ...]


def vllm_limits(adapter: Mapping[str, Any], model_type: str = "") -> VllmLimits:
    """The limits for the content of adapter_config.json; `model_type` is that of the base model, "" if not known."""
    rank = max([int(adapter.get("r") or 0), *map(int, (adapter.get("rank_pattern") or {}).values())])
    obstacles = [
        (adapter.get("peft_type", "LORA") != "LORA", f"it loads LoRA adapters, not {adapter.get('peft_type')}"),
        (bool(adapter.get("use_dora")), "it does not load DoRA adapters"),
        (
            bool(adapter.get("modules_to_save")),
            "it does not load adapters with whole modules in them (modules_to_save)",
        ),
        (adapter.get("bias", "none") != "none", "it does not load adapters that train biases"),
        (rank > RANKS[-1], f"its largest rank is {RANKS[-1]}, and this adapter has {rank}"),
        (model_type in WITHOUT_LORA, f"it runs {model_type} models without adapters only"),
    ]
    needed = next((allowed for allowed in RANKS if allowed >= rank), None)
    return VllmLimits(
        needed if needed is not None and rank > DEFAULT_RANK else None, tuple(why for holds, why in obstacles if holds)
    )
