"""Scores predictions: metrics with confidence intervals, and paired differences between systems."""

from affinage.scoring.catalogue import ALL_METRICS, HIGHER_IS_BETTER, IN_0_1
from affinage.scoring.measures import Diversity, Measure
from affinage.scoring.measuring import Measured, measure
from affinage.scoring.origin import Origin, enclosing_run, origin_of
from affinage.scoring.predictions_file import PREDICTIONS, SYSTEMS, Predictions, predictions_of, read_predictions
from affinage.scoring.score import score, write_metrics
from affinage.scoring.statistics import is_significant, sign_test, summarise
from affinage.scoring.suite import Suite
from affinage.scoring.suite_file import load_suite, read_suite

__all__ = [
    "ALL_METRICS",
    "HIGHER_IS_BETTER",
    "IN_0_1",
    "PREDICTIONS",
    "SYSTEMS",
    "Diversity",
    "Measure",
    "Measured",
    "Origin",
    "Predictions",
    "Suite",
    "enclosing_run",
    "is_significant",
    "load_suite",
    "measure",
    "origin_of",
    "predictions_of",
    "read_predictions",
    "read_suite",
    "score",
    "sign_test",
    "summarise",
    "write_metrics",
]
