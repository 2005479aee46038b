"""The comparison as one HTML page that needs nothing else: no network, readable on a phone, light and dark."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment
from markupsafe import Markup, escape

from affinage import __version__
from affinage.comparison.comparability import obstacles, surroundings
from affinage.comparison.config_diff import config_differences
from affinage.comparison.confusion import confusion_matrices
from affinage.comparison.costs import costs
from affinage.comparison.curves import COLOURS, MOST_POINTS, curves_of, loss_drawing
from affinage.comparison.gather import Entry
from affinage.comparison.judges import JudgeColumn, judges_of
from affinage.comparison.rows import all_rows, as_script, chosen_rows, page_data
from affinage.comparison.scoreboard import Scoreboard, divisions, scoreboard
from affinage.comparison.significance import PairedTests
from affinage.comparison.systems import System, systems_of
from affinage.comparison.verdicts import main_metric, p_value, pairs_of, verdict
from affinage.escaping import content_hash, escaping_environment
from affinage.paths import RESULTS
from affinage.scoring import HIGHER_IS_BETTER
from affinage.scoring.tables import ARROWS, name_of

TEMPLATES = Path(__file__).parent / "templates"
POLICY = "default-src 'none'; script-src {script}; style-src {style}; base-uri 'none'; form-action 'none'"


class Comparison(NamedTuple):
    """All that a page shows: the runs, who answered, their scores, what was left out of them, and their judges.

    Notes are texts, of `judge_notes` each with the letter of the run that it is about.
    """

    entries: Sequence[Entry]
    systems: Sequence[System]
    tests: PairedTests
    board: Scoreboard
    notes: Sequence[str] = ()
    judges: Sequence[JudgeColumn] = ()
    judge_notes: Sequence[tuple[str, str]] = ()


def compare(
    entries: Sequence[Entry], notes: Sequence[str] = (), progress: Callable[[int], Any] = lambda systems: None
) -> Comparison:
    """Measures every system row by row and tests them against each other; `progress` is told of each system."""
    systems = systems_of(entries)
    tests = PairedTests(systems, progress)
    stale = ", ".join(system.key for system in tests.outdated())
    if stale:
        notes = [
            *notes,
            f"The stored scores of {stale} are not those of the answers: score them again with make score.",
        ]
    board = scoreboard(entries, systems, tests)
    return Comparison(entries, systems, tests, board, notes, *judges_of(entries, systems))


def page_path(entries: Sequence[Entry], name: str = "", results: Path = RESULTS) -> Path:
    """<results>/comparisons/<name>.html; without a name, one made of the runs' ids, the same for the same runs."""
    ids = [entry.run.folder.name for entry in entries]
    if not name and len(ids) > 3:
        digest = hashlib.sha256(" ".join(str(entry.run.folder) for entry in entries).encode()).hexdigest()
        name = f"{entries[0].run.manifest['task']}_{len(ids)}-runs_{digest[:8]}"
    return results / "comparisons" / f"{name or '_'.join(ids)}.html"


def write_page(comparison: Comparison, path: Path, progress: Callable[[int], Any] = lambda rows: None) -> Path:
    """Writes the page in place of an older one; `progress` is told of each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(render(comparison, progress), encoding="utf-8", newline="\n")
    partial.replace(path)
    return path


def render(comparison: Comparison, progress: Callable[[int], Any] = lambda rows: None) -> str:
    """The page as HTML; whatever comes from models, data and configs is escaped.

    Its policy allows no address but its own text and runs no script but its own, which it knows by their hashes.
    """
    entries, systems, tests, board, _, judges, _ = comparison
    style, script = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("compare.css", "compare.js"))
    rows = all_rows(systems)
    shown = chosen_rows(rows)
    colours = _colours(entries, systems)
    data = page_data(shown, systems, colours, judges, progress)
    curves, metric = curves_of(entries), main_metric(board)
    return (
        _environment()
        .get_template("compare.html.j2")
        .render(
            title=f"Comparison: {', '.join(dict.fromkeys(entry.run.manifest['task'] for entry in entries))}",
            subtitle=_subtitle(entries, len(rows)),
            policy=POLICY.format(script=content_hash(script), style=content_hash(style)),
            style=Markup(style),
            script=Markup(script),
            data=as_script(data),
            entries=entries,
            systems=systems,
            board=board,
            judges=judges,
            colours=colours,
            names={entry.letter: entry.run.manifest["config"] for entry in entries},
            obstacles=obstacles(entries),
            surroundings=surroundings(entries),
            notes=_notes(comparison),
            verdict=verdict(systems, tests, metric),
            pairs=pairs_of(systems, tests, metric),
            metric=metric,
            confidence=f"{systems[0].answers.suite.bootstrap.confidence:.0%}" if systems else "",
            divisions=divisions(systems, metric),
            matrices=confusion_matrices(systems),
            row_labels=sorted({row["label"] for row in data["rows"] if "label" in row}),
            settings=config_differences([entry.config for entry in entries]),
            drawing=loss_drawing(curves),
            curves=curves,
            thinned=any(len(curve.training) > MOST_POINTS for curve in curves),
            most_points=MOST_POINTS,
            costs=costs(entries),
            rows=len(shown),
            left_out=len(rows) - len(shown),
            footer=f"Made by affinage {__version__} with make compare.",
        )
    )


def _environment() -> Environment:
    filters = {"number": "{:,}".format, "name_of": name_of, "p_value": p_value}
    filters |= {"arrow": lambda metric: ARROWS[HIGHER_IS_BETTER.get(metric)]}
    return escaping_environment(TEMPLATES, filters | {"grouped": grouped, "breakable": breakable})


def _subtitle(entries: Sequence[Entry], rows: int) -> str:
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    runs = "1 run" if len(entries) == 1 else f"{len(entries)} runs"
    return f"{runs}, {rows:,} test rows. Made {made}."


def _colours(entries: Sequence[Entry], systems: Sequence[System]) -> dict[str, str]:
    """The class that colours a run or a base model, by its key."""
    runs = {entry.letter: f"c{place % COLOURS}" for place, entry in enumerate(entries)}
    return {system.key: "base" for system in systems} | runs


def grouped(values: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Each value with the letters that have it, in the order in which values first appear."""
    found: dict[str, list[str]] = {}
    for letter, value in values.items() if isinstance(values, Mapping) else values:
        found.setdefault(value, []).append(letter)
    return list(found.items())


def breakable(key: str) -> Markup:
    """A dotted key that may go on in the next line after each dot."""
    return Markup(".<wbr>").join(escape(part) for part in key.split("."))


def _notes(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """What a reader must know, with the letters of the runs that it is about."""
    of_entries = [(entry.letter, note) for entry in comparison.entries for note in entry.notes]
    of_runs = grouped([*of_entries, *comparison.judge_notes])
    return [*((note, []) for note in comparison.notes), *of_runs]
