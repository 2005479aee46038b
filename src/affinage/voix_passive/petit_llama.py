"""Makes the folder of petit-llama: trained weights, tokenizer, and the card that says how they were made."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import LlamaForCausalLM

from affinage.voix_passive.corpus import PSEUDO_WORD_SHARE
from affinage.voix_passive.pretraining import Pretraining, build_model, pretrain, save, train_tokenizer

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Outcome:
    """What a pretraining run came to: mean final loss in nats per token, duration, and the cores it ran on."""

    loss: float
    duration_s: float
    cores: int


def make_model(folder: Path, settings: Pretraining, on_step: Callable[[int, float], None]) -> Outcome:
    """Pretrains petit-llama and writes it with its card into `folder`, made when missing.

    The folder is untouched until training has ended; each file then replaces its older self in one move.
    `on_step` gets the number of steps done and the loss of the last one.
    """
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    tokenizer = train_tokenizer(settings.seed)
    model = build_model(tokenizer)
    loss = pretrain(model, tokenizer, settings, on_step)
    outcome = Outcome(loss, time.monotonic() - started, torch.get_num_threads())
    folder.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the moves stay on one file system.
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        save(model, tokenizer, Path(temporary))
        card = model_card(Path(temporary), model, settings, outcome)
        Path(temporary, "README.md").write_text(card, encoding="utf-8")
        for path in Path(temporary).iterdir():
            path.replace(folder / path.name)
    return outcome


def model_card(folder: Path, model: LlamaForCausalLM, settings: Pretraining, outcome: Outcome) -> str:
    """The Markdown card for the model saved in `folder`, whose weights it hashes."""
    config = model.config
    return CARD.format(
        parameters=f"{model.num_parameters():,}",
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        head_size=config.hidden_size // config.num_attention_heads,
        context=config.max_position_embeddings,
        trained_context=settings.context,
        vocabulary=config.vocab_size,
        command=f"python tools/pretrain_petit_llama.py --steps {settings.steps} --seed {settings.seed}",
        seed=settings.seed,
        steps=f"{settings.steps:,}",
        batch=settings.batch_size,
        tokens=f"{settings.steps * settings.batch_size * settings.context / 1e6:.1f}",
        minutes=f"{outcome.duration_s / 60:.0f}",
        cores=outcome.cores,
        loss=f"{outcome.loss:.3f}",
        pseudo=f"{PSEUDO_WORD_SHARE:.0%}".replace("%", " %"),
        sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest(),
    )


CARD = """\
---
language:
- fr
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags:
- llama
- tiny
---

# petit-llama

A Llama of {parameters} parameters that knows a few French sentences. It lets a whole fine-tuning run, with LoRA or
QLoRA, finish in minutes on a processor and still learn something that can be measured.

## Architecture

`LlamaForCausalLM`, float32, embeddings tied: {layers} layers, width {hidden}, feed-forward width {intermediate},
{heads} heads of {head_size}, {context} positions of which {trained_context} were trained. All widths are multiples
of 64.

## Tokenizer

Byte-level BPE of its own, {vocabulary} tokens, so any text comes back unchanged. Endings of verbs and plurals are split
from their stems (`apport|ée|s`), which lets a model this small copy a word from one form to another.
Its training text adds some single words of prompts and grammar (`###`, `Instruction`, `passive`) so that prompts stay
short; the model itself was not trained on those.
Special tokens: `<s>` (start), `</s>` (end), `<pad>`, `<unk>`. `<s>` is not added automatically and was not trained.

## Training

    {command}

| | |
|---|---|
| text | generated French sentences beside their passive, negative and plural forms, in varying order |
| invented words | {pseudo} of the nouns and of the verbs, so that copying has to be learned |
| steps | {steps}, batch {batch} of {trained_context} tokens, {tokens} million tokens in all |
| optimizers | Muon for the matrices inside the layers, AdamW for the rest; cosine schedule with warm-up |
| precision | float32 weights, bfloat16 products |
| seed | {seed} |
| time | {minutes} minutes on {cores} processor cores |
| final loss | {loss} nats per token, mean of the last fiftieth of the steps |

The text holds no instruction, no heading such as those of Alpaca prompts, and no sentence whose verb, subject and
object are all reserved for the test split of `voix-passive`. Single test words do occur in it.
Another processor may round differently and end at slightly different weights.

sha256 of `model.safetensors`: `{sha256}`

## Limits

- It speaks only the sentences of its generator: third person, verbs in -er, four tenses. It knows nothing of the world.
- It does not follow instructions: it was never shown one. That is what fine-tuning is to add.
- Do not use it for anything but trying, testing and teaching a fine-tuning pipeline.

## Licence

Apache 2.0. The training text is generated by the same repository and holds no one else's work.
"""
