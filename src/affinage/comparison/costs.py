"""What each run cost: time, speed, memory, and how much of the model it trained."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from affinage.comparison.gather import Entry
from affinage.reports import best_validation_loss

DASH = "–"


class Cost(NamedTuple):
    """One figure of one run: what is shown, and the share (0..1) of the largest among the runs for its bar."""

    text: str
    share: float | None


class CostLine(NamedTuple):
    """What one run cost, by the heading of the column."""

    letter: str
    name: str
    costs: dict[str, Cost]


def costs(entries: Sequence[Entry]) -> list[CostLine]:
    """One line per run; a dash stands for what a run did not record, and what none recorded is left out."""
    figures = [_figures(entry) for entry in entries]
    headings = [name for name in figures[0] if any(figure[name][1] != DASH for figure in figures)]
    largest = {name: max((figure[name][0] or 0 for figure in figures), default=0) for name in headings}
    return [
        CostLine(entry.letter, entry.name, {name: _cost(*figure[name], largest[name]) for name in headings})
        for entry, figure in zip(entries, figures, strict=True)
    ]


def _cost(size: float | None, text: str, largest: float) -> Cost:
    return Cost(text, size / largest if size is not None and largest else None)


def _figures(entry: Entry) -> dict[str, tuple[float | None, str]]:
    """Each figure as a size for its bar (None for no bar) and as text."""
    training = entry.run.manifest.get("training") or {}
    seconds, tokens = training.get("seconds"), training.get("tokens")
    speed = tokens / seconds if tokens and seconds else None
    memory = training.get("peak_memory") or {}
    peak = memory.get("gpu", memory.get("resident"))
    trainable = training.get("trainable_parameters")
    loss = best_validation_loss(training)
    return {
        "training time": (seconds, duration(seconds) if seconds else DASH),
        "tokens per second": (speed, f"{speed:,.0f}" if speed else DASH),
        "peak memory": (peak, peak_memory(training)),
        "trained parameters": (trainable, _parameters(trainable, training.get("parameters"))),
        "steps": (None, _steps(training)),
        "lowest validation loss": (None, DASH if loss is None else f"{loss:.4f} at step {training['best_step']:,}"),
        "answering": (None, _answering(entry)),
        "hardware": (None, hardware(entry.run.manifest)),
    }


def peak_memory(training: dict[str, Any]) -> str:
    """The most memory a training held, of each kind: resident, and on the GPU where there was one."""
    memory = training.get("peak_memory") or {}
    return ", ".join(f"{size_text(size)} {kind}" for kind, size in memory.items()) or DASH


def _parameters(trainable: int | None, parameters: int | None) -> str:
    if trainable is None or not parameters:
        return DASH
    return f"{trainable:,} ({trainable / parameters:.2%})"


def _steps(training: dict[str, Any]) -> str:
    if not training:
        return DASH
    of = "" if training["steps"] == training["planned_steps"] else f" of {training['planned_steps']:,}"
    return f"{training['steps']:,}{of} × {training['effective_batch_size']} rows"


def _answering(entry: Entry) -> str:
    seconds = entry.answers.generation.get("seconds") if entry.answers else None
    if seconds is None and entry.answers and entry.answers.by_train:
        seconds = entry.run.manifest.get("answering_seconds")
    return DASH if seconds is None else duration(seconds)


def hardware(manifest: dict[str, Any]) -> str:
    """The accelerators the run could use, or its processor with its cores."""
    around = manifest.get("environment", {})
    names = [device.get("name", device["type"]) for device in around.get("devices", []) if device.get("type") != "cpu"]
    if names:
        return ", ".join(names)
    return f"{around['cpu']}, {around.get('cpu_cores', '?')} cores" if around.get("cpu") else DASH


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size_text(size: float) -> str:
    """Bytes as GB or MB (powers of ten)."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
