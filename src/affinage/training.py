"""One training run from a YAML config to a run folder with the model, its scores and its manifest."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from ludwig.api import LudwigModel
from ludwig.callbacks import Callback
from ludwig.error import LudwigError
from ludwig.schema.model_types.base import ModelConfig
from transformers import AutoConfig

from affinage import data, encoder_runs, health, language_runs, plots, provenance, run_copies, trackers
from affinage.before_after import choose_rows, scores
from affinage.config_check import check_config, check_overridden
from affinage.configs import apply_overrides, read_config, task_and_name
from affinage.console import library_log
from affinage.errors import AffinageError, Problem, raise_all
from affinage.ludwig_ext import register
from affinage.ludwig_ext.copying import CopyAtCheckpoints
from affinage.ludwig_ext.workers import Workers, backend_of
from affinage.runs import USER_CONFIG, Run, create_run, write_json, write_jsonl
from affinage.trainer_seen import TrainerSeen

KINDS: dict[str, Any] = {"llm": language_runs, "ecd": encoder_runs}  # by model_type: what only such runs have
SEED = 42  # Ludwig's own default; a run is repeated with the same one


@dataclass(frozen=True)
class Outcome:
    """What a run gave: its folder, the scores by label and side, and the records they were computed from."""

    run: Run
    scores: dict[str, dict[str, Any]]
    records: list[dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """Everything a run needs, checked before the first minute is spent."""

    task: str
    name: str
    config: dict[str, Any]
    resolved: Any
    dataset: str
    files: list[Path]
    splits: dict[str, pd.DataFrame]
    dropped: dict[str, int]
    make: str = ""

    @property
    def sizes(self) -> dict[str, int]:
        """Rows by split."""
        return {name: len(rows) for name, rows in self.splits.items()}


def plan(config_path: Path, dataset: str = "", overrides: str = "") -> Plan:
    """Reads config and data and fits one to the other. Raises AffinageError for whatever a person must mend."""
    register()
    task, name = task_and_name(config_path)
    raise_all(check_config(config_path))  # first: it explains more of what cannot be read
    config = read_config(config_path)
    where = str(config_path)
    if overrides:
        config = apply_overrides(config, overrides, resolve(config, where).to_dict())
        raise_all(check_overridden(config))
        where = f"{where} with SET"
    make = provenance.make_line(config_path, dataset, overrides, Workers().size())
    return _fit_data(task, name, config, dataset, where, make)


def _fit_data(task: str, name: str, config: dict[str, Any], dataset: str, where: str, make: str) -> Plan:
    resolved = resolve(config, where)
    kind = kind_of(resolved)
    kind.refuse(resolved)
    check_base_model(kind.base_model(resolved), trusts_code(resolved))
    kind.refuse_base(resolved)
    files, splits, dropped = read_task(task, dataset, resolved)
    data.check_rows(splits)
    return Plan(task, name, config, resolved, dataset, files, splits, dropped, make)


def resolve(config: dict[str, Any], where: str) -> Any:
    """The Ludwig config object with defaults filled in. Raises AffinageError with Ludwig's reason when it refuses."""
    try:
        return ModelConfig.from_dict(config)
    except OSError as error:  # Ludwig looks at the base model for the length of its context
        check_base_model(str(config.get("base_model")))
        raise AffinageError(Problem(where, str(error).strip().splitlines()[0])) from error
    except (LudwigError, KeyError, ImportError) as error:  # ImportError: an optimizer of a package that is not there
        reason = str(error).strip().splitlines()[0]
        raise AffinageError(Problem(where, f"Ludwig refuses this config: {reason}")) from error


def kind_of(resolved: Any) -> Any:
    """The module of what only runs of this `model_type` have."""
    return KINDS[resolved.model_type]


def trusts_code(resolved: Any) -> bool:
    """Whether a resolved config lets the base model bring code of its own; that of an encoder never does."""
    return getattr(resolved, "trust_remote_code", False)


def check_base_model(base_model: str, trust_remote_code: bool = False) -> None:
    """Raises AffinageError for a base model that is neither a folder nor to be had from the Hub or its cache."""
    try:
        AutoConfig.from_pretrained(base_model, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise AffinageError(
            Problem(
                "base_model",
                f"'{base_model}' could not be loaded: {str(error).strip().splitlines()[0]}",
                "a folder with a model, or the id of one on the Hugging Face Hub",
                "Check the name and the network, and set HF_TOKEN if the model asks for a licence.",
            )
        ) from error


def read_task(task: str, dataset: str, resolved: Any) -> tuple[list[Path], dict[str, pd.DataFrame], dict[str, int]]:
    """The files of a task or of `dataset`, their rows by split, and how many without an answer were left out.

    Raises AffinageError for data that cannot be read or lacks a column that prompt or answer need.
    """
    if dataset.startswith(data.LUDWIG):
        files: list[Path] = []
        splits = data.split_rows(data.load_ludwig_dataset(dataset.removeprefix(data.LUDWIG)), resolved, SEED)
    else:
        files = data.dataset_files(task, dataset)
        splits = data.load_splits(files, resolved, SEED)
    return files, splits, kind_of(resolved).keep_useful(splits, resolved)


def train(ready: Plan, results: Path) -> Outcome:
    """Trains, answers the test rows with base and tuned model, and fills a new run folder."""
    return complete(start(ready, results), ready)


def start(ready: Plan, results: Path, **entries: Any) -> Run:
    """A new run folder that says what is going to run; `entries` go into its manifest."""
    kind, files = kind_of(ready.resolved), {"config.yaml": _yaml(ready.resolved.to_dict())}
    files[USER_CONFIG] = _yaml(ready.config)
    return create_run(
        ready.task,
        ready.name,
        results,
        files,
        make=ready.make,
        data=_describe_data(ready),
        base_model=provenance.describe_base_model(kind.base_model(ready.resolved), trusts_code(ready.resolved)),
        seed=SEED,
        environment=provenance.describe_environment(),
        **kind.manifest_entries(ready),
        **entries,
    )


def plan_again(run: Run) -> Plan:
    """The plan of a run that ended early, from its own folder. Raises AffinageError when its data has changed."""
    register()
    config = read_config(run.folder / USER_CONFIG)
    ready = _fit_data(
        run.manifest["task"],
        run.manifest["config"],
        config,
        run.manifest["data"]["dataset"],
        str(run.folder),
        run.manifest.get("make", ""),
    )
    before, now = ({f["name"]: f["sha256"] for f in d["files"]} for d in (run.manifest["data"], _describe_data(ready)))
    if before != now:
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        raise AffinageError(
            Problem(
                f"run {run.folder.name}",
                f"its data has changed since: {', '.join(changed)}.",
                remedy="Put the data back as it was, or start a new run.",
            )
        )
    return ready


def complete(run: Run, ready: Plan, callbacks: Sequence[Callback] = ()) -> Outcome:
    """Trains from the run's last checkpoint, or from the start, and does all that comes after.

    `callbacks` are Ludwig's. Raises KeyboardInterrupt, with a checkpoint saved, after Ctrl-C, and AffinageError
    when another process is working on the run. Where several workers train it, all of them call this, and the first
    one alone writes.
    """
    if Workers().rank() > 0:
        ludwig = _fit(run, ready, [])
        if "test" in ready.splits:
            _answered(ludwig, ready, choose_rows(ready.splits["test"]))
        return Outcome(run, {}, [])
    with run.held():
        run.record(status="running", error=None)
        copies = run_copies.copies(run, ready.config)
        try:
            with library_log(run.folder / "train.log"), trackers.tracking(run) as tracking:
                ludwig = _fit(run, ready, [*tracking, *map(CopyAtCheckpoints, copies), *callbacks])
                outcome = _measure(run, ready, ludwig)
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            run.record(status="interrupted" if stopped else "failed", error=repr(error))
            run_copies.bring_up_to_date(run, copies)
            raise
        run.record(status="finished")
        run_copies.bring_up_to_date(run, copies)
        return outcome


def _yaml(config: dict[str, Any]) -> str:
    return yaml.safe_dump(config, allow_unicode=True, sort_keys=False)


def _describe_data(ready: Plan) -> dict[str, Any]:
    return provenance.describe_data(ready.dataset, ready.files, ready.splits, ready.dropped)


def _fit(run: Run, ready: Plan, callbacks: Sequence[Callback]) -> Any:
    """Trains through LudwigModel, and records steps, losses, tokens, seconds and peak memory."""
    started, seen = time.monotonic(), TrainerSeen(run)
    ludwig = LudwigModel(
        ready.config,
        logging_level=logging.INFO,
        backend=backend_of(ready.config),
        callbacks=[seen, *kind_of(ready.resolved).callbacks(ready), *callbacks],
    )
    try:
        ludwig.train(
            training_set=ready.splits["train"],
            validation_set=ready.splits.get("validation"),
            experiment_name=ready.task,
            model_name=f"{ready.name}/{run.folder.name}",
            model_resume_path=str(run.folder),  # an existing folder without a checkpoint: Ludwig writes right there
            skip_save_processed_input=True,
            random_seed=SEED,
        )
    finally:
        if getattr(seen.trainer, "progress", None) is not None and seen.trainer.is_coordinator():
            _record_training(run, seen.trainer, time.monotonic() - started)
    return ludwig


def _record_training(run: Run, trainer: Any, seconds: float) -> None:
    steps, summary = trainer.progress.records, trainer.summary()
    run.record(
        training=summary | {"seconds_with_loading": round(seconds, 1)},
        health=health.signs([step["loss"] for step in steps], trainer.steps_per_epoch),
    )
    picture = run.folder / "plots" / "loss.png"
    picture.parent.mkdir(exist_ok=True)
    plots.loss_curve(steps, summary["evaluations"], summary["best_step"], picture, trainer.loss_name)


def _answered(ludwig: Any, ready: Plan, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The records of the rows, which the workers share among them."""

    def answered(positions: list[int]) -> list[dict[str, Any]]:
        return kind_of(ready.resolved).answered(ludwig, ready, rows.iloc[positions]) if positions else []

    return Workers().spread(answered, range(len(rows)))


def _measure(run: Run, ready: Plan, ludwig: Any) -> Outcome:
    """Answers the test rows before and after, and scores them; a run without a test split has no scores."""
    if "test" not in ready.splits:
        return Outcome(run, {}, [])
    rows = choose_rows(ready.splits["test"])
    started = time.monotonic()
    records = _answered(ludwig, ready, rows)
    result = scores(records)
    write_jsonl(run.folder / "predictions.jsonl", records)
    metrics = {"split": "test", "rows_in_split": len(ready.splits["test"]), "scores": result}
    metrics |= kind_of(ready.resolved).other_metrics(ludwig, ready, rows)
    write_json(run.folder / "metrics.json", metrics)
    run.record(metrics=metrics, answering_seconds=round(time.monotonic() - started, 1))
    return Outcome(run, result, records)
