"""Trains one config with several settings, one run each, and ranks them by their validation loss."""

import math
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from affinage import ray_tasks, training
from affinage.config_check import check_overridden
from affinage.configs import apply_overrides, read_config
from affinage.console import progress_bar_options
from affinage.errors import AffinageError, Problem, raise_all
from affinage.memory_estimate import count_parameters
from affinage.model_types import refuse_encoder_config
from affinage.optuna_search import AT_RANDOM, Search
from affinage.paths import display
from affinage.preview import refuse_nothing_trainable
from affinage.ray_runs import Placement
from affinage.series import Series, create, load, release_memory, time_left
from affinage.sweep_file import Settings, Sweep, as_overrides, read_sweep
from affinage.token_lengths import refuse_truncation

KIND = "sweep"
# Sections that change neither the text of a row nor how many tokens it may have.
WITHOUT_TOKENS = ("adapter", "generation", "quantization", "trainer")


def start(config: Path, dataset: str, overrides: str, file: Path, results: Path) -> Series:
    """A new sweep whose every trial is checked as SET= and `make train` would check it, before anything is trained.

    Of a search those trials are checked that need no result of others. Raises one AffinageError for everything that a
    person must mend in the file, and another for trials that cannot be trained or give no validation loss to rank by.
    """
    refuse_encoder_config(read_config(config), str(config), "be swept")
    ray_tasks.series_placement(read_config(config), overrides)
    ready = training.plan(config, dataset, overrides)
    sweep = read_sweep(file, _check_of(ready), [feature.name for feature in ready.resolved.output_features])
    _check_trials(sweep, config, dataset, overrides)
    drawn = [{"drawn": drawn} for drawn in sweep.drawn] if sweep.search else [{}] * len(sweep.trials)
    trials = [
        _waiting(number, settings) | entry
        for number, (settings, entry) in enumerate(zip(sweep.trials, drawn, strict=True), 1)
    ]
    search = {"search": asdict(sweep.search)} if sweep.search else {}
    text = file.read_text(encoding="utf-8-sig")
    return create(
        KIND, config, overrides, ready, results, {"asked.yaml": text}, form=sweep.form, trials=trials, **search
    )


def _waiting(number: int, settings: Settings) -> dict[str, Any]:
    return {"number": number, "set": as_overrides(settings), "status": "waiting"}


def _check_of(ready: training.Plan) -> Callable[[str, Any], Iterable[Problem | str]]:
    """What is wrong with one value of a key: no such key, another type, or a value that is never allowed there."""
    resolved = ready.resolved.to_dict()

    def check(key: str, value: Any) -> Iterable[Problem | str]:
        try:
            changed = apply_overrides(ready.config, as_overrides({key: value}), resolved)
        except AffinageError as error:
            return error.problems
        return [problem for problem in check_overridden(changed) if problem.where == f"SET {key}"]

    return check


def _check_trials(sweep: Sweep, config: Path, dataset: str, overrides: str) -> None:
    """Raises AffinageError for every trial that could not be trained to the end, as far as can be known now."""
    problems: dict[str, Problem] = {}
    tokens_fit: set[str] = set()
    bar = tqdm(sweep.trials, "checking the trials", unit="trial", **progress_bar_options())
    for number, settings in enumerate(bar, 1):
        try:
            _check_trial(training.plan(config, dataset, f"{overrides} {as_overrides(settings)}"), settings, tokens_fit)
        except AffinageError as error:
            for problem in error.problems:
                where = f"{sweep.where(number)}: trial {number}, {as_overrides(settings)}"
                problems.setdefault(str(problem), Problem(where, str(problem)))
    raise_all(problems.values())


def _check_trial(plan: training.Plan, settings: Settings, tokens_fit: set[str]) -> None:
    if "validation" not in plan.splits or plan.resolved.trainer.skip_all_evaluation:
        skipped = "trainer.skip_all_evaluation is set" if "validation" in plan.splits else "the data has none"
        raise AffinageError(
            Problem("the validation split", f"{skipped}, so nothing says which trial is best.", "a validation loss")
        )
    if any(key.split(".")[0] == "backend" for key in settings):
        found = "where a trial is trained changes nothing of what it learns."
        raise AffinageError(Problem("backend", found, remedy="Write it into the config."))
    refuse_nothing_trainable(count_parameters(plan.resolved))
    of_tokens = as_overrides({key: settings[key] for key in settings if key.split(".")[0] not in WITHOUT_TOKENS})
    if of_tokens not in tokens_fit:
        refuse_truncation(plan)
        tokens_fit.add(of_tokens)


def go_on(series: Series) -> list[dict[str, Any]]:
    """Trains the trials that are not finished; returns all of them, the lowest validation loss first.

    A trial that fails is recorded, with what stopped it, and the others go on; when the sweep is taken up again, it is
    tried again. Raises KeyboardInterrupt after Ctrl-C, and AffinageError when the config or the data changed since or
    another process is at work, or when a search finds nothing more to try.

    Trials are trained one after the other, or side by side on the Ray cluster that the config asks for; what TPE draws
    from the results of others waits for them either way.
    """
    with ray_tasks.placed(series) as place, series.at_work():
        for number, outcome in _side_by_side(series, place) if place else _in_turn(series):
            _record(series, number, outcome)
    return ranked(series.state["trials"])


def _in_turn(series: Series) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each trial that is not finished, and what came of it."""
    n, started, todo = number_of_trials(series), time.monotonic(), _left(series)
    for done, number in enumerate(chain.from_iterable(_to_train(series))):
        left = time_left(started, done, todo - done)
        tqdm.write(f"trial {number} of {n}: {series.state['trials'][number - 1]['set']}{left}", file=sys.stderr)
        yield number, _try(series, number)
        release_memory()


def _side_by_side(series: Series, place: Placement) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same as tasks on a cluster, in the order in which they end."""
    n, search = number_of_trials(series), series.state.get("search", {})
    at_once = search.get("at_once")
    if n > AT_RANDOM and search.get("sampler") == "tpe":
        later = f"{at_once or 1} at a time, from what all before gave (executor.max_concurrent_trials)"
        tqdm.write(f"TPE draws its first {AT_RANDOM} trials at random, and later ones {later}", file=sys.stderr)
    with ray_tasks.shown(series, place, "trial", _left(series), at_once) as show:
        for numbers in _to_train(series):
            tasks = {number: (series.folder, number) for number in numbers}
            for number, outcome in ray_tasks.side_by_side(place, try_trial, tasks, _crashed(series), show, at_once):
                loss = f"validation loss {outcome['validation_loss']:.4f}" if "validation_loss" in outcome else "failed"
                settings = series.state["trials"][number - 1]["set"]
                tqdm.write(f"trial {number} of {n}: {loss}, {settings}", file=sys.stderr)
                yield number, outcome


def try_trial(folder: Path, number: int) -> dict[str, Any]:
    """What a task does for the series in `folder`; returns what came of the trial."""
    series = load(KIND, folder)
    ray_tasks.wait_for_former(series, number)
    try:
        return _try(series, number)
    finally:
        release_memory()


def _crashed(series: Series) -> Callable[[int, Exception], dict[str, Any]]:
    """What to record of a trial whose process died again and again."""

    def outcome(number: int, error: Exception) -> dict[str, Any]:
        begun, reason = series.run(number), " ".join(str(error).split())
        run = begun.folder.name if begun else None
        return {"status": "failed", "error": f"{type(error).__name__}: {reason}", "run": run}

    return outcome


def _left(series: Series) -> int:
    """How many trials are not finished."""
    return number_of_trials(series) - sum(trial["status"] == "finished" for trial in series.state["trials"])


def number_of_trials(series: Series) -> int:
    """How many trials the sweep has in the end; a search finds some of them later."""
    return series.state["search"]["trials"] if "search" in series.state else len(series.state["trials"])


def _to_train(series: Series) -> Iterator[list[int]]:
    """The numbers of trials that need no result of each other: those that are not finished, then those that a search
    finds after them, recorded first.
    """
    yield [trial["number"] for trial in series.state["trials"] if trial["status"] != "finished"]
    while len(trials := series.state["trials"]) < number_of_trials(series):
        search = Search(**series.state["search"])
        drawn = search.following_at_once([(trial["drawn"], trial.get("validation_loss")) for trial in trials])
        new = [
            _waiting(number, search.settings(one)) | {"drawn": one} for number, one in enumerate(drawn, len(trials) + 1)
        ]
        series.record(trials=[*trials, *new])
        yield [trial["number"] for trial in new]


def _try(series: Series, number: int) -> dict[str, Any]:
    """What came of one trial; whatever stops it is kept, bugs and memory that ran out with their traceback."""
    overrides = f"{series.state['set']} {series.state['trials'][number - 1]['set']}"
    try:
        plan = training.plan(series.config, series.state["data"]["dataset"], overrides)
        if number > AT_RANDOM and "search" in series.state:
            _check_trial(plan, {}, set())  # the trials before were checked before anything was trained
        run = series.train(number, plan)
        figures = _figures(run.manifest["training"])
    except Exception as error:
        reason, begun = " ".join(str(error).split()), series.run(number)
        if not isinstance(error, AffinageError):
            log = series.folder / f"trial-{number}.txt"
            log.write_text(traceback.format_exc(), encoding="utf-8")
            reason = f"{type(error).__name__}: {reason} (the whole traceback is in {display(log)})"
        return {"status": "failed", "error": reason, "run": begun.folder.name if begun else None}
    return figures | {"status": "finished", "error": None, "run": run.folder.name}


def _figures(trained: dict[str, Any]) -> dict[str, Any]:
    """The lowest validation loss of a training, and how long it took.

    Raises AffinageError when an evaluation gave no number: its weights could then be the ones that were kept.
    """
    losses = {e["step"]: e["validation_loss"] for e in trained["evaluations"] if "validation_loss" in e}
    for step, loss in losses.items():
        if loss is None or not math.isfinite(loss):  # in run.json, null stands for what is no number
            raise AffinageError(Problem(f"step {step}", "the validation loss is no number."))
    figures = {name: trained[name] for name in ("best_step", "steps", "seconds")}
    return figures | {"validation_loss": min(losses.values())}


def _record(series: Series, number: int, outcome: dict[str, Any]) -> None:
    trials = series.state["trials"]
    series.record(trials=[trial | outcome if trial["number"] == number else trial for trial in trials])


def ranked(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trials by rising validation loss, those without one last in the order of their numbers."""
    return sorted(trials, key=lambda trial: (trial.get("validation_loss") is None, trial.get("validation_loss") or 0))
