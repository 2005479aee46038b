"""The one place that turns a row into the prompt the model sees, from the run's own config."""

from string import Formatter
from typing import Any

import pandas as pd
from ludwig.backend import initialize_backend
from ludwig.data.prompt import format_input_with_prompt

from affinage.ludwig_ext.batches import SpecialTokens


def prompt_columns(config: Any) -> list[str]:
    """The columns of the data that the prompt is made from; `config` is the resolved Ludwig config."""
    if config.prompt.template is None and config.prompt.task is None:
        return [config.input_features[0].column]
    fields = [field for _, field, _, _ in Formatter().parse(config.prompt.template or "{__sample__}") if field]
    own = {"__sample__": config.input_features[0].column}
    return [own.get(field, field) for field in fields if field in own or not field.startswith("__")]


def render(config: Any, rows: pd.DataFrame) -> list[str]:
    """One prompt per row, rendered by Ludwig's own function, as in training."""
    column = config.input_features[0].column
    if config.prompt.template is None and config.prompt.task is None:
        return rows[column].astype(str).tolist()
    prompts = format_input_with_prompt(
        column, rows.copy(), initialize_backend("local"), config.prompt.task, template=config.prompt.template
    )
    return prompts.tolist()


def encode(prompts: list[str], tokenizer: Any, encoder_decoder: bool = False) -> list[list[int]]:
    """Token ids of each prompt, with the special tokens that training puts there.

    What an encoder cannot take is not cut here, so that whoever asks finds out.
    """
    special, cut = SpecialTokens.of(tokenizer, encoder_decoder), not encoder_decoder
    return [special.prompt(tokenizer.encode(prompt, truncation=cut)) for prompt in prompts]
