"""BERTScore (Zhang et al. 2020) by torchmetrics: cosine similarity of an encoder's states; higher is better."""

from collections.abc import Sequence
from typing import Any

from affinage.errors import AffinageError, Problem
from affinage.scoring.measures import Measure, mean_of
from affinage.scoring.suite import BertScore

EMPTY = "."  # stands for an empty text, which torchmetrics cannot compare


def bert_score(answers: Sequence[str], references: Sequence[str], options: BertScore) -> tuple[Measure, dict[str, Any]]:
    """The mean BERTScore F1, about 0..1 but never rescaled, and the settings that stand beside it.

    Raises AffinageError when the encoder cannot be loaded.
    """
    from torchmetrics.functional.text.bert import bert_score as score

    _check_encoder(options)
    scores = score(
        [_filled(text) for text in answers],
        [_filled(text) for text in references],
        model_name_or_path=options.model,
        num_layers=options.num_layers,
        max_length=options.max_length,
        batch_size=options.batch_size,
        truncation=True,
    )
    replaced = sum(not text.strip() for text in answers)
    return mean_of(_listed(scores["f1"])), options.model_dump() | {"measure": "F1", "empty_answers_replaced": replaced}


def _listed(values: Any) -> list[float]:
    """torchmetrics gives a number for one row and a list or a tensor for several."""
    values = values.tolist() if hasattr(values, "tolist") else values
    return values if isinstance(values, list) else [values]


def _check_encoder(options: BertScore) -> None:
    from transformers import AutoConfig, AutoTokenizer

    allowed = "a folder with an encoder, or the id of one on the Hugging Face Hub"
    try:
        config = AutoConfig.from_pretrained(options.model)
        AutoTokenizer.from_pretrained(options.model)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise AffinageError(Problem("bert_score.model", f"'{options.model}': {reason}", allowed)) from error
    if (options.num_layers or 0) > config.num_hidden_layers:
        found = f"'{options.model}' has {config.num_hidden_layers} layers."
        raise AffinageError(Problem("bert_score.num_layers", found, f"1 to {config.num_hidden_layers}"))


def _filled(text: str) -> str:
    return text if text.strip() else EMPTY
