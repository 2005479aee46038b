"""What runs gave, as tables for the terminal."""

from typing import Any

from rich.table import Table

from affinage.health import sentence
from affinage.model_types import baseline_name
from affinage.paths import display
from affinage.runs import Run


def scores_table(scores: dict[str, dict[str, Any]], rows_in_split: int, baseline: str = "") -> Table:
    """Exact match (0..1), chrF (0..100) and answers cut at the length limit, base against tuned, for every label.

    `baseline` says what stands for the base of an encoder.
    """
    n = scores["all"]["tuned"]["n"]
    of = "" if n == rows_in_split else f" of {rows_in_split}, evenly spread"
    answers = f"labels; base: {baseline}" if baseline else "greedy answers"
    table = Table(title=f"Test split: {n} rows{of}, {answers}", title_justify="left")
    table.add_column("rows")
    headings = ("exact match\nbase", "exact match\ntuned", "chrF\nbase", "chrF\ntuned", "cut\nbase", "cut\ntuned")
    for heading in ("n", *headings):
        table.add_column(heading, justify="right")
    for label, sides in sorted(scores.items(), key=lambda item: item[0] == "all"):
        pair = (sides["base"], sides["tuned"])
        cells = [f"{side['exact_match']:.3f}" for side in pair] + [f"{side['chrf']:.1f}" for side in pair]
        cells += [str(side["cut"]) for side in pair]
        table.add_row(label, str(pair[1]["n"]), *cells, style="bold" if label == "all" else "")
    return table


def dropped_sentences(dropped: dict[str, int]) -> list[str]:
    """What was left out, a sentence for each split and reason; the keys are "split" or "split: reason"."""
    named = [(*key.partition(": ")[::2], n) for key, n in dropped.items() if n]
    return [f"{n} {split} rows are left out: {reason or 'no answer'}" for split, reason, n in named]


def runs_table(runs: list[Run]) -> Table:
    """One line per run; a dash stands where a run did not get that far."""
    table = Table(box=None, header_style="bold")
    for heading in ("run", "config", "status"):
        table.add_column(heading, no_wrap=True)
    for heading in ("steps", "minutes", "validation\nloss", "n", "exact match\nbase", "exact match\ntuned"):
        table.add_column(heading, justify="right")
    for run in runs:
        name = f"{run.manifest['task']}/{run.manifest['config']}"
        table.add_row(run.folder.name, name, ", ".join([run.status, *_signs(run)]), *_numbers(run.manifest))
    return table


def _signs(run: Run) -> list[str]:
    return [sign["sign"] for sign in run.manifest.get("health", [])]


def best_validation_loss(training: dict[str, Any]) -> float | None:
    """The lowest validation loss of a run's evaluations, in nats per answer token; None without any."""
    losses = [e["validation_loss"] for e in training.get("evaluations", []) if "validation_loss" in e]
    return min(losses, default=None)


def _numbers(manifest: dict[str, Any]) -> list[str]:
    training, best = manifest.get("training"), best_validation_loss(manifest.get("training", {}))
    scores = manifest.get("metrics", {}).get("scores", {}).get("all")
    steps = [f"{training['steps']:,}", f"{training['seconds'] / 60:.1f}"] if training else ["-", "-"]
    matches = [f"{scores[side]['exact_match']:.3f}" for side in ("base", "tuned")] if scores else ["-", "-"]
    if baseline_name(manifest):  # an encoder has no base that answers
        matches[0] = "-"
    return [*steps, "-" if best is None else f"{best:.4f}", str(scores["tuned"]["n"]) if scores else "-", *matches]


def run_facts(run: Run) -> Table:
    """Everything about one run that fits on a screen, as names and values."""
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _facts(run).items():
        if value:
            table.add_row(name, value)
    return table


def _facts(run: Run) -> dict[str, str]:
    manifest = run.manifest
    environment, data = manifest.get("environment", {}), manifest.get("data", {})
    git = environment.get("git") or {}
    packages = environment.get("packages", {})
    return {
        "run": display(run.folder),
        "status": run.status + (f": {manifest['error']}" if manifest.get("error") else ""),
        "started": manifest["started"],
        "command": " ".join(manifest["command"]),
        "commit": f"{git.get('commit') or 'none'}{' (with changes)' if git.get('dirty') else ''}",
        "versions": ", ".join(f"{name} {packages[name]}" for name in ("ludwig", "torch", "peft") if name in packages),
        "hardware": f"{environment.get('cpu', '')}, {environment.get('cpu_cores', '?')} cores",
        "seed": str(manifest.get("seed", "")),
        "data": ", ".join(f"{file['name']} {file['sha256'][:12]}" for file in data.get("files", [])),
        "rows": ", ".join(f"{name} {n:,}" for name, n in data.get("rows", {}).items()),
        "base model": _base_model(manifest.get("base_model", {})),
        **_training_facts(manifest.get("training", {})),
        "trouble": "\n".join(map(sentence, manifest.get("health", []))),
        "repeat": manifest.get("make", ""),
    }


def _base_model(base: dict[str, Any]) -> str:
    revision = base.get("revision") or base.get("files", {}).get("model.safetensors", "")
    return f"{base['id']} {revision[:12]}".strip() if base else ""


def _training_facts(training: dict[str, Any]) -> dict[str, str]:
    if not training:
        return {}
    best = best_validation_loss(training)
    memory = ", ".join(f"{kind} {size / 1e9:.1f} GB" for kind, size in training["peak_memory"].items())
    return {
        "parameters": f"{training['trainable_parameters']:,} of {training['parameters']:,} trained",
        "steps": f"{training['steps']:,} of {training['planned_steps']:,}, {training['tokens']:,} tokens",
        "batch": f"{training['effective_batch_size']} rows a step",
        "training": f"{training['seconds']:.0f} s, peak memory: {memory}",
        "cut": f"{training['cut_rows']} rows, {training['cut_answer_tokens']} answer tokens"
        if training["cut_rows"]
        else "",
        "best": "" if best is None else f"step {training['best_step']}, validation loss {best:.4f}",
        "notes": "; ".join(training.get("notes", [])),
    }


def preference_sentence(metrics: dict[str, Any]) -> str:
    """On how many test rows the chosen answer is likelier than the rejected one, before and after; "" if not known."""
    found = metrics.get("chosen_likelier")
    if not found:
        return ""
    shares = f"{found['base']:.1%} of {found['n']} test rows before training, {found['tuned']:.1%} after"
    return f"The chosen answer is likelier than the rejected one on {shares}."
