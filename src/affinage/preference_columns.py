"""The columns that training on preferences reads: prompt, chosen answer (the output) and rejected answer."""

from typing import Any

import pandas as pd

from affinage import data
from affinage.data import SPLITS
from affinage.ludwig_ext.config import PREFERENCE_TRAINERS
from affinage.prompts import prompt_columns

NO_REJECTED, SAME, NEITHER = "no rejected answer", "both answers are the same", "neither answer"


def rejected_column(resolved: Any) -> str | None:
    """The column of rejected answers that a resolved Ludwig config reads; None where it learns from no preferences."""
    return resolved.trainer.rejected_column if resolved.trainer.type in PREFERENCE_TRAINERS else None


def stripped(rows: pd.DataFrame, column: str) -> pd.Series:
    """The texts of a column without outer white space; a missing one is empty."""
    return rows[column].where(rows[column].notna(), "").astype(str).str.strip()


def keep_useful(splits: dict[str, pd.DataFrame], resolved: Any) -> dict[str, int]:
    """Removes, in place, rows that nothing can be learnt from; returns how many, by split (and reason).

    Raises AffinageError for a column that prompt or answers need and a split lacks.
    """
    answer, rejected = resolved.output_features[0].column, rejected_column(resolved)
    data.check_columns(splits, [*prompt_columns(resolved), answer])
    if rejected is None:
        return data.drop_rows_without_answer(splits, answer)
    data.check_columns({name: rows for name, rows in splits.items() if name != "test"}, [rejected])
    return _drop_useless(splits, resolved)


def _drop_useless(splits: dict[str, pd.DataFrame], resolved: Any) -> dict[str, int]:
    """What `keep_useful` does for preferences.

    The keys are those of `data.drop_rows_without_answer` and, beside a split's name, the reason. With KTO a row needs
    one of the two answers, elsewhere both; two equal answers say nothing. The test split is not trained on: it needs a
    chosen answer, to be compared with.
    """
    answer, rejected = resolved.output_features[0].column, resolved.trainer.rejected_column
    dropped = dict.fromkeys((name for name in SPLITS if name in splits), 0)
    for name, rows in list(splits.items()):
        missing = pd.Series("", index=rows.index, dtype=object)
        good, bad = stripped(rows, answer), stripped(rows, rejected) if rejected in rows else missing
        useless = {"": good == ""}
        if name != "test" and resolved.trainer.type == "kto":
            useless = {NEITHER: (good == "") & (bad == ""), SAME: (good == bad) & (good != "")}
        elif name != "test":
            useless |= {NO_REJECTED: (good != "") & (bad == ""), SAME: (good != "") & (good == bad)}
        dropped |= {
            f"{name}: {why}" if why else name: int(which.sum()) for why, which in useless.items() if which.any()
        }
        splits[name] = rows[~pd.concat(useless, axis=1).any(axis=1)].reset_index(drop=True)
    return dropped
