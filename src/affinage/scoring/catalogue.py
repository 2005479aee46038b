"""Every metric by name: which direction is better and between which values it lies."""

from typing import Literal, get_args

TextMetric = Literal[
    "exact_match",
    "token_f1",
    "rouge1",
    "rouge2",
    "rougeL",
    "chrf",
    "bleu",
    "length_ratio",
    "empty_rate",
    "limit_rate",
    "repetition_rate",
    "distinct_2",
    "perplexity",
    "bits_per_byte",
]
TEXT_METRICS: tuple[str, ...] = get_args(TextMetric)
# These come with the section of the suite that they need.
SECTION_METRICS = {
    "classification": ("accuracy", "macro_f1", "unparsed_rate"),
    "extraction": ("json_valid", "field_f1"),
    "bert_score": ("bert_score",),
}
ALL_METRICS = TEXT_METRICS + tuple(name for names in SECTION_METRICS.values() for name in names)

_LOWER = ("empty_rate", "limit_rate", "repetition_rate", "perplexity", "bits_per_byte", "unparsed_rate")
_NEITHER = ("length_ratio", "distinct_2")  # best near what the references have
HIGHER_IS_BETTER: dict[str, bool | None] = {
    name: None if name in _NEITHER else name not in _LOWER for name in ALL_METRICS
}

_UNBOUNDED = ("chrf", "bleu", "length_ratio", "perplexity", "bits_per_byte", "bert_score")
IN_0_1 = frozenset(name for name in ALL_METRICS if name not in _UNBOUNDED)
# Means over rows of values from 0 to 1, so an exact binomial bound holds where every row has 0 or every row has 1.
MEANS_IN_0_1 = IN_0_1 - {"distinct_2", "macro_f1", "field_f1"}
