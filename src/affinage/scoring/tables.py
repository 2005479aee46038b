"""metrics.json as tables for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from affinage.scoring.catalogue import HIGHER_IS_BETTER
from affinage.scoring.statistics import is_significant

NAMES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "chrf": "chrF", "bleu": "BLEU"}
NAMES |= {"token_f1": "token F1", "macro_f1": "macro-F1", "field_f1": "field F1", "bert_score": "BERTScore"}
NAMES |= {"distinct_2": "distinct-2", "json_valid": "valid JSON"}
ARROWS = {True: "↑", False: "↓", None: ""}
MAIN = ("accuracy", "field_f1", "exact_match", "chrf", "token_f1", "rougeL")  # the first two stand in the label table


def name_of(metric: str) -> str:
    """A metric as people write it."""
    return NAMES.get(metric, metric.replace("_", " "))


def shown(metric: str, value: float | None, sign: bool = False) -> str:
    """A value with the digits that its scale deserves; a dash for none."""
    if value is None:
        return "-"
    digits = 1 if metric in ("chrf", "bleu") else 2 if metric == "perplexity" else 3
    return f"{value:{'+' if sign else ''}.{digits}f}"


def systems_table(metrics: Mapping[str, Any]) -> Table:
    """One line per metric: the value of each system with its interval."""
    settings, systems = metrics["settings"], metrics["systems"]
    of = metrics["rows_in_split"]
    rows = f"{metrics['n']} rows" + (f" of {of}" if of not in (None, metrics["n"]) else "")
    title = f"{metrics['split'].capitalize()} split: {rows}, suite {metrics['suite']}; "
    title += f"in brackets the {settings['confidence']:.0%} interval ({settings['resampled']} resampled)"
    table = _table(title, "metric", *systems)
    for metric in dict.fromkeys(name for entries in systems.values() for name in entries):
        cells = [_with_interval(metric, entries.get(metric)) for entries in systems.values()]
        table.add_row(f"{name_of(metric)} {ARROWS[HIGHER_IS_BETTER[metric]]}".strip(), *cells)
    return table


def differences_table(metrics: Mapping[str, Any]) -> Table:
    """One line per pair of systems and metric: the difference, on how many rows it is one, and the sign test."""
    title = "Differences on the same rows; * the interval leaves out 0 and the sign test agrees"
    table = _table(title, "metric", "systems", "difference", "better", "worse", "equal", "p")
    for at, (pair, entries) in enumerate(metrics["differences"].items()):
        if at:
            table.add_row()
        for metric, entry in entries.items():
            star = " *" if is_significant(entry, metrics["settings"]["confidence"]) else "  "
            counts = ["-" if entry[key] is None else str(entry[key]) for key in ("better", "worse", "equal")]
            table.add_row(
                name_of(metric), pair, _with_interval(metric, entry, sign=True) + star, *counts, _p(entry["p"])
            )
    return table


def labels_table(metrics: Mapping[str, Any]) -> Table:
    """One line per label: n and the two main metrics of each system."""
    systems = metrics["systems"]
    main = [name for name in MAIN if all(name in entries for entries in systems.values())][:2]
    headings = [f"{name_of(metric)}\n{system}" for metric in main for system in systems]
    table = _table("By label", "label", "n", *headings)
    for label, part in metrics["by_label"].items():
        values = (part["systems"][system].get(metric) for metric in main for system in systems)
        metric_of = (metric for metric in main for _ in systems)
        cells = [shown(metric, entry and entry["value"]) for metric, entry in zip(metric_of, values, strict=True)]
        table.add_row(escape(label), str(part["n"]), *cells)
    return table


def confusion_table(metrics: Mapping[str, Any]) -> Table:
    """Counts of the last system's answers (columns) to references of each label (lines)."""
    *_, system = metrics["systems"]
    labels, counts = [escape(label) for label in metrics["confusion"]["labels"]], metrics["confusion"][system]
    table = _table(f"What {system} answered, by the label of the reference", "reference", *labels)
    for label, line in zip(labels[:-1], counts, strict=False):
        table.add_row(label, *map(str, line))
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", header_style="bold", box=None)
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="left" if heading == "systems" else "right", no_wrap=True)
    return table


def _with_interval(metric: str, entry: Mapping[str, Any] | None, sign: bool = False) -> str:
    if entry is None:
        return "-"
    value = shown(metric, entry["value"], sign)
    if entry["low"] is None:
        return f"{value} (no interval)"
    low, high = (shown(metric, entry[end], sign) for end in ("low", "high"))
    return f"{value} ({low} to {high})"


def _p(p: float | None) -> str:
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
