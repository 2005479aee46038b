"""The prompts on which two forms of a model are compared, and what each form says to them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from affinage.errors import AffinageError, Problem
from affinage.generation import decoder_start, evaluation_mode, is_encoder_decoder
from affinage.prompts import render

SPLITS = ("test", "validation", "train")  # in the order of preference


def prompts_to_compare(config: Any, splits: Mapping[str, pd.DataFrame], n: int) -> list[str]:
    """`n` prompts spread evenly over the test split, or over the first other split that has rows.

    `config` is the resolved Ludwig config. Raises AffinageError when no split has a row.
    """
    rows = next((part for name in SPLITS if (part := splits.get(name)) is not None and len(part)), None)
    if rows is None:
        raise AffinageError(Problem("data", "holds no row to compare models on."))
    n = min(n, len(rows))
    return render(config, rows.iloc[[i * len(rows) // n for i in range(n)]].reset_index(drop=True))


def next_token_logits(model: Any, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Logits of the token after each prompt, or of the first that a decoder says, (prompts, vocabulary), in float32 on
    the CPU; each prompt runs alone.
    """
    device = model.get_input_embeddings().weight.device
    given = {}
    if is_encoder_decoder(model):
        given["decoder_input_ids"] = torch.tensor([[decoder_start(model.config)]], device=device)
    with evaluation_mode(model), torch.no_grad():
        rows = [model(input_ids=torch.tensor([list(ids)], device=device), **given).logits[0, -1] for ids in prompts]
    return torch.stack(rows).float().cpu()


def largest_difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Maximum of |one - other|; infinity when one holds a value that is no number."""
    return float((one - other).abs().nan_to_num(nan=float("inf")).max())


def same_best(one: torch.Tensor, other: torch.Tensor) -> int:
    """On how many prompts both find the same next token the most likely."""
    return int((one.argmax(-1) == other.argmax(-1)).sum())
