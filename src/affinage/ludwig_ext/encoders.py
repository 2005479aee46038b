"""Ludwig's text encoders, mended so that padding has no say in what they make of a text.

Fault: Ludwig's text feature takes id 2 for padding whatever the model says. BERT, which pads with 0, attends to its
padding, and RoBERTa, which ends a text with 2, does not see the end; so what comes out depends on the longest text.
"""

from typing import Any

import torch
from ludwig.encoders.text_encoders import AutoTransformerEncoder, BERTEncoder

POOLINGS = ("cls_pooled", "mean")


class PaddedBERT(BERTEncoder):
    """Masks what the model's own padding token fills."""

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        return super().forward(inputs, token_mask(self, inputs))


class PaddedAutoTransformer(AutoTransformerEncoder):
    """Masks what the model's own padding token fills, and takes the mean over the other tokens alone.

    Fault: the stock `mean` counts padding even where it is not attended to.
    """

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        mask = token_mask(self, inputs)
        if self.reduce_output == "cls_pooled":
            return super().forward(inputs, mask)
        given = {"input_ids": inputs, "attention_mask": mask, "token_type_ids": torch.zeros_like(inputs)}
        states = self.transformer.module(**{k: v for k, v in given.items() if k in self.forward_kwargs})
        return {"encoder_output": mean_of_tokens(states["last_hidden_state"], mask)}


def token_mask(encoder: Any, inputs: torch.Tensor) -> torch.Tensor:
    """1 for a token of the text and 0 for padding, in the shape of `inputs` (batch, sequence)."""
    return (inputs != encoder.transformer.module.config.pad_token_id).to(torch.int32)


def mean_of_tokens(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean (batch, width) of the states (batch, sequence, width) whose mask (batch, sequence) is 1."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
