"""Answers that name a label: accuracy, macro-F1, confusion matrix. An answer that names none is a class of its own."""

from collections.abc import Callable, Sequence

import numpy as np
import regex

from affinage.errors import AffinageError, Problem
from affinage.scoring.measures import Array, Measure, mean_of
from affinage.scoring.suite import Classification
from affinage.scoring.texts import label_key

UNPARSED = "(unparsed)"


class LabelReader:
    """Reads the label that a text names, by the labels and spellings of a suite."""

    def __init__(self, options: Classification) -> None:
        self.labels, self.find = options.labels, options.find
        names = {label: label for label in options.labels} | options.map
        self._numbers = {label_key(name): options.labels.index(label) for name, label in names.items()}
        longest_first = sorted(self._numbers, key=len, reverse=True)
        words = "|".join(map(regex.escape, longest_first))
        self._inside = regex.compile(rf"(?<![\p{{L}}\p{{M}}\p{{N}}])(?:{words})(?![\p{{L}}\p{{M}}\p{{N}}])")

    def number(self, text: str) -> int:
        """The place of the label among the labels; len(labels) when the text names none, or with `contained` several.

        Case, white space and punctuation do not count. `exact` asks for the label alone, `contained` finds it as whole
        words inside a longer answer.
        """
        key, none = label_key(text), len(self.labels)
        if self.find == "exact" or key in self._numbers:
            return self._numbers.get(key, none)
        found = {self._numbers[name] for name in self._inside.findall(key)}
        return found.pop() if len(found) == 1 else none


def reference_labels(references: Sequence[str], options: Classification, where: Callable[[int], str]) -> np.ndarray:
    """The label number of each reference (rows,).

    Raises AffinageError when one is no label; `where` names the place of a row.
    """
    reader = LabelReader(options.model_copy(update={"find": "exact"}))
    numbers = np.array([reader.number(text) for text in references])
    strange = [i for i, number in enumerate(numbers) if number == len(options.labels)]
    if strange:
        shown = ", ".join(sorted({repr(references[i]) for i in strange})[:5])
        found = f"{len(strange)} references are no label of the suite, such as {shown}."
        remedy = "Add them to classification.labels or classification.map."
        raise AffinageError(Problem(where(strange[0]), found, ", ".join(options.labels), remedy))
    return numbers


def classification(wanted: np.ndarray, found: np.ndarray, n_labels: int) -> dict[str, Measure]:
    """Accuracy, macro-F1 and the rate of unparsed answers, in 0..1, from label numbers (rows,).

    Macro-F1 is the mean over the labels that references or parsed answers have; unparsed answers count as missed.
    """
    right = (wanted == found).astype(float)
    sums = np.concatenate([_one_hot(labels, n_labels) for labels in (wanted, found, np.where(right, wanted, -1))], 1)
    return {
        "accuracy": mean_of(right),
        "macro_f1": Measure(sums, macro_f1_of_sums, right),
        "unparsed_rate": mean_of(found == n_labels),
    }


def macro_f1_of_sums(sums: Array) -> Array:
    """Macro-F1 (...) from sums (..., 3 * labels): references, answers and right answers of each label."""
    references, answers, right = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    both = references + answers
    f1 = np.where(both > 0, 2 * right / np.maximum(both, 1), 0)
    return f1.sum(axis=-1) / np.maximum((both > 0).sum(axis=-1), 1)


def confusion(wanted: np.ndarray, found: np.ndarray, n_labels: int) -> list[list[int]]:
    """Counts (labels + 1, labels + 1): rows are references, columns answers, the last one what could not be parsed."""
    size = n_labels + 1
    return np.bincount(wanted * size + found, minlength=size * size).reshape(size, size).tolist()


def _one_hot(numbers: np.ndarray, n_labels: int) -> Array:
    return (numbers[:, None] == np.arange(n_labels)).astype(float)
