"""A check as one HTML page that needs nothing else: no network, no script, readable on a phone, light and dark."""

import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Template
from markupsafe import Markup, escape

from affinage import __version__
from affinage.curation.checkup import Checkup, Tally
from affinage.curation.checkup_duplicates import PairOfRows
from affinage.curation.checkup_lengths import Histogram, Lengths, Truncation
from affinage.curation.checkup_remarks import SEVERITIES
from affinage.escaping import escaping_environment
from affinage.paths import RESULTS
from affinage.runs import write_json

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 25  # values of a tally

Piece = tuple[str, bool]  # text, and whether it differs from the other row's


class Bar(NamedTuple):
    """One bin of a histogram: its height in percent of the panel, and what it stands for."""

    height: float
    label: str


class Line(NamedTuple):
    """A vertical line over a histogram, at `left` percent of its width; `kind` is "p95" or "limit"."""

    left: float
    text: str
    kind: str


class Chart(NamedTuple):
    """The histogram of one split, ready to be drawn."""

    split: str
    rows: int
    summary: str
    bars: list[Bar]
    lines: list[Line]
    ticks: list[str]


class TallyLine(NamedTuple):
    """One value of a tally, with its rows in each split and the part of the split (0..1) that they are."""

    value: str
    cells: list[tuple[str, int, float]]


class Answered(NamedTuple):
    """Two rows side by side, each as pieces with what differs marked."""

    pair: PairOfRows
    first: list[Piece]
    second: list[Piece]


def write_checkup(checkup: Checkup, results: Path = RESULTS) -> Path:
    """Writes checkup.html and checkup.json to <results>/data/<task>/, over older ones; returns the page's path."""
    folder = results / "data" / checkup.task
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "checkup.json", checkup.to_json())
    page = folder / "checkup.html"
    partial = page.with_name(page.name + ".partial")
    partial.write_text(render(checkup), encoding="utf-8", newline="\n")
    partial.replace(page)
    return page


def render(checkup: Checkup) -> str:
    """The page as HTML; whatever comes from the data is escaped."""
    filters = {"number": "{:,}".format, "percent": _percent, "sentence": _sentence, "unbroken": _unbroken}
    return load_template("checkup.html.j2", filters).render(
        checkup=checkup,
        severities=SEVERITIES,
        version=__version__,
        charts={name: charts(checkup.lengths, name, checkup.truncation) for name in checkup.lengths.parts},
        tallies={name: tally_lines(tally, checkup.rows) for name, tally in checkup.tallies.items()},
        hidden={name: max(0, len(tally) - SHOWN) for name, tally in checkup.tallies.items()},
        model_columns=[name for name in checkup.tallies if name not in ("label", "source", "year", "language")],
        duplicates=[side_by_side(pair) for pair in checkup.duplicates.examples],
        leaks=[(leak, [side_by_side(pair) for pair in leak.examples]) for leak in checkup.leaks],
    )


def load_template(name: str, filters: Mapping[str, Any]) -> Template:
    """A template of this package, which escapes whatever it is given and fails on a name that it is not given."""
    return escaping_environment(TEMPLATES, filters).get_template(name)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share in (0, 1) or share >= 0.1 else f"{share:.1%}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _unbroken(text: str) -> Markup:
    """The text, escaped, with its options ("--near 0.8") kept on one line."""
    return Markup(re.sub(r"--[a-z-]+( [\w.]+)?", r'<span class="nowrap">\g<0></span>', str(escape(text))))


def charts(lengths: Lengths, name: str, truncation: Truncation | None) -> list[Chart]:
    """One histogram per split of a part of the rows, all on the same axes, with the limits of the config marked."""
    part, limits = lengths.parts[name], dict[str, int]()
    if truncation is not None:
        limits = {"prompt and answer": truncation.limit, "answer": truncation.max_new_tokens or 0}
    totals = {split: sum(rows) for split, rows in part.histogram.rows.items()}
    highest = max(n / totals[split] for split, rows in part.histogram.rows.items() for n in rows)
    return [
        Chart(
            split,
            totals[split],
            ", ".join(f"{key} {part.summary[split][key]:,}" for key in ("p50", "p95", "max")),
            list(_bars(part.histogram, rows, totals[split], highest, lengths.unit)),
            list(_lines(part.histogram, int(part.summary[split]["p95"]), limits.get(name, 0))),
            _ticks(part.histogram),
        )
        for split, rows in part.histogram.rows.items()
    ]


def _bars(histogram: Histogram, rows: list[int], total: int, highest: float, unit: str) -> Iterator[Bar]:
    for i, n in enumerate(rows):
        low, high = histogram.edges[i], histogram.edges[i + 1] - 1
        span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        if histogram.open_ended and i == len(rows) - 1:
            span = f"{low:,} or more"
        yield Bar(round(100 * n / total / highest, 2), f"{span} {unit}: {n:,} rows ({n / total:.1%})")


def _lines(histogram: Histogram, p95: int, limit: int) -> Iterator[Line]:
    low, high = histogram.edges[0], histogram.edges[-1]
    for value, text, kind in ((p95, f"p95 {p95:,}", "p95"), (limit, f"limit {limit:,}", "limit")):
        if value and low <= value <= high:
            yield Line(round(100 * (value - low) / (high - low), 2), text, kind)


def _ticks(histogram: Histogram) -> list[str]:
    low, high = histogram.edges[0], histogram.edges[-1]
    end = f"{histogram.edges[-2]:,} or more" if histogram.open_ended else f"{high:,}"
    return [f"{low:,}", f"{(low + high) / 2:,g}", end]


def tally_lines(tally: Tally, rows: dict[str, int]) -> list[TallyLine]:
    """The most frequent values of a tally, with shares of each split."""
    return [
        TallyLine(value, [(split, counts.get(split, 0), counts.get(split, 0) / n) for split, n in rows.items()])
        for value, counts in list(tally.items())[:SHOWN]
    ]


def side_by_side(pair: PairOfRows) -> Answered:
    """The pair with the words marked that one text has and the other lacks."""
    return Answered(pair, *word_differences(pair.first.text, pair.second.text))


def word_differences(first: str, second: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts as pieces that join to the whole text, each with whether it differs from the other text."""
    a, b = (re.findall(r"\w+|\s+|[^\w\s]", text) for text in (first, second))
    left: list[Piece] = []
    right: list[Piece] = []
    for kind, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        for pieces, words in ((left, a[i:j]), (right, b[k:m])):
            if words:
                pieces.append(("".join(words), kind != "equal"))
    return left, right
