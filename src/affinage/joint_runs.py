"""Runs that several workers plan and begin together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from affinage import data, training
from affinage.before_after import choose_rows
from affinage.errors import AffinageError
from affinage.ludwig_ext import register
from affinage.ludwig_ext.config import PREFERENCE_TRAINERS
from affinage.ludwig_ext.workers import Workers
from affinage.model_types import ECD
from affinage.runs import Run
from affinage.training import Plan


def plan_together(make: Callable[[], Plan]) -> Plan:
    """The plan of all workers, which the first one makes, as it alone reads the rows.

    The others get those they answer and, unless they learn preferences, only as many of the rest as Ludwig wants to
    see. What the first finds to be mended, all of them raise.
    """
    team = Workers()
    if team.size() == 1:
        return make()
    made: Plan | AffinageError | None = None
    if team.is_coordinator():
        try:
            made = ready = make()
        except AffinageError as error:
            made = error
    given = team.broadcast_object(_small(made) if isinstance(made, Plan) else made)
    if isinstance(given, AffinageError):
        raise given
    if team.is_coordinator():
        return ready
    register()
    return replace(given, resolved=training.resolve(given.config, given.name))


def _small(ready: Plan) -> Plan:
    return replace(ready, resolved=None, splits=_few_rows(ready))


def _few_rows(ready: Plan) -> dict[str, pd.DataFrame]:
    if ready.resolved.model_type == ECD or ready.resolved.trainer.type in PREFERENCE_TRAINERS:
        return ready.splits
    few = {name: rows.head(data.MIN_TRAIN_ROWS) for name, rows in ready.splits.items()}
    return few | ({"test": choose_rows(ready.splits["test"])} if "test" in few else {})


def start_together(ready: Plan, results: Path, run: Run | None = None) -> Run:
    """The run of all workers, for which the first one makes a folder, unless it is there already."""
    team = Workers()
    if team.is_coordinator() and run is None:
        run = training.start(ready, results)
    return team.broadcast_object(run)
