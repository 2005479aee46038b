"""How many tokens prompts and answers take, and what the length limits of a config would cut."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ludwig.callbacks import Callback
from ludwig.utils.llm_utils import get_context_len
from ludwig.utils.tokenizers import HFTokenizer

from affinage import prompts
from affinage.errors import AffinageError, Problem
from affinage.ludwig_ext.batches import Rows, SpecialTokens, build_rows
from affinage.ludwig_ext.preference_rows import RejectedAnswers, build
from affinage.ludwig_ext.seq2seq import has_encoder, model_config
from affinage.ludwig_ext.tokenizer import EncodedBeforehand
from affinage.preference_columns import rejected_column, stripped
from affinage.token_cache import TokenIds, token_ids

if TYPE_CHECKING:
    from affinage.training import Plan

CUT_ALLOWED = 0.01  # part of the training rows

Answers = list[Sequence[int] | None]


@dataclass(frozen=True)
class SplitTokens:
    """One split: tokens per row of prompt and of answer with EOS, before anything is cut, and the rows trained on.

    `prompts_cut` and `answers_cut` are rows that a feature's own limit cuts; `cut` are all rows that lose a token.
    """

    prompt: np.ndarray  # (rows,)
    answer: np.ndarray  # (rows,)
    rows: Rows
    prompts_cut: int
    answers_cut: int
    cut: int

    @property
    def lost_answer_tokens(self) -> int:
        """Answer tokens that nothing is learnt from, those of rows that lose their answer whole included."""
        return int(self.answer.sum()) - self.rows.answer_tokens

    @property
    def lost_answers(self) -> int:
        """Rows that are not trained on at all."""
        return len(self.rows.skipped)


def tokenizer_of(resolved: Any) -> Any:
    """The tokenizer as Ludwig makes it for training."""
    return HFTokenizer(resolved.base_model, trust_remote_code=resolved.trust_remote_code).tokenizer


def context_length(resolved: Any) -> int:
    """Tokens of prompt and answer that the base model takes at most, of each of them if it has an encoder."""
    return get_context_len(model_config(resolved))


def length_limit(resolved: Any) -> int:
    """Tokens that a training row keeps: `global_max_sequence_length`, but never more than the context.

    With an encoder-decoder, a prompt keeps so many and its answer as well.
    """
    context = context_length(resolved)
    return min(resolved.preprocessing.global_max_sequence_length or context, context)


def dataset_ids(resolved: Any, splits: dict[str, pd.DataFrame], tokenizer: Any = None) -> TokenIds | None:
    """The ids of all prompts and answers, from the cache when this data was encoded before; order does not matter.

    None where they cannot be known beforehand: Ludwig may read such a tokenizer without the code it comes with.
    """
    if resolved.trust_remote_code:
        return None
    answer, rejected = resolved.output_features[0].column, rejected_column(resolved)
    texts = [text for rows in splits.values() for text in (*prompts.render(resolved, rows), *rows[answer].astype(str))]
    texts += [text for rows in splits.values() if rejected in rows for text in rows[rejected].astype(str)]
    return token_ids(texts, tokenizer or tokenizer_of(resolved))


def encoded_beforehand(resolved: Any, splits: dict[str, pd.DataFrame]) -> list[Callback]:
    """What hands texts that are encoded already to Ludwig's preprocessing, and rejected answers to the trainer."""
    known = dataset_ids(resolved, splits)
    callbacks: list[Callback] = [EncodedBeforehand(resolved.base_model, known)]
    if rejected_column(resolved) is not None:
        tokenizer = tokenizer_of(resolved)
        answers = {n: _both_answers(resolved, rows, tokenizer, known) for n, rows in splits.items() if n != "test"}
        there = {name: (rejected, [ids is not None for ids in chosen]) for name, (chosen, rejected) in answers.items()}
        callbacks.append(RejectedAnswers(there))
    return callbacks


def _both_answers(resolved: Any, rows: pd.DataFrame, tokenizer: Any, known: TokenIds | None) -> tuple[Answers, Answers]:
    """The ids of the chosen and of the rejected answer of each row, cut by the feature's limit; None where empty."""
    target = resolved.output_features[0]

    def side(column: str) -> Answers:
        _, kept = _encode(rows[column].astype(str).tolist(), tokenizer, target.preprocessing, known)
        return [ids if text else None for ids, text in zip(kept, stripped(rows, column), strict=True)]

    return side(target.column), side(resolved.trainer.rejected_column)


def tokenize(resolved: Any, rows: pd.DataFrame, tokenizer: Any, known: TokenIds | None = None) -> SplitTokens:
    """Encodes one split as Ludwig's preprocessing and the trainer do; `resolved` is the resolved Ludwig config.

    `known` holds the ids of all its texts, from `dataset_ids`. Of preferences, every answer counts as a row but in
    `rows`, which are those of the trainer.
    """
    rejected, target = rejected_column(resolved), resolved.output_features[0].column
    if rejected is None or rejected not in rows:
        return _tokenize(resolved, rows, tokenizer, known)
    there = [rows[stripped(rows, column) != ""] for column in (target, rejected)]
    single = pd.concat([there[0], there[1].assign(**{target: there[1][rejected]})], ignore_index=True)
    kind = resolved.trainer.type
    if kind != "kto":  # a test split, which is not trained on, may lack rejected answers
        rows = there[1]
    lengths = _tokenize(resolved, single, tokenizer, known)
    return replace(lengths, rows=preferences(resolved, rows, tokenizer, kind, known))


def preferences(resolved: Any, rows: pd.DataFrame, tokenizer: Any, kind: str, known: TokenIds | None = None) -> Rows:
    """The pairs ("dpo", "orpo") or opinions ("kto") that a trainer of that kind makes of the rows."""
    source, special = resolved.input_features[0], SpecialTokens.of(tokenizer)
    _, asked = _encode(prompts.render(resolved, rows), tokenizer, source.preprocessing, known)
    return build(kind, asked, *_both_answers(resolved, rows, tokenizer, known), special, length_limit(resolved))


def _tokenize(resolved: Any, rows: pd.DataFrame, tokenizer: Any, known: TokenIds | None) -> SplitTokens:
    special, limit = SpecialTokens.of(tokenizer, has_encoder(resolved)), length_limit(resolved)
    source, target = resolved.input_features[0], resolved.output_features[0]
    answers = rows[target.column].astype(str).tolist()
    prompt_ids, prompts_kept = _encode(prompts.render(resolved, rows), tokenizer, source.preprocessing, known)
    answer_ids, answers_kept = _encode(answers, tokenizer, target.preprocessing, known)
    built = build_rows(prompts_kept, answers_kept, special, limit)
    prompt = np.array([len(special.prompt(ids)) for ids in prompt_ids])
    answer = np.array([len(special.answer(ids)) for ids in answer_ids])
    left = [
        special.within(special.prompt(p), special.answer(a), limit)
        for p, a in zip(prompts_kept, answers_kept, strict=True)
    ]
    shortened = np.array([len(p) + len(a) for p, a in left])
    prompts_cut, answers_cut = (
        sum(len(kept) < len(ids) for kept, ids in zip(*pair, strict=True))
        for pair in ((prompts_kept, prompt_ids), (answers_kept, answer_ids))
    )
    return SplitTokens(prompt, answer, built, prompts_cut, answers_cut, int((shortened < prompt + answer).sum()))


def _encode(
    texts: list[str], tokenizer: Any, preprocessing: Any, known: TokenIds | None
) -> tuple[list[list[int]], list[list[int]]]:
    """The ids of each text, and what the tokenizer's and the feature's limits leave of them."""
    if known is not None:
        full = [known[text].tolist() for text in texts]
    else:
        full = tokenizer(texts, truncation=False, verbose=False)["input_ids"]
    limit = preprocessing.sequence_length or preprocessing.max_sequence_length
    longest = tokenizer.model_max_length
    kept = [
        tokenizer.encode(text, truncation=True) if len(ids) > longest else ids
        for text, ids in zip(texts, full, strict=True)
    ]
    return full, [ids[:limit] for ids in kept]


def refuse_truncation(plan: "Plan", allow_truncation: bool | None = None) -> None:
    """Raises AffinageError when a run of this plan would train on nothing or cut too many rows; see `check_cuts`."""
    tokenizer = tokenizer_of(plan.resolved)
    known = dataset_ids(plan.resolved, plan.splits, tokenizer)
    train = tokenize(plan.resolved, plan.splits["train"], tokenizer, known)
    check_cuts(plan.resolved, train, allow_truncation)


def check_cuts(resolved: Any, train: SplitTokens, allow_truncation: bool | None = None) -> None:
    """Raises AffinageError when no training row keeps its answer, or when more than 1 % of them lose tokens.

    `allow_truncation` permits the latter; by default the environment does, with ALLOW_TRUNCATION=1.
    """
    limit = length_limit(resolved)
    where = "preprocessing.global_max_sequence_length"
    if not train.rows.rows:
        raise AffinageError(
            Problem(
                where,
                f"at {limit} tokens, no row of the training split keeps an answer, so nothing would be trained.",
                remedy="Raise it, or shorten the prompt template.",
            )
        )
    if allow_truncation is None:
        allow_truncation = os.environ.get("ALLOW_TRUNCATION") == "1"
    if train.cut > CUT_ALLOWED * len(train.prompt) and not allow_truncation:
        raise AffinageError(_too_many_cut(resolved, train, where, limit))


def _too_many_cut(resolved: Any, train: SplitTokens, where: str, limit: int) -> Problem:
    features = {"input_features.0": train.prompts_cut, "output_features.0": train.answers_cut}
    if not train.rows.cut_rows:
        where = f"{max(features, key=lambda name: features[name])}.preprocessing.max_sequence_length"
    n, longest = len(train.prompt), int((train.prompt + train.answer).max())
    of_what = " of the prompt and of the answer" if has_encoder(resolved) else ""
    return Problem(
        where,
        f"{train.cut} of {n} training rows ({train.cut / n:.1%}) would be cut: {train.lost_answer_tokens} answer "
        f"tokens are lost, {train.lost_answers} answers whole. The limit is {limit} tokens{of_what}, the longest row "
        f"has {longest}; limits of the features cut {train.prompts_cut} prompts and {train.answers_cut} answers.",
        f"{CUT_ALLOWED:.0%} of the rows",
        "Raise it, shorten the rows or the prompt template, or set ALLOW_TRUNCATION=1 to train on what is left.",
    )
