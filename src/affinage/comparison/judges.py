"""The judges of a comparison: for each a column of the table, a line of facts about each run, and its verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from affinage.comparison.answers import RowKey
from affinage.comparison.gather import Entry
from affinage.comparison.judged import Judged, Said, judged_of
from affinage.comparison.systems import System
from affinage.judging.summary import difference
from affinage.scoring import is_significant

TITLES = {"pairwise": "win rate", "rubric": "criteria", "score": "score"}


class Mark(NamedTuple):
    """A judge's mean of 0 to 100 for one system, or its win rate of 0 to 1 against base, with the interval.

    `best`: significantly better than the second best, by a judge that nothing speaks against.
    """

    value: float
    low: float | None
    high: float | None
    top: float
    best: bool = False

    @property
    def text(self) -> str:
        return self._shown(self.value)

    @property
    def interval(self) -> str:
        """Both ends of the interval, or "" without one."""
        if self.low is None or self.high is None:
            return ""
        return f"{self._shown(self.low)} to {self._shown(self.high)}"

    def _shown(self, value: float) -> str:
        return f"{value:.1%}" if self.top == 1 else f"{value:.1f}"


class Facts(NamedTuple):
    """How far one judge can be trusted on one run, as a reader sees it."""

    letter: str
    rows: str
    coverage: str
    controls: str
    stable: str
    difference: str


@dataclass
class JudgeColumn:
    """One judge in one mode: its marks and verdicts by the key of the system, and the facts about each run."""

    judge: str
    mode: str
    demo: bool
    title: str = ""
    marks: dict[str, Mark] = field(default_factory=dict)
    said: dict[str, dict[RowKey, Said]] = field(default_factory=dict)
    facts: list[Facts] = field(default_factory=list)
    trusted: bool = True


def judges_of(entries: Sequence[Entry], systems: Sequence[System]) -> tuple[list[JudgeColumn], list[tuple[str, str]]]:
    """A column for each judge, and notes with the letter of the run each is about.

    Two runs share a column only when the same weights judged both by the same rubric and options. A base model that
    runs share has the marks of the first of them that the judge was asked about.
    """
    columns, notes = dict[str, JudgeColumn](), list[tuple[str, str]]()
    warned: dict[tuple[str, str, str], list[str]] = {}  # the modes, by run, judge and warning
    for entry in entries:
        judged, outdated = judged_of(entry.answers) if entry.answers else ([], [])
        notes += [(entry.letter, note) for note in outdated]
        for one in judged:
            new = JudgeColumn(one.judge, one.summary["mode"], one.summary["demo"])
            column = columns.setdefault(one.identity, new)
            _add(column, entry, one, systems)
            for word in one.summary.get("warnings", [])[: 1 if one.summary["demo"] else None]:
                warned.setdefault((entry.letter, one.judge, word), []).append(one.summary["mode"])
    notes += [(letter, f"Judge {name} ({', '.join(modes)}): {word}") for (letter, name, word), modes in warned.items()]
    found = sorted(columns.values(), key=lambda column: column.demo)
    for column in found:
        _mark_best(column, systems)
    _name(found)
    return found, notes


def _add(column: JudgeColumn, entry: Entry, one: Judged, systems: Sequence[System]) -> None:
    summary = one.summary
    controls = summary.get("controls", [])
    covered = summary["coverage"] >= summary.get("min_coverage", 0)
    column.trusted &= not summary["demo"] and covered and all(control["passed"] for control in controls)
    for system in systems:
        if entry.letter not in system.letters or system.key in column.marks:
            continue
        if mark := _mark(summary, system.kind):
            column.marks[system.key] = mark
        if said := {row: what for (row, kind), what in one.said.items() if kind == system.kind}:
            column.said[system.key] = said
    column.facts.append(_facts(entry.letter, summary))


def _mark(summary: Mapping[str, Any], kind: str) -> Mark | None:
    pairwise = "pairwise" in summary
    if pairwise:
        found = summary["pairwise"]["win_rate"] if kind == "tuned" else {"value": None}
    else:
        found = summary["systems"].get(kind, {}).get("mean", {"value": None})
    return None if found["value"] is None else Mark(**found, top=1.0 if pairwise else 100.0)


def _facts(letter: str, summary: Mapping[str, Any]) -> Facts:
    controls, stability = summary.get("controls", []), summary.get("stability", {})
    failed = [control["kind"] for control in controls if not control["passed"]]
    passed = f"{len(controls) - len(failed)} of {len(controls)}"
    return Facts(
        letter,
        f"{summary['n']:,} of {summary['rows']:,}",
        f"{summary['coverage']:.1%}",
        (passed + (f", failed: {', '.join(failed)}" if failed else "")) if controls else "–",
        f"{stability['same']} of {stability['asked']}" if stability.get("asked") else "–",
        _difference(summary),
    )


def _difference(summary: Mapping[str, Any]) -> str:
    if "pairwise" in summary:
        wins = summary["pairwise"]["wins"]
        return f"{wins['tuned']} won, {summary['pairwise']['ties']} tied, {wins['base']} lost"
    gap = summary["differences"].get("tuned - base", {})
    if gap.get("value") is None:
        return "–"
    return f"{gap['value']:+.1f}" + ("" if gap["low"] is None else f" ({gap['low']:+.1f} to {gap['high']:+.1f})")


def _mark_best(column: JudgeColumn, systems: Sequence[System]) -> None:
    """Marks the system with the best mean when it is significantly better than the second best on shared rows."""
    scored = [system for system in systems if system.key in column.said and system.key in column.marks]
    if not column.trusted or column.mode == "pairwise" or len(scored) < 2:
        return
    first, second, *_ = sorted(scored, key=lambda system: column.marks[system.key].value, reverse=True)
    one, other = (
        {row: said.value for row, said in column.said[system.key].items() if said.value is not None}
        for system in (first, second)
    )
    groups = {row: first.answers.rows[row].get("group") or "" for row in one}
    bootstrap = first.answers.suite.bootstrap
    gap = difference(one, other, groups, bootstrap)
    if gap["value"] is not None and gap["value"] > 0 and is_significant(gap, bootstrap.confidence):
        column.marks[first.key] = column.marks[first.key]._replace(best=True)


def _name(columns: Iterable[JudgeColumn]) -> None:
    """A title for each; the second judge of one name and mode, with other weights or rules, is number 2."""
    seen: dict[str, int] = {}
    for column in columns:
        title = f"judge {column.judge}, {TITLES[column.mode]}"
        seen[title] = seen.get(title, 0) + 1
        column.title = title if seen[title] == 1 else f"{title} ({seen[title]})"


def judges_table(columns: Sequence[JudgeColumn], keys: Sequence[str]) -> Table:
    """The marks with their intervals for the terminal, one line per judge."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for key in keys:
        table.add_column(key, justify="right", no_wrap=True)
    for column in columns:
        title = Text("DEMO ", "bold red") if column.demo else Text()
        table.add_row(title.append(column.title, "default"), *(_on_screen(column.marks.get(key)) for key in keys))
    return table


def _on_screen(mark: Mark | None) -> Text:
    if mark is None:
        return Text("-")
    value = Text(f"★ {mark.text}", "bold green") if mark.best else Text(mark.text)
    return value.append(f" ({mark.interval.replace(' to ', '–')})", "not bold dim") if mark.interval else value
