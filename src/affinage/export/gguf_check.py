"""A GGUF file compared with the transformers model it was made from: logits, answers, and how text is cut."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from affinage.export import llama_calls
from affinage.export.llama_cpp import LlamaCpp
from affinage.export.prompts_to_compare import largest_difference, next_token_logits, same_best
from affinage.generation import answers
from affinage.prompts import encode

PROMPTS, PROMPTS_CUT, NEW_TOKENS = 5, 30, 48
# A logit may differ by the first number, or by the second as a share of the range of the model's logits if that is
# more. Measured, as shares, on models of 0.1 to 2 million parameters: f32 4e-7, f16 0.02 %, bf16 0.12 %, q8_0 0.5 %; a
# wrong conversion is off by more than 3 %. q4_k_m has no bound on logits.
TOLERANCES = {"f32": (0.01, 0.002), "f16": (0.01, 0.002), "bf16": (0.05, 0.005), "q8_0": (0.05, 0.01)}
DIVERGENCE = 0.5  # nats; whatever is further from the run than that is not the same model any more
EXACT = ("f32", "f16")  # must also prefer the same next token on every prompt
ROUNDED = 0.5  # allowed on top where the reference itself had to compute in bfloat16, for lack of memory
ALIKE = 0.95  # of TEXTS; llama.cpp's readings of SentencePiece differ from transformers' on spaces before a text
TEXTS = (
    "L'été, la forêt s'éveille.|Où êtes-vous ? Là-bas, près du château…|Ça coûte 1 234,56 €, c'est cher !|ŒUVRE, œuf|"
    "À l'âge de 33 ans|  deux espaces devant|deux espaces derrière  |au  milieu   aussi|un\ttab\tou\t\tdeux|\n|\n\n\n|"
    "ligne\nligne\n\nligne|fin\r\nde ligne|   |a|É|7|2026|3.1415926535|1000000|10 000 000|0123456789|n° 12 bis|50 %|"
    "12/11/2026 à 8h05|x=y+z*(a-b)/c|I'm sure you're right, he'll say they've gone|don't|DON'T|it's|'s|l'eau|l’eau|"
    "aujourd'hui|qu'il n'y a|« guillemets »|“quotes”|nom.prenom@example.org|https://example.org/a?b=c&d=é|~~~|-----|"
    "def f(x):\n    return x + 1|### Instruction:\nRecopie.\n\n### Input:\nle chat\n\n### Response:\n|!!!???...|"
    '# Titre\n- un\n- deux|{"a": [1, 2]}|_snake_case_|straße, mañana, žluťoučký|Ελλάδα, привет|日本語のテキスト|'
    "\u00a0insécable\u00a0: oui|e\u0301 décomposé|🚀 et 👩‍🔬"
).split("|")


@dataclass(frozen=True)
class Reference:
    """What the transformers model says: logits (prompts, vocabulary) and greedy answers to `prompts`, and the ids that
    training gives to `texts`. `ends` are the ids that end an answer, `dtype` what it was computed in.
    """

    prompts: list[list[int]]
    logits: torch.Tensor
    answers: list[list[int]]
    texts: list[str]
    text_ids: list[list[int]]
    ends: list[int]
    dtype: str


@dataclass(frozen=True)
class Check:
    """What the comparison of one file measured; `faults` says in words what must not be, and is empty when it passed.

    `kl_divergence` is the mean over prompts of KL(transformers || file) of the next token, in nats; answers are greedy.
    A text is cut alike when both give it the same token ids: of the run's own prompts all must be, of `TEXTS`, which
    hold unusual ones, `ALIKE`; those that are not stand in `cut_otherwise`.
    """

    quantization: str
    reference: str
    tolerance: float | None
    prompts: int
    largest_difference: float
    same_next_token: int
    kl_divergence: float
    same_answers: int
    run_prompts: int
    run_prompts_cut_alike: int
    texts: int
    texts_cut_alike: int
    cut_otherwise: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def reference_of(model: Any, tokenizer: Any, prompts: list[str]) -> Reference:
    """Runs `model` on the first prompts, and cuts all of them and `TEXTS` with `tokenizer`."""
    texts = [*prompts, *TEXTS]
    text_ids = encode(texts, tokenizer)
    context = model.config.max_position_embeddings
    ids = [one[: context - NEW_TOKENS] for one in text_ids[: min(PROMPTS, len(prompts))]]
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    greedy = GenerationConfig(
        max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=end, pad_token_id=end if pad is None else pad
    )
    said = [answers(model, [one], greedy, context)[0].ids for one in ids]
    dtype = str(model.dtype).removeprefix("torch.")
    return Reference(ids, next_token_logits(model, ids), said, texts, text_ids, [end], dtype)


def check(llama: LlamaCpp, file: Path, quantization: str, reference: Reference, adapter: Path | None = None) -> Check:
    """Runs the file, with a GGUF adapter on it or without, as llama.cpp does, and compares."""
    found = llama_calls.evaluate(
        llama, file, reference.texts, reference.prompts, NEW_TOKENS, reference.ends, adapter=adapter
    )
    logits = torch.from_numpy(found.logits)[:, : reference.logits.shape[1]]
    difference, divergence = largest_difference(reference.logits, logits), _divergence(reference.logits, logits)
    same = same_best(reference.logits, logits)
    alike = [one == other for one, other in zip(found.ids, reference.text_ids, strict=True)]
    n = len(alike) - len(TEXTS)
    tolerance = _tolerance(quantization, reference)
    return Check(
        quantization=quantization,
        reference=reference.dtype,
        tolerance=tolerance,
        prompts=len(reference.prompts),
        largest_difference=difference,
        same_next_token=same,
        kl_divergence=divergence,
        same_answers=sum(one == other for one, other in zip(found.answers, reference.answers, strict=True)),
        run_prompts=n,
        run_prompts_cut_alike=sum(alike[:n]),
        texts=len(TEXTS),
        texts_cut_alike=sum(alike[n:]),
        cut_otherwise=[text for text, same in zip(TEXTS, alike[n:], strict=True) if not same],
        faults=[
            *_faults_of_logits(quantization, tolerance, difference, divergence, len(reference.prompts) - same),
            *_faults_of_texts(alike[:n], alike[n:]),
        ],
    )


def _tolerance(quantization: str, reference: Reference) -> float | None:
    if quantization not in TOLERANCES:
        return None
    least, share = TOLERANCES[quantization]
    allowed = max(least, share * float(reference.logits.max() - reference.logits.min()))
    return round(allowed if reference.dtype == "float32" else allowed + ROUNDED, 4)


def _faults_of_logits(
    quantization: str, tolerance: float | None, difference: float, divergence: float, other_best: int
) -> Iterator[str]:
    if tolerance is not None and not difference <= tolerance:
        yield f"a logit differs by {difference:.3g}, more than the {tolerance:g} allowed for {quantization}"
    if not divergence <= DIVERGENCE:
        yield f"the next token diverges by {divergence:.3g} nats, more than {DIVERGENCE:g}"
    if quantization in EXACT and other_best:
        yield f"another next token is preferred on {other_best} prompts"


def _faults_of_texts(prompts: list[bool], texts: list[bool]) -> Iterator[str]:
    consequence = "get other token ids than in training, so answers to text will differ"
    if not all(prompts):
        yield f"{prompts.count(False)} of {len(prompts)} prompts of the run {consequence}"
    if texts.count(True) < ALIKE * len(texts):
        yield f"{texts.count(False)} of {len(texts)} other texts {consequence}"


def _divergence(reference: torch.Tensor, other: torch.Tensor) -> float:
    log_p, log_q = reference.double().log_softmax(-1), other.double().log_softmax(-1)
    return float((log_p.exp() * (log_p - log_q)).sum(-1).mean())
