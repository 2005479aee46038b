"""Makes petit-llama: a byte-level tokenizer and a small Llama, both trained on the text of `corpus`."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from affinage.voix_passive.corpus import documents

VOCABULARY_SIZE = 1280
TOKENIZER_DOCUMENTS = 20_000
SPECIAL_TOKENS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
# Words that prompts and French grammar use and the corpus does not; one each, so never an instruction.
EXTRA_WORDS = (
    "###",
    " Instruction",
    " Input",
    " Response",
    " phrase",
    " voix",
    " forme",
    " passive",
    " active",
    " passif",
    " actif",
    " pluriel",
    " complément",
    " objet",
    " négative",
    " négation",
    " au",
    " à",
    " la",
    " cette",
)


@dataclass(frozen=True)
class Pretraining:
    """Settings of one pretraining run; `context` is in tokens, learning rates are peaks."""

    steps: int = 1500
    batch_size: int = 16
    context: int = 256
    learning_rate: float = 3e-3
    matrix_learning_rate: float = 2e-2
    weight_decay: float = 0.05
    warmup_steps: int = 100
    seed: int = 1


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that keeps the endings of verbs and plurals apart from their stems.

    `apporte`, `apportées` and `apporteront` share the pieces of `apport`, so a small model can copy a verb it has
    rarely seen from one tense or agreement to another. Text comes back unchanged after encoding and decoding.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+['’]?| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s"), "isolated"),
            pre_tokenizers.Split(Regex(r"(?<=\p{L}{3})s(?!\p{L})"), "isolated"),
            pre_tokenizers.Split(Regex(r"(?<=\p{L}{3})(?:eront|aient|era|ait|ent|ée|é|e)(?!\p{L})"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    text = [*islice(documents(seed, pseudo_word_share=0.05), TOKENIZER_DOCUMENTS), *EXTRA_WORDS * 500]
    tokenizer.train_from_iterator(text, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=512, clean_up_tokenization_spaces=False, **SPECIAL_TOKENS
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A randomly initialised Llama of about 1.9 million float32 parameters, embeddings tied."""
    config = LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=192,
        intermediate_size=320,
        num_hidden_layers=5,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def pretrain(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    settings: Pretraining,
    on_step: Callable[[int, float], None],
) -> float:
    """Trains `model` in place and returns its mean loss over the last fiftieth of the steps, in nats per token.

    `on_step` gets the number of steps done and the loss of the last one.
    """
    optimizers = _optimizers(model, settings)
    schedules = [torch.optim.lr_scheduler.LambdaLR(one, lambda step: _rate(step, settings)) for one in optimizers]
    losses = []
    model.train()
    for step, batch in enumerate(islice(_batches(tokenizer, settings), settings.steps), start=1):
        # A step takes about two thirds of the time in bfloat16, on a processor that has it; weights stay float32.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        model.zero_grad(set_to_none=True)
        losses.append(loss.item())
        on_step(step, losses[-1])
    last = losses[-max(1, settings.steps // 50) :]
    return sum(last) / len(last)


def _optimizers(model: LlamaForCausalLM, settings: Pretraining) -> list[torch.optim.Optimizer]:
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if weight.ndim == 2 and "embed" not in name]
    others = [weight for name, weight in named if weight.ndim != 2 or "embed" in name]
    # Muon is meant for the matrices inside the layers, not for embeddings and norms.
    return [
        torch.optim.Muon(matrices, lr=settings.matrix_learning_rate, weight_decay=settings.weight_decay),
        torch.optim.AdamW(others, lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _rate(step: int, settings: Pretraining) -> float:
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


def _batches(tokenizer: PreTrainedTokenizerFast, settings: Pretraining) -> Iterator[torch.Tensor]:
    """Token ids of whole documents, each ended by </s>, packed end to end; (batch, context)."""
    size = settings.batch_size * settings.context
    stream = documents(settings.seed)
    ids: list[int] = []
    while True:
        while len(ids) < size:
            for document in tokenizer(list(islice(stream, 64)))["input_ids"]:
                ids += [*document, tokenizer.eos_token_id]
        yield torch.tensor(ids[:size]).view(settings.batch_size, settings.context)
        ids = ids[size:]


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes weights, configurations and tokenizer into `folder`, which must exist, in the Hugging Face layout."""
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
        max_new_tokens=64,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
