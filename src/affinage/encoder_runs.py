"""What only runs of encoders have, Ludwig's `model_type: ecd`: texts that are read, labels that are answered."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
from ludwig.callbacks import Callback
from transformers import AutoConfig, AutoTokenizer

from affinage import data
from affinage.errors import AffinageError, Problem, raise_all
from affinage.ludwig_ext.config import unperformed
from affinage.ludwig_ext.encoders import POOLINGS
from affinage.model_types import ECD

if TYPE_CHECKING:
    from affinage.training import Plan

ENCODERS = {"auto_transformer": POOLINGS, "bert": ("cls_pooled",)}  # and how each may make one vector of a text
# Settings that Ludwig's trainer for encoders drops, or that a stopped run could not go on with.
UNPERFORMED_TRAINER_KEYS = (
    "bucketing_field",
    "compile",
    "contrastive_pretrain_epochs",
    "enable_gradient_checkpointing",
    "enable_profiling",
    "increase_batch_size_on_plateau",
    "loss_balancing",
    "modality_dropout",
    "model_soup",
    "skip_all_evaluation",
)


def base_model(resolved: Any) -> str:
    """The folder or the id of what is fine-tuned."""
    return resolved.input_features[0].encoder.pretrained_model_name_or_path


def refuse(resolved: Any) -> None:
    """Raises one AffinageError for everything that Ludwig would accept and get wrong, or drop without a word."""
    raise_all([*_feature_problems(resolved), *_trainer_problems(resolved.trainer)])


def _feature_problems(resolved: Any) -> Iterator[Problem]:
    features = (resolved.input_features, resolved.output_features)
    for section, found, wanted in zip(
        ("input_features", "output_features"), features, ("text", "category"), strict=True
    ):
        if [feature.type for feature in found] != [wanted]:
            kinds = ", ".join(feature.type for feature in found)
            yield Problem(
                section, f"{kinds}: runs of encoders read one text and answer one label.", f"one of type {wanted}"
            )
            return
    encoder, where = resolved.input_features[0].encoder, "input_features.0.encoder"
    if encoder.type not in ENCODERS:
        remedy = "auto_transformer takes every encoder of the Hub by its name."
        yield Problem(f"{where}.type", f"'{encoder.type}' is none that is trained here.", ", ".join(ENCODERS), remedy)
        return
    if encoder.reduce_output not in ENCODERS[encoder.type]:
        found = f"'{encoder.reduce_output}' would count padding as part of the text."
        allowed = ", ".join(ENCODERS[encoder.type])
        yield Problem(f"{where}.reduce_output", found, allowed, "Or take the type auto_transformer.")
    if encoder.type == "bert" and not encoder.use_pretrained:
        yield Problem(f"{where}.use_pretrained", "false trains an encoder from nothing.", "true", "Remove the key.")


def _trainer_problems(trainer: Any) -> Iterator[Problem]:
    yield from unperformed(trainer, UNPERFORMED_TRAINER_KEYS, "has no place in runs of encoders.")
    if trainer.validation_metric != "loss":
        found = f"'{trainer.validation_metric}' would choose the weights to keep, Ludwig's default for labels."
        yield Problem("trainer.validation_metric", found, "loss", "Write 'validation_metric: loss'.")
    if not isinstance(trainer.batch_size, int):
        yield Problem(
            "trainer.batch_size", f"'{trainer.batch_size}' is not looked for with encoders.", "a whole number"
        )
    if trainer.gradient_accumulation_steps not in (1, "auto") or trainer.effective_batch_size != "auto":
        found = "Ludwig's trainer for encoders would count every micro-batch as a step."
        yield Problem("trainer.gradient_accumulation_steps", found, "1", "Raise trainer.batch_size instead.")
    if not isinstance(trainer.learning_rate, float):
        yield Problem(
            "trainer.learning_rate", f"'{trainer.learning_rate}' is not looked for with encoders.", "a number"
        )


def refuse_base(resolved: Any) -> None:
    """Raises AffinageError for an encoder whose padding cannot be told from its text."""
    name = base_model(resolved)
    pads, masked = AutoTokenizer.from_pretrained(name).pad_token_id, AutoConfig.from_pretrained(name).pad_token_id
    if pads is None or pads != masked:
        found = f"'{name}' pads texts with id {pads}, and its config.json says {masked}."
        where = "input_features.0.encoder.pretrained_model_name_or_path"
        raise AffinageError(Problem(where, found, remedy="Mend config.json, or name another encoder."))


def keep_useful(splits: dict[str, pd.DataFrame], resolved: Any) -> dict[str, int]:
    """Removes, in place, rows without a label; returns how many per split.

    Raises AffinageError for a column that is missing, and for a label that no training row has.
    """
    source, target = (features[0].column for features in (resolved.input_features, resolved.output_features))
    data.check_columns(splits, [source, target])
    dropped = data.drop_rows_without_answer(splits, target)
    known = sorted(set(splits["train"][target].astype(str).str.strip())) if "train" in splits else []
    unknown = {name: sorted(set(rows[target].astype(str).str.strip()) - set(known)) for name, rows in splits.items()}
    raise_all(
        Problem(f"the {name} split", f"labels that no training row has: {', '.join(labels[:5])}.", ", ".join(known))
        for name, labels in unknown.items()
        if labels
    )
    return dropped


def most_frequent(labels: Iterable[str]) -> tuple[str, int]:
    """The most frequent label, of equals the first in the alphabet, and how often it occurs."""
    return min(Counter(labels).items(), key=lambda item: (-item[1], item[0]))


def manifest_entries(ready: "Plan") -> dict[str, Any]:
    """What the manifest says besides what every run's says: the kind of model, and what stands for its base.

    A pretrained encoder answers nothing before its head is trained. The baseline is the label that is most frequent
    among the training rows.
    """
    labels = ready.splits["train"][ready.resolved.output_features[0].column].astype(str)
    label, n = most_frequent(labels)
    return {"model_type": ECD, "baseline": {"label": label, "rows": n, "of": len(labels)}}


class _CutRows(Callback):
    """Tells the trainer how many of its texts are cut, which Ludwig does while it encodes them."""

    def __init__(self, n: int) -> None:
        self.n = n

    def on_trainer_train_setup(self, trainer, save_path, is_coordinator, **kwargs):
        trainer.cut_rows = self.n


def callbacks(ready: "Plan") -> list[Callback]:
    """What tells the trainer what Ludwig's preprocessing did."""
    from affinage.encoder_preview import split_tokens

    return [_CutRows(split_tokens(ready.resolved, ready.splits["train"]).cut)]


def answered(ludwig: Any, ready: "Plan", rows: pd.DataFrame) -> list[dict[str, Any]]:
    """One record per row: the text, the reference, the most frequent training label as base, the label answered."""
    baseline = manifest_entries(ready)["baseline"]["label"]
    return list(label_records(ludwig, rows, baseline, ready.resolved.trainer.batch_size))


def other_metrics(ludwig: Any, ready: "Plan", rows: pd.DataFrame) -> dict[str, Any]:
    """What else is measured on the test rows: nothing."""
    return {}


def label_records(ludwig: Any, rows: pd.DataFrame, baseline: str, batch_size: int) -> Iterator[dict[str, Any]]:
    """The records of `answered`, each with the probability that the model gives its own label (0 to 1)."""
    source, target = (features[0] for features in (ludwig.config_obj.input_features, ludwig.config_obj.output_features))
    found, _ = ludwig.predict(dataset=rows[[source.column]], batch_size=batch_size)
    if len(found) != len(rows):
        raise RuntimeError(f"{len(found)} labels for {len(rows)} rows")
    answers = zip(found[f"{target.name}_predictions"], found[f"{target.name}_probability"], strict=True)
    for row, (label, probability) in zip(rows.to_dict("records"), answers, strict=True):
        yield {
            **{key: row[key] for key in ("id", "label", "group", "instruction", "input") if key in row},
            "prompt": str(row[source.column]),
            "reference": str(row[target.column]),
            "base": baseline,
            "tuned": str(label),
            "tuned_probability": float(probability),
            "base_stop": "end",
            "tuned_stop": "end",
        }
