"""How a tokenizer cuts text into words before BPE, under the name that llama.cpp knows it by."""

import json
from pathlib import Path
from typing import Any

from affinage.errors import Problem
from affinage.paths import display

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BLOOM = (r" ?[^(\s|[.,!?…。，、।۔،])]+", r" ?[^(\s|.,!?…。，、।۔،)]+")  # the same set, written in two ways
REGEXES = {GPT2: "gpt-2", QWEN2: "qwen2"} | dict.fromkeys(BLOOM, "bloom")
KNOWN = ("gpt-2", "qwen2", "bloom", "smollm")


def pre_tokenizer_name(tokenizer_file: Path) -> str | Problem:
    """The name to write as tokenizer.ggml.pre, read off the sections of tokenizer.json, or why there is none.

    "" when there is nothing to name, because the tokenizer is no BPE over bytes: such a one the converter knows by
    its kind.
    """
    if not tokenizer_file.is_file():
        return ""
    tokenizer = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    model, steps = tokenizer["model"], _steps(tokenizer.get("pre_tokenizer"))
    if model.get("type", "BPE") != "BPE" or not steps or steps[-1]["type"] != "ByteLevel":
        return ""
    reason = _reason(tokenizer, model, steps)
    name = "" if reason else _name(steps)
    if name:
        return name
    return Problem(
        display(tokenizer_file),
        reason or f"cuts words by rules of its own, which llama.cpp does not have: {_shown(steps)}.",
        f"the rules of {', '.join(KNOWN)}",
        "Name the nearest with PRE_TOKENIZER= to convert all the same: then text may get other token ids than in "
        "training, which is measured.",
    )


def _steps(section: dict[str, Any] | None) -> list[dict[str, Any]]:
    if section is None:
        return []
    return section["pretokenizers"] if section["type"] == "Sequence" else [section]


def _reason(tokenizer: dict[str, Any], model: dict[str, Any], steps: list[dict[str, Any]]) -> str:
    """What llama.cpp does not do for any BPE of that kind; "" when nothing stands in the way."""
    if tokenizer.get("normalizer"):
        return f"changes text before it cuts it (normalizer {tokenizer['normalizer'].get('type')})."
    if model.get("ignore_merges") or model.get("byte_fallback"):
        return "has ignore_merges or byte_fallback in its BPE model."
    if any(step.get("add_prefix_space") for step in steps):
        return "puts a space before every text (add_prefix_space)."
    return ""


def _name(steps: list[dict[str, Any]]) -> str:
    last, before = steps[-1], steps[:-1]
    if not before:
        return "gpt-2" if last.get("use_regex", True) else ""
    if len(before) > 1:
        return ""
    (step,) = before
    if step["type"] == "Digits" and step.get("individual_digits") and last.get("use_regex", True):
        return "smollm"
    whole = step["type"] == "Split" and step.get("behavior") == "Isolated" and not step.get("invert")
    return REGEXES.get(step["pattern"].get("Regex", ""), "") if whole and not last.get("use_regex", True) else ""


def _shown(steps: list[dict[str, Any]]) -> str:
    return ", ".join(step.get("pattern", {}).get("Regex", step["type"]) for step in steps)
