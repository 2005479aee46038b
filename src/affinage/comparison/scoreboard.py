"""The scores of all runs as lines and columns, for the terminal and the page."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from affinage.comparison.gather import Entry
from affinage.comparison.significance import PairedTests
from affinage.comparison.systems import System
from affinage.scoring import ALL_METRICS, IN_0_1
from affinage.scoring.tables import name_of, shown

# What a reader wants to see first; the metrics that are not named here follow in the order of the suite.
FIRST = ("accuracy", "macro_f1", "field_f1", "json_valid", "exact_match", "chrf", "rougeL", "perplexity", "token_f1")
ON_SCREEN = 3  # metrics on a terminal of 120 columns


class Cell(NamedTuple):
    """One score with its interval (None where there is none); `best`: significantly better than the second best."""

    metric: str
    value: float
    low: float | None
    high: float | None
    best: bool = False

    @property
    def text(self) -> str:
        return shown(self.metric, self.value)

    @property
    def interval(self) -> str:
        """Both ends of the interval, or "" without one."""
        if self.low is None or self.high is None:
            return ""
        return f"{shown(self.metric, self.low)} to {shown(self.metric, self.high)}"

    @property
    def top(self) -> float:
        """The upper end of the metric's scale; 0 for a metric without one."""
        return 1.0 if self.metric in IN_0_1 else 100.0 if self.metric in ("chrf", "bleu") else 0.0


class Line(NamedTuple):
    """One base model or one run: `key` is its letter or word, `n` the rows it answered, 0 for none."""

    key: str
    name: str
    status: str
    n: int
    cells: dict[str, Cell]


class Scoreboard(NamedTuple):
    """The metrics that some line has, the most telling first, and one line per base model and per run."""

    metrics: list[str]
    lines: list[Line]


class PartLine(NamedTuple):
    """One label or group: how many rows it has, and the score of each system on them by its key."""

    name: str
    n: int
    cells: dict[str, Cell]


class Division(NamedTuple):
    """The rows divided by label or by group; `of` is that word."""

    of: str
    lines: list[PartLine]


def scoreboard(entries: Sequence[Entry], systems: Sequence[System], tests: PairedTests) -> Scoreboard:
    """Every score of every system; a run that answered nothing keeps its line."""
    present = {metric for system in systems for metric in system.metrics}
    metrics = [metric for metric in dict.fromkeys((*FIRST, *ALL_METRICS)) if metric in present]
    best = {metric: tests.best(metric) for metric in metrics}
    by_key = {system.key: _line(system, best) for system in systems}
    shared = [by_key[system.key] for system in systems if system.kind != "tuned"]
    runs = [by_key.get(entry.letter, Line(entry.letter, entry.name, "", 0, {})) for entry in entries]
    named = [line._replace(status=entry.run.status) for line, entry in zip(runs, entries, strict=True)]
    return Scoreboard(metrics, [*shared, *named])


def _line(system: System, best: dict[str, System | None]) -> Line:
    cells = {name: _cell(name, entry, best[name] is system) for name, entry in system.metrics.items()}
    return Line(system.key, system.name, "", len(system.answers.rows), cells)


def _cell(metric: str, entry: dict[str, Any], best: bool = False) -> Cell:
    return Cell(metric, entry["value"], entry.get("low"), entry.get("high"), best)


def divisions(systems: Sequence[System], metric: str) -> list[Division]:
    """The score of each system on the rows of each label and of each group; [] when no run was scored by either."""
    found = [Division(of, _part_lines(systems, f"by_{of}", metric)) for of in ("label", "group")]
    return [division for division in found if division.lines]


def _part_lines(systems: Sequence[System], table: str, metric: str) -> list[PartLine]:
    found: dict[str, PartLine] = {}
    for system in systems:
        for name, part in system.answers.metrics.get(table, {}).items():
            line = found.setdefault(name, PartLine(name, part["n"], {}))
            entry = part["systems"].get(system.kind, {}).get(metric)
            if entry:
                line.cells[system.key] = _cell(metric, entry)
    return list(found.values())


def scores_table(board: Scoreboard) -> Table:
    """The first metrics with their intervals for the terminal; the page has them all."""
    metrics = board.metrics[:ON_SCREEN]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("run", no_wrap=True, overflow="ellipsis", max_width=34)
    table.add_column("rows", justify="right", no_wrap=True)
    for metric in metrics:
        table.add_column(name_of(metric), justify="right", no_wrap=True)
    for line in board.lines:
        name = line.name if line.status in ("", "finished") else f"{line.name} ({line.status})"
        rows = f"{line.n:,}" if line.n else "-"
        table.add_row(line.key, Text(name), rows, *(_on_screen(line.cells.get(metric)) for metric in metrics))
    return table


def _on_screen(cell: Cell | None) -> Text:
    if cell is None:
        return Text("-")
    value = Text(f"★ {cell.text}", "bold green") if cell.best else Text(cell.text)
    return value.append(f" ({cell.interval.replace(' to ', '–')})", "not bold dim") if cell.interval else value
