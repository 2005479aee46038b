"""summary.json as tables for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

Summary = Mapping[str, Any]


def controls_table(summary: Summary) -> Table:
    """One line per control item: what was expected, what the judge said, and whether it passed."""
    table = _table("Controls: answers of which everybody knows what they are worth", "control", "expected", "said", "")
    for control in summary["controls"]:
        said = control["said"] if control["status"] == "ok" else control["status"]
        shown = " / ".join(map(str, said)) if isinstance(said, list) else str(said)
        mark = "[green]passed[/]" if control["passed"] else "[bold red]FAILED[/]"
        table.add_row(control["kind"], control["expected"], shown, mark)
    return table


def systems_table(summary: Summary) -> Table:
    """One line per system: mean with its interval, spread, coverage, and the mean if failures were 0 or 100."""
    confidence = summary["settings"]["confidence"]
    title = f"Scores from 0 to 100; in brackets the {confidence:.0%} interval"
    headings = ("n", "mean", "median", "SD", "coverage", "failures at 0 / 100", "score ~ length")
    table = _table(title, "system", *headings)
    for system, entry in summary["systems"].items():
        bounds = f"{_number(entry['failures_at_0'])} / {_number(entry['failures_at_100'])}"
        rho = _number(summary["verbosity"]["spearman"].get(system), 2, sign=True)
        numbers = (_number(entry["median"]), _number(entry["standard_deviation"]))
        cells = (str(entry["items"]), _interval(entry["mean"]), *numbers, f"{entry['coverage']:.1%}", bounds, rho)
        table.add_row(system, *cells)
    return table


def criteria_table(summary: Summary) -> Table:
    """One line per criterion: its weight and each system's mean level."""
    systems = {name: entry.get("criteria", {}) for name, entry in summary["systems"].items()}
    table = _table("Criteria, levels from 1 to 5", "criterion", "weight", *systems)
    for criterion, weight in summary["weights"].items():
        levels = [_number(levels.get(criterion), 2) for levels in systems.values()]
        table.add_row(escape(criterion), f"{weight:g}", *levels)
    return table


def differences_table(summary: Summary) -> Table:
    """One line per pair of systems, on the rows where both have a score."""
    headings = ("n", "difference", "better", "worse", "equal", "win rate", "p")
    table = _table("Differences on the same rows; ties count half in the win rate", "systems", *headings)
    for pair, entry in summary["differences"].items():
        counts = [str(entry.get(key, "-")) for key in ("better", "worse", "equal")]
        cells = (_interval(entry, sign=True), *counts, _percent(entry["win_rate"]), _p(entry["p"]))
        table.add_row(pair, str(entry["n"]), *cells)
    return table


def duels_table(summary: Summary) -> Table:
    """What came of the duels, one fact per line."""
    duels = summary["pairwise"]
    wins, rate = duels["wins"], duels["win_rate"]
    interval = "" if rate["low"] is None else f" ({rate['low']:.1%} to {rate['high']:.1%})"
    ties = f"{duels['ties']} ({duels['inconsistent']} inconsistent, {duels['ties_by_rule']} with the same answer)"
    table = _table("Duels: a win counts only when both orders agree", "", "value")
    for name, value in (
        ("rows decided", f"{duels['decided']} of {duels['rows']} ({duels['coverage']:.1%})"),
        *((f"{system} wins", str(n)) for system, n in wins.items()),
        ("ties", ties),
        ("win rate of tuned, ties half", f"{_percent(rate['value'])}{interval}"),
        ("p (sign test)", _p(duels["p"])),
        ("same verdict in both orders", _percent(duels["consistency_rate"])),
        ("first-position rate (0.5 is fair)", _number(duels["first_position_rate"], 2)),
        ("the longer answer wins", _percent(duels["longer_wins_rate"])),
    ):
        table.add_row(name, value)
    return table


def panel_table(panel: Summary) -> Table:
    """One line per system, then one per pair of systems: the mean of the judges' scores."""
    table = _table(f"{len(panel['judges'])} judges, coverage {panel['coverage']:.1%}", "", "n", "mean score")
    for system, entry in panel["systems"].items():
        table.add_row(system, str(entry["ok"]), _interval(entry["mean"]))
    for pair, entry in panel["differences"].items():
        table.add_row(pair, str(entry["n"]), _interval(entry, sign=True))
    return table


def agreement_table(panel: Summary) -> Table:
    """One line per two judges."""
    table = _table("Agreement", "judges", "n", "Spearman", "second - first", "mean distance")
    for entry in panel["agreement"]:
        numbers = (_number(entry["spearman"], 2), _number(entry["bias"], sign=True), _number(entry["mean_distance"]))
        table.add_row(escape(" and ".join(entry["judges"])), str(entry["n"]), *numbers)
    return table


def failures(statuses: Mapping[str, int]) -> str:
    """The statuses that are no verdict, as "length 2, timeout 1"; empty when there is none."""
    return ", ".join(f"{status} {n}" for status, n in sorted(statuses.items()) if status != "ok")


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", header_style="bold", box=None)
    table.add_column(first, min_width=8)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _number(value: float | None, digits: int = 1, sign: bool = False) -> str:
    return "-" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _interval(entry: Mapping[str, Any], sign: bool = False) -> str:
    value = _number(entry["value"], sign=sign)
    if entry["low"] is None:
        return value
    return f"{value} ({_number(entry['low'], sign=sign)} to {_number(entry['high'], sign=sign)})"


def _p(p: float | None) -> str:
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
