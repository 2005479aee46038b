"""Which of the two answers of a pair a model finds likelier, before and after training."""

from typing import Any

import pandas as pd
import torch

from affinage.before_after import base_and_tuned
from affinage.generation import evaluation_mode
from affinage.ludwig_ext.batches import Row, SpecialTokens, collate
from affinage.ludwig_ext.loss import answer_nll_by_row
from affinage.preference_columns import rejected_column, stripped
from affinage.token_lengths import preferences, tokenizer_of


def chosen_likelier(llm: Any, config: Any, rows: pd.DataFrame, batch_size: int) -> dict[str, Any]:
    """On how many of the pairs among the rows (0 to 1) the base and the tuned model find the chosen answer likelier.

    {"base", "tuned", "n"}; empty where the config learns from no preference or no row is a pair. `llm` is Ludwig's
    model after training and `config` its resolved config. Likelier is the higher summed log p of the whole answer.
    """
    column = rejected_column(config)
    if column is None or column not in rows:
        return {}
    chosen = stripped(rows, config.output_features[0].column)
    whole = rows[(chosen != "") & (stripped(rows, column) != "") & (chosen != stripped(rows, column))]
    pairs = preferences(config, whole, tokenizer_of(config), kind="dpo").rows if len(whole) else []
    if not pairs:
        return {}
    sequences = [sequence for pair in pairs for sequence in pair.learnt]

    def share(model: Any) -> float:
        nll = _nll(model, sequences, llm.special, batch_size)
        return sum(good < bad for good, bad in zip(nll[::2], nll[1::2], strict=True)) / len(pairs)

    base, tuned = base_and_tuned(llm, share)
    return {"base": base, "tuned": tuned, "n": len(pairs)}


def _nll(model: Any, sequences: list[Row], special: SpecialTokens, batch_size: int) -> list[float]:
    """-log p of each sequence's answer, in nats."""
    order, found = sorted(range(len(sequences)), key=lambda i: len(sequences[i].ids)), [0.0] * len(sequences)
    with evaluation_mode(model), torch.no_grad():
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            batch = collate([sequences[i] for i in part], special.pad).to(next(model.parameters()).device)
            for i, nll in zip(part, answer_nll_by_row(model, batch), strict=True):
                found[i] = nll
    return found
