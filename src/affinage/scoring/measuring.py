"""Every metric of a suite on every system of a predictions file, before anything is resampled."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from affinage.scoring import bert, classification, extraction, likelihood, rouge, surface
from affinage.scoring.measures import Array, Diversity, Measure, mean_of
from affinage.scoring.predictions_file import Predictions
from affinage.scoring.suite import Suite
from affinage.scoring.texts import Words

LIKELIHOOD = ("perplexity", "bits_per_byte")
FLAGGED = {"empty_rate": "", "limit_rate": "_stop", "repetition_rate": "_flags"}  # the column that tells


@dataclass
class Measured:
    """The measures by system and name, how they were taken, what else they gave, and what could not be measured."""

    systems: dict[str, dict[str, Measure | Diversity]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def measure(predictions: Predictions, suite: Suite, progress: Callable[[int], Any] = lambda systems: None) -> Measured:
    """Measures each system with the metrics of the suite, in the suite's order. `progress` is told of each system.

    A metric whose column is missing is left out with a warning. Raises AffinageError for references that the suite's
    classification or extraction cannot read, and for an encoder that cannot be loaded.
    """
    work = _Work(predictions, suite)
    for system in predictions.systems:
        found = work.measures(system)
        work.measured.systems[system] = {name: found[name] for name in suite.all_metrics if name in found}
        progress(1)
    work.warn_of_missing()
    return work.measured


class _Work:
    """What the systems share: the references as they are compared, and the record of how."""

    def __init__(self, predictions: Predictions, suite: Suite) -> None:
        self.predictions, self.suite, self.measured = predictions, suite, Measured()
        self.references: list[str] = predictions.column("reference")
        self.words = Words(suite.rouge.language)
        self.settings = self.measured.settings
        self.wanted_labels, self.wanted_objects = np.empty(0, int), list[dict[str, Any]]()
        if suite.classification:
            self.wanted_labels = classification.reference_labels(
                self.references, suite.classification, predictions.where
            )
        if suite.extraction:
            self.wanted_objects = extraction.reference_objects(self.references, predictions.where)
        nll = [f"{system}_nll" for system in predictions.systems if predictions.has(f"{system}_nll")]
        columns = [likelihood.column(predictions.rows, name) for name in nll]
        self.with_nll = np.all([np.isfinite(values) for values in columns], axis=0)

    def measures(self, system: str) -> dict[str, Measure | Diversity]:
        answers = self.predictions.column(system)
        return {
            **self._texts(answers),
            **self._behaviour(system, answers),
            **self._likelihood(system),
            **self._sections(system, answers),
        }

    def _texts(self, answers: list[str]) -> dict[str, Measure | Diversity]:
        suite, asked, found = self.suite, self.suite.metrics, dict[str, Measure | Diversity]()
        if "exact_match" in asked:
            found["exact_match"] = surface.exact_match(answers, self.references, suite.exact_match)
            self.settings["exact_match"] = suite.exact_match
        if {"token_f1", "distinct_2"} & set(asked):
            words = [self.words.tokenize(text) for text in answers]
            wanted = [self.words.tokenize(text) for text in self.references]
            found |= {"token_f1": surface.token_f1(words, wanted), "distinct_2": Diversity.of(words)}
        if set(rouge.TYPES) & set(asked):
            scores = list(rouge.rouge(answers, self.references, suite.rouge))
            found |= {name: mean_of([score[name] for score in scores]) for name in rouge.TYPES}
            self.settings["rouge"] = rouge.settings(suite.rouge)
        for name, corpus in (("chrf", surface.chrf), ("bleu", surface.bleu)):
            if name in asked:
                found[name], self.settings[name] = corpus(answers, self.references)
        return found | {"length_ratio": surface.length_ratio(answers, self.references)}

    def _behaviour(self, system: str, answers: list[str]) -> dict[str, Measure]:
        found = {"empty_rate": mean_of([not answer.strip() for answer in answers])}
        if self.predictions.has(f"{system}_stop"):
            found["limit_rate"] = mean_of([stop == "length" for stop in self.predictions.column(f"{system}_stop")])
        if self.predictions.has(f"{system}_flags"):
            flags = self.predictions.column(f"{system}_flags")
            found["repetition_rate"] = mean_of(["repeats" in raised for raised in flags])
        return found

    def _likelihood(self, system: str) -> dict[str, Measure]:
        found: dict[str, Measure] = {}
        if not self.predictions.has(f"{system}_nll"):
            return found
        nll: Array = np.where(self.with_nll, likelihood.column(self.predictions.rows, f"{system}_nll"), np.nan)
        for name, column, formula in (
            ("perplexity", "reference_tokens", likelihood.perplexity),
            ("bits_per_byte", "reference_bytes", likelihood.bits_per_byte),
        ):
            if self.predictions.has(column):
                found[name] = formula(nll, likelihood.column(self.predictions.rows, column))
        return found

    def _sections(self, system: str, answers: list[str]) -> dict[str, Measure]:
        suite, extras, found = self.suite, self.measured.extras, dict[str, Measure]()
        if suite.classification:
            reader, n = classification.LabelReader(suite.classification), len(suite.classification.labels)
            numbers = np.array([reader.number(answer) for answer in answers])
            found |= classification.classification(self.wanted_labels, numbers, n)
            names = {"labels": [*suite.classification.labels, classification.UNPARSED]}
            extras.setdefault("confusion", names)[system] = classification.confusion(self.wanted_labels, numbers, n)
            self.settings["classification"] = suite.classification.model_dump()
        if suite.extraction:
            measures, fields = extraction.extraction(answers, self.wanted_objects, suite.extraction)
            found |= measures
            extras.setdefault("fields", {})[system] = fields
            self.settings["extraction"] = suite.extraction.model_dump()
        if suite.bert_score:
            found["bert_score"], settings = bert.bert_score(answers, self.references, suite.bert_score)
            self.settings.setdefault("bert_score", {})[system] = settings
        return found

    def warn_of_missing(self) -> None:
        """One warning for each system and reason why a metric that was asked for has no value."""
        for system, measures in self.measured.systems.items():
            reasons: dict[str, list[str]] = {}
            for name in self.suite.all_metrics:
                if reason := self._reason(system, name, measures):
                    reasons.setdefault(reason, []).append(name)
            self.measured.warnings += [
                f"{', '.join(names)} of {system}: {reason}." for reason, names in reasons.items()
            ]
        without = int(np.sum(~self.with_nll))
        if without and set(LIKELIHOOD) & set(self.suite.metrics):
            self.measured.warnings.append(
                f"perplexity, bits_per_byte: {without} of {len(self.predictions)} rows are left out, because their "
                "prompt and reference exceed the context of the model."
            )

    def _reason(self, system: str, name: str, measures: Mapping[str, Measure | Diversity]) -> str:
        if name in measures:
            return "" if np.isfinite(measures[name].value()) else "no value, there is nothing to divide by"
        if name in LIKELIHOOD:
            if system == "fewshot":  # references are weighed without examples
                return ""
            if self.predictions.has(f"{system}_nll"):
                return f"no column reference_{'tokens' if name == 'perplexity' else 'bytes'}"
            return f"no column {system}_nll"
        return f"no column {system}{FLAGGED[name]}"
