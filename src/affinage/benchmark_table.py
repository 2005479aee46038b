"""The figures of all benchmarks as one Markdown table, from the JSON files that they write."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from affinage.errors import AffinageError, Problem

START, END = "<!-- figures: tools/benchmark_table.py writes what stands below -->", "<!-- figures: end -->"
GB = 1e9


class Figure(NamedTuple):
    """One line: what was measured, the median with its range, the bar in words, whether it was met, how often."""

    what: str
    value: str
    bar: str = ""
    met: bool | None = None
    n: str = ""


def table(folder: Path) -> str:
    """The table of the JSON files in a folder and in its `results`; what has no file is said to be not measured."""
    lines = ["| measured | median (from to) | bar | met | n | file |", "|---|---|---|---|---|---|"]
    for name, figures in SCRIPTS.items():
        file = folder / f"{name}.json"
        found = list(figures(_read(file))) if file.exists() else [Figure(name, "not measured yet")]
        lines += [_line(figure, file.name) for figure in found]
    results = sorted((folder / "results").glob("*.json"))
    for file in results:
        lines += [_line(figure, f"results/{file.name}") for figure in _gpu(_read(file), file.stem)]
    if not results:
        lines.append(_line(Figure("4-bit training on a GPU", "not measured: it has not run on one yet"), "gpu.py"))
    return "\n".join(lines)


def written(readme: str, text: str) -> str:
    """The README with the text between its marks. Raises AffinageError when a mark is missing."""
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise AffinageError(Problem("benchmarks/README.md", "has lost the marks of its table.", f"{START} and {END}"))
    return f"{before}{START}\n{text}\n{END}{after}"


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def _line(figure: Figure, file: str) -> str:
    met = "" if figure.met is None else "yes" if figure.met else "no"
    cells = [figure.what, figure.value, figure.bar, met, figure.n, f"`{file}`"]
    return "| " + " | ".join(cells) + " |"


def _range(spread: Mapping[str, float], form: str = ".2f") -> str:
    return f"{spread['median']:{form}} ({spread['min']:{form}} to {spread['max']:{form}})"


def _train_step(found: dict[str, Any]) -> Iterator[Figure]:
    for part, what, word in (
        ("time", "time of a training step, stock / affinage", "at least"),
        ("memory", "memory of a step above the model, affinage / stock", "at most"),
    ):
        one = found[part]
        yield Figure(what, _range(one["ratio"]), f"{word} {one['bar']}", one["met"], str(one["n"]))


def _whole_training(found: dict[str, Any]) -> Iterator[Figure]:
    one = found["time"]
    for name, spread in one["ratio"].items():
        what = f"whole training with evaluations, stock / {name}"
        yield Figure(what, _range(spread), f"at least {one['bar']:g}", one["met"][name], str(one["n"]))


def _peers(found: dict[str, Any]) -> Iterator[Figure]:
    names = {"plain": "a plain loop", "trl": "TRL"}
    time, memory = found["time"], found["memory"]
    for other, spread in time["ratio_other_to_affinage"].items():
        what, met = f"time of a training step, {names[other]} / affinage", spread["median"] >= time["bar"]
        yield Figure(what, _range(spread), f"at least {time['bar']}", met, str(time["n"]))
    for other, spread in memory["ratio_affinage_to_other"].items():
        what, met = f"memory of a step above the model, affinage / {names[other]}", spread["median"] <= memory["bar"]
        yield Figure(what, _range(spread), f"at most {memory['bar']}", met, str(memory["n"]))


def _lengths(found: dict[str, Any]) -> Iterator[Figure]:
    for name, spread in found["ratios"].items():
        bar, met = (f"at least {found['bar']}", found["met"]) if name == "by length" else ("", None)
        what = f"answer tokens/s of mixed lengths, {name} / fixed order"
        a_step = f"a step {spread['min']:.2f} to {spread['max']:.2f}"
        yield Figure(what, f"{found['overall'][name]:.2f} ({a_step})", bar, met, str(found["n"]))


def _growth(found: dict[str, Any]) -> Iterator[Figure]:
    largest = max(found["growth"], key=int)
    what = f"time per row of {int(largest):,} rows, above that of {int(min(found['growth'], key=int)):,}"
    yield Figure(
        what, f"{found['growth'][largest]:+.0%}", f"at most +{found['bar']:.0%}", found["met"], str(found["n"])
    )


def _memory(found: dict[str, Any]) -> Iterator[Figure]:
    errors = [one["estimate"] / one["peak"] - 1 for one in found["cases"].values()]
    worst = max(errors, key=abs)
    what = "memory estimate of `make fit`, worst error"
    yield Figure(what, f"{worst:+.1%}", "at most 15 %", abs(worst) <= 0.15, f"{len(errors)} cases")


def _answers(found: dict[str, Any]) -> Iterator[Figure]:
    value, bar = _range(found["ratio"], ".1f"), f"at least {found['bar']:g}"
    yield Figure("answers per second, affinage / `ludwig predict`", value, bar, found["met"], str(found["n"]))


def _judging(found: dict[str, Any]) -> Iterator[Figure]:
    value, bar = _range(found["share_of_ideal"], ".0%"), f"at least {found['bar']:.0%}"
    yield Figure("judge kept busy, share of the ideal throughput", value, bar, found["met"], str(found["n"]))


def _data(found: dict[str, Any]) -> Iterator[Figure]:
    bars = found["bars"]
    most = bars["peak_memory_bytes"]
    for build in found["builds"]:
        near = " with near duplicates" if build["near"] else ""
        judged = (f"under {most / GB:g} GB", build["peak_memory_bytes"] < most)
        value = f"{build['peak_memory_bytes'] / GB:.2f} GB, {build['seconds']:.0f} s"
        yield Figure(f"a dataset of {build['rows']:,} rows{near}", value, *judged, "1")
    near = found["near_duplicates"]
    what = f"near duplicates among {near['texts']:,} texts"
    yield Figure(what, f"{near['seconds']:.1f} s", f"under {bars['near_seconds']:g} s", near["time_met"], "1")


def _retrieval(found: dict[str, Any]) -> Iterator[Figure]:
    for language, measured in found["languages"].items():
        one = measured["recall@5"]["answerable"]
        value, met = f"{one['share']:.3f} ({one['low']:.3f} to {one['high']:.3f})", one["share"] >= found["bar"]
        what = f"passage that answers among five, BM25, {language}"
        yield Figure(what, value, f"at least {found['bar']}", met, f"{one['n']} questions")


def _gpu(found: dict[str, Any], name: str) -> Iterator[Figure]:
    for what, spread in found["speed_affinage_to_trl"].items():
        met = spread["median"] >= 1
        yield Figure(f"tokens/s, {what}, affinage / TRL on {name}", _range(spread), "at least 1", met, str(spread["n"]))
    for batch, peak in found["least_peak_gb"].items():
        most = found["course_gb"][batch]
        what = f"peak memory, Mistral-7B in 4 bits, batch {batch}, on {name}"
        yield Figure(what, f"{peak:.1f} GB", f"under {most} GB", peak < most)


def _workers(found: dict[str, Any]) -> Iterator[Figure]:
    for name, ratio in found["ratio"].items():
        yield Figure(f"training tokens/s, {name} / one worker", _range(ratio), n=str(found["n"]))


SCRIPTS: dict[str, Callable[[dict[str, Any]], Iterator[Figure]]] = {
    "train_step": _train_step,
    "whole_training": _whole_training,
    "peers": _peers,
    "lengths": _lengths,
    "growth": _growth,
    "memory": _memory,
    "answers": _answers,
    "judging": _judging,
    "data": _data,
    "retrieval": _retrieval,
    "workers": _workers,
}
