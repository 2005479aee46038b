"""What a run of an encoder would train, computed from its plan with the tokenizer and the model's shape alone."""

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from affinage import preview
from affinage.encoder_runs import base_model
from affinage.errors import AffinageError, Problem
from affinage.ludwig_ext.batches import Row, Rows
from affinage.memory_estimate import Parameters
from affinage.token_lengths import CUT_ALLOWED, SplitTokens

if TYPE_CHECKING:
    from affinage.training import Plan

LENGTH = "input_features.0.preprocessing.max_sequence_length"


def preview_encoder(plan: "Plan", allow_truncation: bool | None = None) -> preview.Preview:
    """Looks ahead without loading a weight. Raises AffinageError for texts that would be cut."""
    resolved = plan.resolved
    splits = {name: split_tokens(resolved, rows) for name, rows in plan.splits.items()}
    refuse_cuts(resolved, splits["train"], allow_truncation)
    parameters = count_parameters(resolved)
    steps = preview.plan_steps(resolved.trainer, splits["train"].rows)
    source, target = (features[0].column for features in (resolved.input_features, resolved.output_features))
    first = plan.splits["train"].iloc[0]
    return preview.Preview(
        settings(plan, parameters, steps),
        splits,
        parameters,
        steps,
        [(f"{first[source]} → ", False), (str(first[target]), True)],
        preview.learning_rate_curve(resolved.trainer, steps),
        None,
        [f"{name}: {split.cut} of {len(split.prompt)} texts are cut" for name, split in splits.items() if split.cut],
    )


def refuse(plan: "Plan", allow_truncation: bool | None = None) -> None:
    """Raises the AffinageError that `preview_encoder` would raise, without the rest of it."""
    refuse_cuts(plan.resolved, split_tokens(plan.resolved, plan.splits["train"]), allow_truncation)


def split_tokens(resolved: Any, rows: pd.DataFrame) -> SplitTokens:
    """The tokens of every text, special ones included; a label takes none."""
    tokenizer, limit = AutoTokenizer.from_pretrained(base_model(resolved)), length_limit(resolved)
    texts = rows[resolved.input_features[0].column].astype(str).tolist()
    ids = tokenizer(texts, truncation=False, verbose=False)["input_ids"]
    lengths = np.array([len(row) for row in ids])
    kept = Rows([Row(np.array(row[:limit]), len(row[:limit])) for row in ids])
    cut = int((lengths > limit).sum())
    return SplitTokens(lengths, np.zeros(len(ids), dtype=int), kept, cut, 0, cut)


def length_limit(resolved: Any) -> int:
    """Tokens of a text that the encoder reads: what the feature allows, but never more than the encoder's positions."""
    preprocessing, name = resolved.input_features[0].preprocessing, base_model(resolved)
    limits = [
        preprocessing.sequence_length or preprocessing.max_sequence_length,
        AutoTokenizer.from_pretrained(name).model_max_length,
        getattr(AutoConfig.from_pretrained(name), "max_position_embeddings", None),
    ]
    return min(limit for limit in limits if limit)


def refuse_cuts(resolved: Any, train: SplitTokens, allow_truncation: bool | None = None) -> None:
    """Raises AffinageError when more than 1 % of the training texts would lose their end.

    `allow_truncation` permits it; by default the environment does, with ALLOW_TRUNCATION=1.
    """
    if allow_truncation is None:
        allow_truncation = os.environ.get("ALLOW_TRUNCATION") == "1"
    n, limit = len(train.prompt), length_limit(resolved)
    if train.cut > CUT_ALLOWED * n and not allow_truncation:
        found = f"{train.cut} of {n} training texts ({train.cut / n:.1%}) would be cut: the limit is {limit} tokens, "
        found += f"the longest has {train.prompt.max()}."
        remedy = "Raise it, shorten the texts, or set ALLOW_TRUNCATION=1 to train on what is left."
        raise AffinageError(Problem(LENGTH, found, f"{CUT_ALLOWED:.0%} of the texts", remedy))


def count_parameters(resolved: Any) -> Parameters:
    """Counts the weights of the encoder on torch's meta device; those of the head depend on the labels.

    Raises AffinageError for an adapter that does not fit the encoder.
    """
    encoder = resolved.input_features[0].encoder
    with torch.device("meta"):
        model: Any = AutoModel.from_config(AutoConfig.from_pretrained(base_model(resolved)))
    model.requires_grad_(encoder.trainable)
    adapted: list[str] = []
    if encoder.adapter is not None:
        model, adapted = _adapted(model, encoder)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Parameters(trainable, sum(p.numel() for p in model.parameters()), 0, adapted)


def _adapted(model: Any, encoder: Any) -> tuple[Any, list[str]]:
    from peft import get_peft_model

    if not encoder.trainable:
        found = "the adapter would not be trained: Ludwig freezes it with its encoder."
        where = "input_features.0.encoder.trainable"
        raise AffinageError(
            Problem(where, found, "true", "Write 'trainable: true'; the adapter's base stays as it is.")
        )
    try:
        model = get_peft_model(model, encoder.adapter.to_config())
    except ValueError as error:
        raise AffinageError(Problem("input_features.0.encoder.adapter", str(error).splitlines()[0])) from error
    return model, sorted(model.targeted_module_names and {n.rsplit(".", 1)[-1] for n in model.targeted_module_names})


def settings(plan: "Plan", parameters: Parameters, steps: Any) -> dict[str, str]:
    """The settings that decide a run, by name, as a person would say them."""
    resolved, encoder = plan.resolved, plan.resolved.input_features[0].encoder
    labels = Counter(plan.splits["train"][resolved.output_features[0].column].astype(str))
    method = "encoder and head" if encoder.trainable else "head alone: the encoder is frozen"
    if encoder.adapter is not None:
        method = f"{encoder.adapter.type} on {', '.join(parameters.adapted)}, and the head"
    return {
        "base model": f"{base_model(resolved)}, as {encoder.type}, one vector by {encoder.reduce_output}",
        "method": method,
        "trained": f"{parameters.trainable:,} of {parameters.total:,} parameters of the encoder, and its head",
        "text length": f"at most {length_limit(resolved):,} tokens",
        "labels": ", ".join(f"{label} {n:,}" for label, n in sorted(labels.items())),
        "batch": f"{steps.batch} rows a step, {steps.tokens:,.0f} tokens on average",
        "steps": f"{steps.total:,} ({steps.per_epoch:,} an epoch), {steps.warmup:,} of them warmup",
        "evaluations": f"{steps.evaluations}, one every {steps.per_evaluation:,} steps",
    }
