"""How the rows of one optimizer step are laid out in tensors: with little padding, or packed without any.

Either way the loss and its gradient are those of the same rows in any other layout.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from affinage.errors import AffinageError, Problem
from affinage.generation import evaluation_mode
from affinage.ludwig_ext.batches import IGNORED, Batch, Row, collate
from affinage.ludwig_ext.loss import answer_token_nll
from affinage.ludwig_ext.model import parameter_counts

# Below so many tokens, a call of the model waits for its weights to be read: measured on a CPU; bandwidth on a GPU.
TOKENS_TO_READ_THE_WEIGHTS = {"cpu": 64, "cuda": 300}
# What a layer costs per call of the model beside that, as arithmetic that could have been done meanwhile.
FLOPS_LOST_PER_LAYER = {"cpu": 1e8, "cuda": 1e12}
CHECKED_ROWS = 4
SAME_LOSS = 1e-2  # relative, which bfloat16 stays within


def call_cost(model: Any) -> float:
    """What one call of the model costs beside its tokens, in tokens (6 operations a parameter and token)."""
    device = "cpu" if next(model.parameters()).device.type == "cpu" else "cuda"
    layers, (_, parameters) = model.config.get_text_config().num_hidden_layers, parameter_counts(model)
    return TOKENS_TO_READ_THE_WEIGHTS[device] + FLOPS_LOST_PER_LAYER[device] * layers / (6 * parameters)


def cut_by_length(lengths: Sequence[int], most_rows: int, cost: float) -> list[list[int]]:
    """Positions of the rows in batches of at most `most_rows`, such that padded tokens and calls cost least.

    A batch costs its rows times its longest row plus `cost`, all in tokens. Rows of like length stand together, the
    longest first; a cut costs least among all cuts of that order (dynamic programming over its prefixes).
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    least, start = [0.0], [0]
    for end in range(1, len(order) + 1):
        first = max(0, end - most_rows)
        costs = [least[i] + (end - i) * lengths[order[i]] + cost for i in range(first, end)]
        best = int(np.argmin(costs))
        least.append(costs[best])
        start.append(first + best)
    cuts, end = [], len(order)
    while end:
        cuts.append(order[start[end] : end])
        end = start[end]
    return cuts[::-1]


def padded(rows: Sequence[Row], most_rows: int, cost: float, pad: int) -> list[Batch]:
    """The rows as right-padded batches, each of at most `most_rows` rows of like length."""
    return [collate([rows[i] for i in cut], pad) for cut in cut_by_length([len(r.ids) for r in rows], most_rows, cost)]


def packed(rows: Sequence[Row], most_rows: int) -> list[Batch]:
    """The rows one after another, `most_rows` to a batch of one sequence; positions start at 0 in every row.

    There is no mask: transformers keeps attention inside a row where the positions start again.
    """
    return [_one_sequence(rows[i : i + most_rows]) for i in range(0, len(rows), most_rows)]


def _one_sequence(rows: Sequence[Row]) -> Batch:
    ids = torch.from_numpy(np.concatenate([row.ids for row in rows])).unsqueeze(0)
    labels, end = torch.full_like(ids, IGNORED), 0
    for row in rows:
        start, end = end + row.answer_start, end + len(row.ids)
        labels[0, start:end] = ids[0, start:end]
    positions = torch.cat([torch.arange(len(row.ids)) for row in rows]).unsqueeze(0)
    return Batch(ids, None, labels, positions)


def check_packing(model: Any, rows: Sequence[Row], pad: int) -> None:
    """Raises AffinageError when a packed row sees another: its answer tokens then cost more or less than alone.

    A row's place is taken by other tokens as well: nothing that comes after it may change.
    """
    device = next(model.parameters()).device
    other = Row(np.flip(rows[0].ids).copy(), rows[0].answer_start)
    with evaluation_mode(model), torch.no_grad():
        alone, together, beside_other = (
            [answer_token_nll(model, batch.to(device)) for batch in batches]
            for batches in (
                [collate([row], pad) for row in rows],
                packed(rows, len(rows)),
                packed([other, *rows[1:]], len(rows)),
            )
        )
    later = slice(rows[0].answer_tokens, None)
    changed = not torch.equal(together[0][later], beside_other[0][later])
    if changed or not torch.isclose(together[0].sum(), torch.cat(alone).sum(), rtol=SAME_LOSS):
        raise AffinageError(
            Problem(
                "trainer.packing",
                f"a {model.config.model_type} model lets packed rows see one another, so their loss would be wrong.",
                remedy="Leave it out; rows of like length are batched together anyway.",
            )
        )
