"""The answers of a run with their scores: those of make evaluate, or else those that make train itself left."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import display
from affinage.runs import Run
from affinage.scoring import SYSTEMS, Origin, Predictions, Suite, load_suite, read_predictions, score

# make train keeps neither flags nor likelihoods of its answers.
NOT_KEPT_BY_TRAIN = {"repetition_rate", "perplexity", "bits_per_byte"}
PREDICTIONS, METRICS = "predictions.jsonl", "metrics.json"
TEXTS = ("instruction", "input", "prompt", "label", "group")
NOT_EVALUATED = "Not evaluated: these are the answers that make train left, scored now. make evaluate measures more."
NOT_SCORED = "Answered by make evaluate and not scored yet: the scores were made for this comparison."
REMEDY = "Answer the rows again with make evaluate."


class RowKey(NamedTuple):
    """What makes rows of two runs the same row: the id and every text that was asked or expected."""

    id: str
    instruction: str
    input: str
    reference: str


@dataclass(frozen=True)
class Answers:
    """What one run answered to which rows, and what that scored.

    `metrics` is the content of metrics.json and `generation` that of generation.json, {} without one; `by_train` says
    that make train left the answers, and that nothing was evaluated since.
    """

    predictions: Predictions
    suite: Suite
    metrics: dict[str, Any]
    by_train: bool
    generation: dict[str, Any] = field(default_factory=dict)
    rows: dict[RowKey, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", {_key(row): row for row in self.predictions.rows})


def _key(row: dict[str, Any]) -> RowKey:
    return RowKey(row["id"], row.get("instruction", ""), row.get("input", ""), row["reference"])


def answers_of(run: Run, suite: str = "") -> tuple[Answers | None, list[str]]:
    """The run's answers for a suite (default: its task's), and what a reader must know of them.

    None for a run that answered no row. Raises AffinageError with everything that is broken in their files.
    """
    folder = _evaluation(run, suite)
    if folder is not None:
        return _evaluated(run, folder)
    if suite or not (run.folder / PREDICTIONS).exists():
        return None, [f"It answered no test row{f' of the suite {suite}' if suite else ''}."]
    return _left_by_train(run)


def _evaluation(run: Run, suite: str) -> Path | None:
    """The folder of the suite that was asked for; else of the task's suite, of "default", or of the only one."""
    folders = {path.parent.name: path.parent for path in (run.folder / "evaluation").glob(f"*/{PREDICTIONS}")}
    for name in (suite,) if suite else (run.manifest["task"], "default"):
        if name in folders:
            return folders[name]
    if suite or not folders:
        return None
    if len(folders) > 1:
        where, names = display(run.folder / "evaluation"), ", ".join(sorted(folders))
        raise AffinageError(Problem(where, f"{len(folders)} suites.", names, "Name one with SUITE=."))
    return next(iter(folders.values()))


def _evaluated(run: Run, folder: Path) -> tuple[Answers, list[str]]:
    predictions, suite = read_predictions(folder / PREDICTIONS), load_suite(folder.name)
    metrics, generation = _read(folder / METRICS), _read(folder / "generation.json")
    notes = list(metrics.get("warnings", []))
    if not (folder / METRICS).exists():
        metrics = score(predictions, suite, Origin(generation.get("split", "test"), generation.get("rows_in_split")))
        notes += [NOT_SCORED, *metrics["warnings"]]
    elif metrics.get("n") != len(predictions):
        found = f"scores of {metrics.get('n')} rows for {len(predictions)} answers."
        remedy = f"Score them again with make score RUN={run.folder.name}."
        raise AffinageError(Problem(display(folder / METRICS), found, remedy=remedy))
    elif not isinstance(metrics.get("systems"), dict):
        remedy = f"Score the answers again with make score RUN={run.folder.name}."
        raise AffinageError(Problem(display(folder / METRICS), "no section 'systems'.", remedy=remedy))
    return Answers(predictions, suite, metrics, False, generation), notes


def _left_by_train(run: Run) -> tuple[Answers, list[str]]:
    predictions, suite = _earlier(run.folder / PREDICTIONS), load_suite(run.manifest["task"])
    kept = [name for name in suite.metrics if name not in NOT_KEPT_BY_TRAIN]
    suite = suite.model_copy(update={"metrics": kept, "bert_score": None})
    metrics = score(predictions, suite, Origin("test", run.manifest.get("data", {}).get("rows", {}).get("test")))
    return Answers(predictions, suite, metrics, True), [NOT_EVALUATED, *metrics["warnings"]]


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    remedy = "Make it again with make evaluate."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AffinageError(Problem(display(path), f"cannot be read as JSON: {error}.", remedy=remedy)) from error
    if not isinstance(content, dict):
        found = f"holds a {type(content).__name__}, no object with sections."
        raise AffinageError(Problem(display(path), found, remedy=remedy))
    return content


def _earlier(path: Path) -> Predictions:
    """The predictions of make train: texts are whatever the data held, and only data with ids gives rows an id."""
    rows, problems = dict[str, dict[str, Any]](), list[Problem]()
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        row, fault = _earlier_row(line)
        name = str(row.get("id") or f"test-{number - 1}")
        fault = fault or (f"the id '{name}' stood on a line before." if name in rows else "")
        if fault:
            problems.append(Problem(f"{display(path)}:{number}", fault, remedy=REMEDY))
        rows[name] = row | {"id": name}
    if not rows:
        problems.append(Problem(display(path), "holds no row.", remedy=REMEDY))
    raise_all(problems)
    systems = tuple(system for system in SYSTEMS if all(system in row for row in rows.values()))
    return Predictions(path, list(rows.values()), systems, list(range(1, len(rows) + 1)))


def _earlier_row(line: bytes) -> tuple[dict[str, Any], str]:
    """The row of a line with texts as texts, and what is wrong with it ("" for nothing)."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return {}, f"not UTF-8: {error.reason}."
    except ValueError:
        return {}, "half-written or no JSON."
    if not isinstance(row, dict):
        return {}, "holds no object with columns."
    missing = [name for name in ("reference", "base", "tuned") if not isinstance(row.get(name), str)]
    texts = {name: "" if row[name] is None else str(row[name]) for name in TEXTS if name in row}
    return row | texts, f"no text in {', '.join(missing)}." if missing else ""
