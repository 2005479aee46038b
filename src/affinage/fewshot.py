"""Prompts that show the base model some solved rows first."""

from string import Formatter
from typing import Any

import pandas as pd

from affinage.errors import AffinageError, Problem
from affinage.prompts import render

BLANK = "\n\n"


def examples(train: pd.DataFrame, k: int, seed: int) -> pd.DataFrame:
    """k training rows drawn with a seed, as evenly over the labels as they go.

    Raises AffinageError when there are fewer.
    """
    if len(train) < k:
        raise AffinageError(Problem("FEWSHOT", f"{k} examples asked for.", f"up to {len(train)}, the training rows"))
    shuffled = train.sample(frac=1, random_state=seed)
    if "label" not in shuffled:
        return shuffled.head(k)
    turn = shuffled.groupby("label").cumcount()  # the first of every label, then the second of every label
    return shuffled.assign(_turn=turn).sort_values("_turn", kind="stable").drop(columns="_turn").head(k)


def with_examples(config: Any, chosen: pd.DataFrame, prompts: list[str]) -> list[str]:
    """Each prompt after the chosen rows, rendered as in training with their answers and a blank line between."""
    answer = config.output_features[0].column
    solved = [prompt + str(text) for prompt, text in zip(render(config, chosen), chosen[answer], strict=True)]
    head = "".join(f"{text}{BLANK}" for text in solved)
    return [head + prompt for prompt in prompts]


def between_examples(config: Any) -> str:
    """The text that ends an answer and begins the next example: a blank line and what every prompt begins with."""
    parts = list(Formatter().parse(config.prompt.template or ""))
    return BLANK + (parts[0][0].rstrip() if parts else "")
