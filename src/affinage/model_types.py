"""The two kinds of models that are trained, by Ludwig's `model_type`; imports nothing heavy."""

from collections.abc import Mapping
from typing import Any

from affinage.errors import AffinageError, Problem
from affinage.runs import Run

LLM, ECD = "llm", "ecd"  # a language model that answers in words; an encoder with a head that answers labels


def is_encoder(config: Any) -> bool:
    """Whether a resolved config trains an encoder."""
    return config.model_type == ECD


def baseline_name(manifest: Mapping[str, Any]) -> str:
    """What stands for the base of a run that trained an encoder, "always positif"; "" for a language model."""
    return f"always {manifest['baseline']['label']}" if "baseline" in manifest else ""


def refuse_encoder(run: Run, what: str) -> None:
    """Raises AffinageError when the run trained an encoder, which cannot do `what`, such as "be merged"."""
    if run.manifest.get("model_type") == ECD:
        found = f"it trained an encoder that answers labels, which cannot {what}."
        remedy = "make show, reproduce, evaluate, score, compare and leaderboard take it."
        raise AffinageError(Problem(f"run {run.folder.name}", found, "a run of a language model", remedy))


def refuse_encoder_config(config: Mapping[str, Any], where: str, what: str) -> None:
    """Raises AffinageError for a config that trains an encoder, which cannot do `what`, such as "be swept"."""
    if config.get("model_type") == ECD:
        found = f"it trains an encoder that answers labels, which cannot {what}."
        raise AffinageError(Problem(where, found, f"model_type: {LLM}", "make check and make train take it."))
