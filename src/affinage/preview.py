"""What a run would train, computed from its plan with the tokenizer and the model's shape alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ludwig.constants import AUTO
from ludwig.utils.trainer_utils import get_final_steps_per_checkpoint, get_rendered_batch_size_grad_accum

from affinage.errors import AffinageError, Problem
from affinage.ludwig_ext import optimizers
from affinage.ludwig_ext.batches import Row, Rows
from affinage.ludwig_ext.config import sequences_per_row
from affinage.ludwig_ext.schedule import lr_factor, warmup_steps
from affinage.ludwig_ext.seq2seq import has_encoder
from affinage.memory_estimate import MemoryEstimate, Parameters, count_parameters, estimate_memory, is_quantized
from affinage.model_types import is_encoder
from affinage.token_lengths import (
    SplitTokens,
    check_cuts,
    context_length,
    dataset_ids,
    length_limit,
    refuse_truncation,
    tokenize,
    tokenizer_of,
)

if TYPE_CHECKING:
    from affinage.training import Plan

BLOCKS = "▁▂▃▄▅▆▇█"
COLUMNS = 60
SAMPLED_STEPS = 50 * COLUMNS  # of a longer run; a restart that falls between two of them is not seen


@dataclass(frozen=True)
class Steps:
    """How training is cut into optimizer steps; `tokens` is their mean number of tokens, prompts included."""

    batch: int
    accumulation: int
    per_epoch: int
    total: int
    warmup: int
    per_evaluation: int
    evaluations: int
    tokens: float

    @property
    def effective_batch(self) -> int:
        return self.batch * self.accumulation


@dataclass(frozen=True)
class Curve:
    """The learning rate over a run: one block character per stretch of steps (its highest rate), and three rates."""

    blocks: str
    first: float
    peak: float
    last: float


@dataclass(frozen=True)
class Preview:
    """Everything `make check` shows. `curve` and `memory` are None where the config leaves it to Ludwig ("auto"),
    `memory` for a model that cannot be counted as well.

    `sample` is the first training row as pieces of text, each with whether it is trained on.
    """

    settings: dict[str, str]
    splits: dict[str, SplitTokens]
    parameters: Parameters
    steps: Steps | None
    sample: list[tuple[str, bool]]
    curve: Curve | None
    memory: MemoryEstimate | None
    warnings: list[str]


def preview(plan: "Plan", allow_truncation: bool | None = None) -> Preview:
    """Looks ahead without loading a weight. Raises AffinageError where nothing or too little would be trained."""
    if is_encoder(plan.resolved):
        from affinage import encoder_preview

        return encoder_preview.preview_encoder(plan, allow_truncation)
    resolved, tokenizer = plan.resolved, tokenizer_of(plan.resolved)
    known = dataset_ids(resolved, plan.splits, tokenizer)
    splits = {name: tokenize(resolved, rows, tokenizer, known) for name, rows in plan.splits.items()}
    train = splits["train"]
    check_cuts(resolved, train, allow_truncation)
    parameters = count_parameters(resolved)
    refuse_nothing_trainable(parameters)
    steps = plan_steps(resolved.trainer, train.rows)
    warnings = list(_warnings(resolved, splits))
    memory = None
    try:
        optimizers.refuse(resolved.trainer.optimizer, resolved.adapter is not None)
        memory = _memory(resolved, steps, train.rows)
    except AffinageError as error:
        warnings += map(str, error.problems)
    return Preview(
        settings(resolved, parameters, steps),
        splits,
        parameters,
        steps,
        pieces(train.rows.rows[0], tokenizer),
        learning_rate_curve(resolved.trainer, steps),
        memory,
        warnings,
    )


def refuse(plan: "Plan", allow_truncation: bool | None = None) -> None:
    """Raises the AffinageError that `preview` would raise, without the rest of it: for the start of a run."""
    if is_encoder(plan.resolved):
        from affinage import encoder_preview

        return encoder_preview.refuse(plan, allow_truncation)
    refuse_truncation(plan, allow_truncation)
    refuse_nothing_trainable(count_parameters(plan.resolved))
    optimizers.refuse(plan.resolved.trainer.optimizer, plan.resolved.adapter is not None)


def refuse_nothing_trainable(parameters: Parameters) -> None:
    """Raises AffinageError when no parameter would receive a gradient."""
    if parameters.trainable == 0:
        raise AffinageError(
            Problem(
                "adapter",
                f"none of the {parameters.total:,} parameters would be trained.",
                remedy="Add an adapter to a quantized model, and check trainer.layers_to_freeze_regex.",
            )
        )


def plan_steps(trainer: Any, rows: Rows) -> Steps | None:
    """The steps that the trainer takes on these rows; None when Ludwig is to find the batch size itself."""
    batch, accumulation = get_rendered_batch_size_grad_accum(trainer, 1)
    if batch == AUTO:
        return None
    per_epoch = math.ceil(math.ceil(len(rows) / batch) / accumulation)
    total = trainer.train_steps or trainer.epochs * per_epoch
    per_evaluation = get_final_steps_per_checkpoint(
        per_epoch, trainer.steps_per_checkpoint, trainer.checkpoints_per_epoch
    )
    return Steps(
        batch,
        accumulation,
        per_epoch,
        total,
        _warmup(trainer.learning_rate_scheduler, total, per_evaluation),
        per_evaluation,
        0 if trainer.skip_all_evaluation else math.ceil(total / per_evaluation),
        sum(len(sequence.ids) for row in rows.rows for sequence in row.learnt) / per_epoch,
    )


def _warmup(scheduler: Any, total: int, per_evaluation: int) -> int:
    """Steps that rise to the peak, in the two schedules with a warmup of their own as well."""
    if scheduler.decay == "one_cycle":
        return round(scheduler.pct_start * total)
    if scheduler.decay == "wsd":
        return round(scheduler.wsd_warmup_fraction * total)
    return warmup_steps(scheduler, total, per_evaluation)


def learning_rate_curve(trainer: Any, steps: Steps | None) -> Curve | None:
    """The rate of every step from the function the trainer uses, without what `reduce_on_plateau` may take off."""
    if steps is None or not isinstance(trainer.learning_rate, float):
        return None
    rate = trainer.learning_rate
    factor = lr_factor(trainer.learning_rate_scheduler, steps.total, steps.per_evaluation, rate)
    spread = np.linspace(0, steps.total - 1, min(steps.total, SAMPLED_STEPS)).round().astype(int)
    sampled = np.union1d(spread, [max(0, steps.warmup - 1)])  # a warmup ends in the peak
    rates = [rate * factor(int(step)) for step in sampled]
    return Curve(_blocks(rates), rates[0], max(rates), rates[-1])


def _blocks(rates: list[float]) -> str:
    peak = max(rates) or 1.0
    columns = np.array_split(np.array(rates), min(COLUMNS, len(rates)))
    return "".join(BLOCKS[round((len(BLOCKS) - 1) * column.max() / peak)] for column in columns)


def pieces(row: Row, tokenizer: Any) -> list[tuple[str, bool]]:
    """The text of a row, special tokens included, in pieces with whether they are trained on.

    Raises AffinageError when none is.
    """
    if row.answer_tokens == 0:
        raise AffinageError(Problem("the training data", "a row without an answer token: nothing would be trained."))
    prompt = tokenizer.decode(row.ids[: row.answer_start], clean_up_tokenization_spaces=False)
    whole = tokenizer.decode(row.ids, clean_up_tokenization_spaces=False)
    if whole.startswith(prompt):  # an answer decoded alone can lose its first space
        return [(prompt, False), (whole[len(prompt) :], True)]
    answer = tokenizer.decode(row.ids[row.answer_start :], clean_up_tokenization_spaces=False)
    return [(prompt, False), (answer, True)]


def _memory(resolved: Any, steps: Steps | None, rows: Rows) -> MemoryEstimate | None:
    if steps is None:
        return None
    sequences = [sequence for row in rows.rows for sequence in row.learnt]
    longest, answer = max(len(s.ids) for s in sequences), max(len(s.ids) - s.answer_start for s in sequences)
    if has_encoder(resolved):
        longest = answer + max(s.answer_start for s in sequences)
    if resolved.trainer.type == "orpo":  # it learns prompts as well
        answer = longest - 1
    return estimate_memory(resolved, min(steps.batch, len(rows)) * sequences_per_row(resolved), longest, answer)


def settings(resolved: Any, parameters: Parameters, steps: Steps | None) -> dict[str, str]:
    """The settings that decide a run, by name, as a person would say them."""
    share = parameters.trainable / parameters.total
    together = "of the prompt and of the answer" if has_encoder(resolved) else "prompt and answer together"
    shown = {
        "base model": f"{resolved.base_model}, context {context_length(resolved):,} tokens",
        "method": _method(resolved, parameters),
        "trained": f"{parameters.trainable:,} of {parameters.total:,} parameters ({share:.2%})",
        "row length": f"at most {length_limit(resolved):,} tokens, {together}",
    }
    if steps is None:
        return shown | {"batch": "auto: Ludwig looks for the largest that fits, so the steps are not known"}
    length = f"trainer.train_steps = {resolved.trainer.train_steps}"
    if not resolved.trainer.train_steps:
        length = f"{steps.per_epoch:,} an epoch x {resolved.trainer.epochs} epochs"
    return shown | {
        "batch": f"{steps.batch} x {steps.accumulation} accumulated = {steps.effective_batch} rows a step, "
        f"{steps.tokens:,.0f} tokens on average",
        "steps": f"{steps.total:,} optimizer steps ({length}), {steps.warmup:,} of them warmup",
        "evaluations": _evaluations(resolved.trainer, steps),
    }


def _method(resolved: Any, parameters: Parameters) -> str:
    adapter, parts = resolved.adapter, []
    if adapter is not None:
        numbers = [f"{key} {getattr(adapter, key)}" for key in ("r", "alpha", "dropout") if hasattr(adapter, key)]
        parts.append(f"{adapter.type} {', '.join(numbers)} on {', '.join(parameters.adapted) or 'the prompt'}")
    else:
        parts.append("full: every weight" if resolved.adapters is None else "several adapters")
    if is_quantized(resolved):
        kind = f" {resolved.quantization.bnb_4bit_quant_type}" if resolved.quantization.bits == 4 else ""
        parts.append(f"base in {resolved.quantization.bits} bits{kind}")
    else:
        parts.append("weights in float32")
    return "; ".join(parts)


def _evaluations(trainer: Any, steps: Steps) -> str:
    if not steps.evaluations:
        return "none: trainer.skip_all_evaluation is set"
    early = f"; stops after {trainer.early_stop} without improvement" if trainer.early_stop > 0 else ""
    return f"{steps.evaluations}, one every {steps.per_evaluation:,} steps{early}"


def _warnings(resolved: Any, splits: dict[str, SplitTokens]) -> Iterator[str]:
    """What lets a run go on, but not as its author may think."""
    new, context = resolved.generation.max_new_tokens or 0, context_length(resolved)
    beside_prompt = 0 if has_encoder(resolved) else new
    for name, split in splits.items():
        if split.cut:
            yield (
                f"{name}: {split.cut} of {len(split.prompt)} rows are cut ({split.lost_answer_tokens} answer tokens; "
                f"{split.lost_answers} answers whole; limits of the features cut {split.prompts_cut} prompts and "
                f"{split.answers_cut} answers)"
            )
        crowded = int((split.prompt + beside_prompt > context).sum())
        if crowded and not beside_prompt:
            yield f"{name}: {crowded} prompts do not fit the context of {context} tokens"
        elif crowded:
            yield (
                f"{name}: {crowded} prompts and generation.max_new_tokens {new} do not fit the context of {context} "
                "tokens together, so their answers may be cut"
            )
    test = splits.get("test")
    unfinished = int((test.answer > new).sum()) if test is not None else 0
    if unfinished:
        yield f"test: {unfinished} reference answers are longer than generation.max_new_tokens {new}"
    if resolved.trainer.learning_rate_scheduler.reduce_on_plateau > 0:
        yield "reduce_on_plateau can lower the learning rate below the curve"
