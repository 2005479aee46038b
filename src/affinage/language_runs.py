"""What only runs of language models have: prompts, and answers in words of the base model and of the tuned one."""

from typing import TYPE_CHECKING, Any

import pandas as pd
from ludwig.callbacks import Callback
from tqdm import tqdm

from affinage import preference_columns
from affinage.before_after import before_after
from affinage.console import progress_bar_options
from affinage.ludwig_ext import seq2seq
from affinage.preference_scores import chosen_likelier
from affinage.token_lengths import encoded_beforehand

if TYPE_CHECKING:
    from affinage.training import Plan


def base_model(resolved: Any) -> str:
    """The folder or the id of what is fine-tuned."""
    return resolved.base_model


def refuse(resolved: Any) -> None:
    """Nothing here that its own config class lets through."""


def refuse_base(resolved: Any) -> None:
    """Raises AffinageError for a config that its base model cannot be trained with."""
    seq2seq.refuse(resolved)


def keep_useful(splits: dict[str, pd.DataFrame], resolved: Any) -> dict[str, int]:
    """Removes, in place, rows that nothing can be learnt from; returns how many; see `preference_columns`."""
    return preference_columns.keep_useful(splits, resolved)


def manifest_entries(ready: "Plan") -> dict[str, Any]:
    """What the manifest says besides what every run's says."""
    return {}


def callbacks(ready: "Plan") -> list[Callback]:
    """What helps Ludwig during its preprocessing."""
    return encoded_beforehand(ready.resolved, ready.splits)


def answered(ludwig: Any, ready: "Plan", rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One record per row with the answers of base and tuned model; see `before_after`."""
    with tqdm(total=2 * len(rows), desc="answering the test rows", unit="answer", **progress_bar_options()) as bar:
        return before_after(ludwig.model, ludwig.config_obj, rows, generation_batch(ready), bar.update)


def other_metrics(ludwig: Any, ready: "Plan", rows: pd.DataFrame) -> dict[str, Any]:
    """What else is measured on the test rows: for preferences, how often the chosen answer is the likelier one."""
    found = chosen_likelier(ludwig.model, ludwig.config_obj, rows, generation_batch(ready))
    return {"chosen_likelier": found} if found else {}


def generation_batch(ready: "Plan") -> int:
    """Rows answered at a time: what the config says for evaluation, but not fewer than for training."""
    trainer = ready.resolved.trainer
    sizes = [size for size in (trainer.eval_batch_size, trainer.batch_size) if isinstance(size, int)]
    return max(sizes, default=1)
