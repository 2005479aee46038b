"""Training rows of preferences: pairs of a chosen and a rejected answer, and answers that are wanted or not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ludwig.callbacks import Callback

from affinage.errors import AffinageError, Problem
from affinage.ludwig_ext.batches import Row, Rows, SpecialTokens, build_rows

HANDED_ON = "affinage_answers"  # the attribute of a preprocessed split
UNKNOWN = (float("nan"), float("nan"))

Ids = Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Pair(Row):
    """A row whose answer is preferred to `rejected`, the other answer to the same prompt.

    `references` are the summed log p (nats) of the two answers under the model before the first step.
    """

    rejected: Row
    references: tuple[float, float] = UNKNOWN

    @property
    def answer_tokens(self) -> int:
        return super().answer_tokens + self.rejected.answer_tokens

    @property
    def learnt(self) -> tuple[Row, ...]:
        """The sequences that the loss is made of."""
        return self, self.rejected

    @property
    def referenced(self) -> tuple[Row, Row]:
        """The sequences whose log p before the first step the loss compares with."""
        return self, self.rejected


@dataclass(frozen=True, kw_only=True)
class Opinion(Row):
    """A row whose answer is wanted or not; `mismatched` is its prompt with the answer to another one.

    `references` are the summed log p (nats) of the two answers under the model before the first step.
    """

    desirable: bool
    mismatched: Row
    references: tuple[float, float] = UNKNOWN

    @property
    def referenced(self) -> tuple[Row, Row]:
        """The sequences whose log p before the first step the loss compares with."""
        return self, self.mismatched


class RejectedAnswers(Callback):
    """Fault: Ludwig has the key `rejected_column` and never reads the column, so it is handed on here.

    `known` holds for a split the ids of each rejected answer, None where there is none, and whether there is a chosen
    one.
    """

    def __init__(self, known: dict[str, tuple[list[Ids | None], list[bool]]]) -> None:
        self.known = known

    def on_preprocess_end(self, training_set, validation_set, test_set, training_set_metadata) -> None:
        for name, dataset in (("train", training_set), ("validation", validation_set)):
            if dataset is None or name not in self.known:
                continue
            rejected, has_chosen = self.known[name]
            if len(rejected) != len(dataset):
                raise RuntimeError(f"Ludwig made {len(dataset)} of the {len(rejected)} {name} rows")
            setattr(dataset, HANDED_ON, (rejected, has_chosen))


def answers_of(dataset: Any, column: str) -> tuple[list[Ids | None], list[Ids | None]]:
    """The ids of the chosen and of the rejected answer of every row of a preprocessed split.

    Raises AffinageError where `RejectedAnswers` has not been there.
    """
    if not hasattr(dataset, HANDED_ON):
        found = "Ludwig alone does not hand rejected answers to a trainer, so this cannot train on them."
        raise AffinageError(Problem("trainer.rejected_column", found, remedy="Train with make train."))
    rejected, has_chosen = getattr(dataset, HANDED_ON)
    chosen = [ids if there else None for ids, there in zip(dataset.dataset[column], has_chosen, strict=True)]
    return chosen, rejected


def build(
    kind: str,
    prompts: Iterable[Ids],
    chosen: Iterable[Ids | None],
    rejected: Iterable[Ids | None],
    special: SpecialTokens,
    max_length: int,
) -> Rows:
    """Rows of pairs for the trainers "dpo" and "orpo", of opinions for "kto"; ids as `build_rows` takes them.

    A row loses what lies beyond `max_length`; it is skipped when that leaves no answer, or two answers that are the
    same. Opinions stand in the order of the rows, the wanted ones first.
    """
    if kind == "kto":
        return _opinions(list(zip(prompts, chosen, rejected, strict=True)), special, max_length)
    pairs, skipped, cut_rows, cut_tokens = list[Row](), list[int](), 0, 0
    for position, (prompt, good, bad) in enumerate(zip(prompts, chosen, rejected, strict=True)):
        assert good is not None and bad is not None, "rows without both answers are left out before"
        both = build_rows([prompt] * 2, [good, bad], special, max_length)
        cut_rows += both.cut_rows > 0
        cut_tokens += both.cut_answer_tokens
        if both.skipped or np.array_equal(both.rows[0].ids, both.rows[1].ids):
            skipped.append(position)
            continue
        first, second = both.rows
        pairs.append(Pair(first.ids, first.answer_start, rejected=second))
    return Rows(pairs, skipped, cut_rows, cut_tokens)


def _opinions(given: list[tuple[Ids, Ids | None, Ids | None]], special: SpecialTokens, max_length: int) -> Rows:
    said = [(i, prompt, good, True) for i, (prompt, good, _) in enumerate(given) if good is not None]
    said += [(i, prompt, bad, False) for i, (prompt, _, bad) in enumerate(given) if bad is not None]
    rows, wanted, skipped, cut_rows, cut_tokens = list[Row](), list[bool](), list[int](), 0, 0
    for position, prompt, answer, desirable in said:
        one = build_rows([prompt], [answer], special, max_length)
        cut_rows += one.cut_rows
        cut_tokens += one.cut_answer_tokens
        skipped += [position] if one.skipped else []
        rows += one.rows
        wanted += [desirable] * len(one.rows)
    opinions: list[Row] = [
        Opinion(row.ids, row.answer_start, desirable=desirable, mismatched=_mismatched(rows, at, max_length))
        for at, (row, desirable) in enumerate(zip(rows, wanted, strict=True))
    ]
    return Rows(opinions, skipped, cut_rows, cut_tokens)


def _mismatched(rows: list[Row], at: int, max_length: int) -> Row:
    """The prompt of a row with the answer of the nearest row before it (the last one before the first) that has
    another prompt; with the answer before it where all prompts are the same.
    """
    row = rows[at]
    prompt = row.ids[: row.answer_start]
    others = (rows[at - back] for back in range(1, len(rows)))
    other = next((o for o in others if not np.array_equal(o.ids[: o.answer_start], prompt)), rows[at - 1])
    return Row(np.concatenate([prompt, other.ids[other.answer_start :]])[:max_length], row.answer_start)
