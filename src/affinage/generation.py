"""Batched generation from a language model of transformers, causal or with an encoder, with or without an adapter."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from affinage.errors import AffinageError, Problem
from affinage.ludwig_ext.batches import right_padded

SAMPLING_ONLY = ("temperature", "top_k", "top_p", "typical_p", "epsilon_cutoff", "eta_cutoff")


@dataclass(frozen=True)
class Answer:
    """One generated answer: its token ids without the end token, and why it stopped ("end" or "length")."""

    ids: list[int]
    stop: str


def generation_config(settings: dict[str, Any], tokenizer: Any) -> GenerationConfig:
    """The transformers settings for a Ludwig `generation` section; sampling keys count only when it samples."""
    settings = dict(settings)
    if not settings.get("do_sample"):
        for key in SAMPLING_ONLY:
            settings.pop(key, None)
    if settings.get("max_new_tokens") is not None:
        settings.pop("max_length", None)
    config = GenerationConfig(**settings)
    config.pad_token_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    config.eos_token_id = config.eos_token_id if config.eos_token_id is not None else tokenizer.eos_token_id
    return config


def left_padded(prompts: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, each (batch, sequence), with every prompt ending in the last column."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), pad, dtype=torch.long)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
        mask[i, width - len(prompt) :] = 1
    return ids, mask


def is_encoder_decoder(model: Any) -> bool:
    """Whether the model reads a prompt in an encoder, so that what it generates begins without it."""
    return bool(model.config.is_encoder_decoder)


def decoder_start(config: Any) -> int:
    """The token that a decoder begins with, before any answer, as transformers chooses it."""
    start = getattr(config, "decoder_start_token_id", None)
    return config.bos_token_id if start is None else start


def room(model: Any, prompt_tokens: int, context_length: int) -> int:
    """Tokens that an answer can have; below 1 for a prompt that is too long. An encoder takes none of a decoder's."""
    if is_encoder_decoder(model) and prompt_tokens <= context_length:
        return context_length
    return context_length - prompt_tokens


def run(
    model: Any, prompts: Sequence[Sequence[int]], config: GenerationConfig, context_length: int, scores: bool = False
) -> Any:
    """What transformers' `generate` returns for padded prompts; answers never run past the context.

    Without `scores` that is the ids (batch, sequence); with them, an object with `sequences` and `scores`. A sequence
    is the prompt and the answer or, from an encoder-decoder, the decoder's start token and the answer.

    Raises AffinageError when a prompt fills the context and leaves no room for an answer.
    """
    pad = right_padded if is_encoder_decoder(model) else left_padded
    ids, mask = pad(prompts, config.pad_token_id)
    left = room(model, ids.shape[1], context_length)
    if left < 1:
        raise AffinageError(
            Problem(
                "prompt",
                f"{ids.shape[1]} tokens, which leaves no room for an answer.",
                f"at most {context_length - 1} tokens (the context of the base model holds {context_length})",
                "Shorten the prompt or choose a base model with a longer context.",
            )
        )
    device = model.get_input_embeddings().weight.device
    config = copy.deepcopy(config)
    config.max_new_tokens = min(config.max_new_tokens or left, left)
    config.output_scores = config.return_dict_in_generate = scores
    with torch.no_grad():
        return model.generate(input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=config)


def answers(
    model: Any, prompts: Sequence[Sequence[int]], config: GenerationConfig, context_length: int
) -> list[Answer]:
    """One answer per prompt (a list of ids each), generated as one batch."""
    sequences = run(model, prompts, config, context_length)
    width = 1 if is_encoder_decoder(model) else max(len(prompt) for prompt in prompts)
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    return [_answer(sequence[width:].tolist(), ends) for sequence in sequences]


def _answer(ids: list[int], ends: list[int]) -> Answer:
    end = next((i for i, token in enumerate(ids) if token in ends), None)
    return Answer(ids, "length") if end is None else Answer(ids[:end], "end")


def answer_all(
    model: Any,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    context_length: int,
    batch_size: int,
    progress: Callable[[int], Any] | None = None,
) -> list[Answer]:
    """Answers in the order of the prompts; batches hold prompts of like length. `progress` gets rows done at a time."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    results: dict[int, Answer] = {}
    with evaluation_mode(model):
        longest = context_length - (config.max_new_tokens or context_length)
        if is_encoder_decoder(model):
            longest = context_length  # a long prompt takes no room from its neighbours' answers
        for chosen in _batches(prompts, order, batch_size, longest):
            batch = answers(model, [prompts[i] for i in chosen], config, context_length)
            results.update(zip(chosen, batch, strict=True))
            if progress is not None:
                progress(len(chosen))
    return [results[i] for i in range(len(prompts))]


def _batches(prompts: Sequence[Sequence[int]], order: list[int], batch_size: int, longest: int) -> Iterator[list[int]]:
    """Batches of prompts of up to `longest` tokens; longer ones, which have less room than they want, go alone."""
    together = [i for i in order if len(prompts[i]) <= longest]
    yield from (together[start : start + batch_size] for start in range(0, len(together), batch_size))
    yield from ([i] for i in order if len(prompts[i]) > longest)


@contextmanager
def evaluation_mode(model: torch.nn.Module):
    """Inside, dropout is off; afterwards the model is back in the mode it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
