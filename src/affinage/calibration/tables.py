"""calibration.json as tables for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

Content = Mapping[str, Any]
MARKS = {"passes": "[green]passes[/]", "unsure": "[yellow]unsure[/]", "fails": "[bold red]fails[/]"}


def figures_table(content: Content) -> Table:
    """The judge against people, one figure per line, with its interval and what is asked of it."""
    whole, asked, confidence = content["judge_people"], content["thresholds"], content["settings"]["confidence"]
    table = _table(f"The judge and people, n = {whole['n']}; in brackets the {confidence:.0%} interval", "figure")
    for heading in ("value", "asked of the interval", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    grades = {name: MARKS[grade] for name, grade in content["grades"].items()}
    least = {name: f"{asked[name]:g} or more" for name in ("spearman", "weighted_kappa")}
    table.add_row("Spearman", _interval(whole["spearman"]), least["spearman"], grades["spearman"])
    table.add_row("Kendall tau-b", _number(whole["kendall"]))
    table.add_row("kappa, five bins", _number(whole["kappa"]))
    kappa = _interval(whole["weighted_kappa"])
    table.add_row("quadratic weighted kappa", kappa, least["weighted_kappa"], grades["weighted_kappa"])
    bias = _interval(whole["bias"], digits=1, sign=True)
    table.add_row("bias, judge - people", bias, f"within ±{asked['bias']:g}", grades["bias"])
    table.add_row("mean distance", _number(whole["mean_distance"], 1))
    return table


def counts_table(content: Content) -> Table:
    """How many answers people put in one bin and the judge in another; agreement is on the diagonal."""
    table = _table("Answers by score: people down, the judge across", "people \\ judge")
    for label in content["bins"]:
        table.add_column(label, justify="right")
    counts = list(zip(*content["judge_people"]["table"], strict=True))
    for place, (label, row) in enumerate(zip(content["bins"], counts, strict=True)):
        shown = [str(n or "·") for n in row]
        shown[place] = f"[bold]{shown[place]}[/]"
        table.add_row(label, *shown)
    return table


def pairs_table(content: Content) -> Table:
    """One line per two raters, on the answers that both scored."""
    table = _table("Two by two, on the answers that both scored", "raters")
    for heading in ("n", "Spearman", "Kendall", "kappa", "weighted kappa", "first - second", "mean distance"):
        table.add_column(heading, justify="right", no_wrap=True)
    for pair in content["pairs"]:
        values = (pair["spearman"]["value"], pair["kendall"], pair["kappa"], pair["weighted_kappa"]["value"])
        points = (_number(pair["bias"]["value"], 1, sign=True), _number(pair["mean_distance"], 1))
        table.add_row(escape(" and ".join(pair["raters"])), str(pair["n"]), *map(_number, values), *points)
    return table


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", header_style="bold", box=None)
    table.add_column(first)
    return table


def _number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    return "-" if value is None else f"{round(value, digits) + 0.0:{'+' if sign else ''}.{digits}f}"  # no -0.0


def _interval(entry: Mapping[str, float | None], digits: int = 2, sign: bool = False) -> str:
    value = _number(entry["value"], digits, sign)
    if entry["low"] is None:
        return value
    return f"{value} ({_number(entry['low'], digits, sign)} to {_number(entry['high'], digits, sign)})"
