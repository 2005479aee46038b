"""Answers of the base model and of the tuned one to the same test rows, and what they score."""

from collections.abc import Callable
from typing import Any

import pandas as pd
from peft import PeftModel

from affinage.generation import Answer, answer_all, is_encoder_decoder
from affinage.metrics import score
from affinage.prompts import encode, render

MAX_ROWS = 500
# These initialisations move part of the base weights into the adapter: without it, the base is not the base.
REWRITES_BASE = ("pissa", "olora")


def choose_rows(test: pd.DataFrame, limit: int = MAX_ROWS) -> pd.DataFrame:
    """The whole split up to `limit` rows; beyond, `limit` rows spread evenly over it."""
    if len(test) <= limit:
        return test
    return test.iloc[[i * len(test) // limit for i in range(limit)]].reset_index(drop=True)


def base_is_in(model: Any) -> bool:
    """Whether the base model can be had by switching the adapter off."""
    if not isinstance(model, PeftModel):
        return False
    return getattr(model.peft_config["default"], "init_lora_weights", None) not in REWRITES_BASE


def base_and_tuned[Found](llm: Any, measure: Callable[[Any], Found]) -> tuple[Found, Found]:
    """What `measure` finds of the base model and of the tuned one; `llm` is Ludwig's model after training."""
    tuned = measure(llm.model)
    if not base_is_in(llm.model):
        return measure(llm.load_base()), tuned
    with llm.model.disable_adapter():
        return measure(llm.model), tuned


def before_after(
    llm: Any, config: Any, test: pd.DataFrame, batch_size: int, progress: Callable[[int], Any] | None = None
) -> list[dict[str, Any]]:
    """One record per test row: prompt, reference, the two answers and why each stopped ("end" or "length").

    `llm` is Ludwig's model after training and `config` its resolved config. `progress` is told of 2 answers per row.
    """
    prompts = render(config, test)
    ids = encode(prompts, llm.tokenizer, is_encoder_decoder(llm.model))

    def answer(model: Any) -> list[Answer]:
        return answer_all(model, ids, llm.generation, llm.context_len, batch_size, progress)

    base, tuned = base_and_tuned(llm, answer)
    references = test[config.output_features[0].column].astype(str)
    decode = llm.tokenizer.decode
    return [
        {
            **_columns(row),
            "prompt": prompt,
            "reference": reference,
            "base": decode(before.ids, skip_special_tokens=True),
            "tuned": decode(after.ids, skip_special_tokens=True),
            "base_stop": before.stop,
            "tuned_stop": after.stop,
        }
        for row, prompt, reference, before, after in zip(
            test.to_dict("records"), prompts, references, base, tuned, strict=True
        )
    ]


def _columns(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("id", "label", "group", "instruction", "input") if key in row}


def scores(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Exact match, chrF and n of base and tuned answers, over all rows and for each label the rows carry.

    `cut` counts the answers that ran into the length limit instead of ending by themselves.
    """
    groups = {"all": records}
    for record in records:
        if "label" in record:
            groups.setdefault(str(record["label"]), []).append(record)
    return {name: {side: _score(group, side) for side in ("base", "tuned")} for name, group in groups.items()}


def _score(records: list[dict[str, Any]], side: str) -> dict[str, float | int]:
    result = score([record[side] for record in records], [record["reference"] for record in records])
    cut = sum(record[f"{side}_stop"] == "length" for record in records)
    return {"exact_match": result.exact_match, "chrf": result.chrf, "n": result.n, "cut": cut}
