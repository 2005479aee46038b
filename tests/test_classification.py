"""Labels and JSON fields read from answers, against scikit-learn and against counts made by hand."""

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from affinage.errors import AffinageError
from affinage.scoring.classification import LabelReader, classification, confusion, reference_labels
from affinage.scoring.extraction import extraction, read_object, reference_objects
from affinage.scoring.statistics import replicates
from affinage.scoring.suite import Bootstrap, Classification, Extraction

LABELS = ["positif", "négatif", "mitigé"]
OPTIONS = Classification(labels=LABELS, map={"+": "positif", "très mauvais": "négatif"})
INSIDE = OPTIONS.model_copy(update={"find": "contained"})


def place(row):
    return f"predictions.jsonl:{row + 1}"


@pytest.mark.parametrize(
    ("text", "exact", "contained"),
    [
        ("positif", 0, 0),
        (" Positif.\n", 0, 0),
        ("NE\u0301GATIF", 1, 1),
        ("+", 0, 0),
        ("Très mauvais !", 1, 1),
        ("C'est positif.", 3, 0),
        ("positif, très positif", 3, 0),
        ("positif ou négatif", 3, 3),
        ("un avis très mauvais", 3, 1),
        ("positifs", 3, 3),
        ("diapositif", 3, 3),
        ("", 3, 3),
        ("...", 3, 3),
    ],
)
def test_an_answer_is_the_label_it_names_or_unparsed(text, exact, contained):
    assert (LabelReader(OPTIONS).number(text), LabelReader(INSIDE).number(text)) == (exact, contained)


def random_numbers(seed, n=80, unparsed=False):
    return np.random.default_rng(seed).choice(4 if unparsed else 3, n)


def f1_of_sklearn(wanted, found):
    """Over the labels that occur, unparsed answers (3) being an answer that is never right."""
    there = [label for label in range(3) if label in wanted or label in found]
    return f1_score(wanted, found, labels=there, average="macro", zero_division=0)


def test_accuracy_macro_f1_and_confusion_are_those_of_scikit_learn():
    wanted, found = random_numbers(1), random_numbers(2, unparsed=True)
    measures = classification(wanted, found, 3)
    assert measures["accuracy"].value() == pytest.approx(accuracy_score(wanted, found))
    assert measures["macro_f1"].value() == pytest.approx(f1_of_sklearn(wanted, found))
    assert measures["unparsed_rate"].value() == np.mean(found == 3) > 0
    assert confusion(wanted, found, 3) == confusion_matrix(wanted, found, labels=range(4)).tolist()


def test_macro_f1_of_resamples_is_that_of_scikit_learn_on_the_resampled_rows():
    wanted, found = random_numbers(3, 12), random_numbers(4, 12, unparsed=True)
    [values] = replicates([classification(wanted, found, 3)["macro_f1"]], np.arange(12), Bootstrap(n=200, seed=9))
    drawn = np.random.default_rng(9).integers(0, 12, (200, 12))
    assert values == pytest.approx([f1_of_sklearn(wanted[rows], found[rows]) for rows in drawn])


def test_answers_that_name_no_label_are_counted_as_wrong_and_never_dropped():
    # fault: leaving them out makes one right answer of four an accuracy of 1
    measures = classification(np.array([0, 0, 1, 2]), np.array([0, 3, 3, 3]), 3)
    assert measures["accuracy"].value() == 0.25
    assert measures["unparsed_rate"].value() == 0.75
    assert sum(map(sum, confusion(np.array([0, 0, 1, 2]), np.array([0, 3, 3, 3]), 3))) == 4


def test_references_that_are_no_label_are_an_error_with_line_and_labels():
    with pytest.raises(
        AffinageError, match=r"jsonl:2: 2 references are no label of the suite, such as 'bof'"
    ) as raised:
        reference_labels(["positif", "bof", "Négatif", "bof"], OPTIONS, place)
    assert "Allowed: positif, négatif, mitigé." in str(raised.value)
    assert reference_labels(["+", "MITIGÉ"], OPTIONS, place).tolist() == [0, 2]


def test_a_reference_is_not_searched_for_a_label_inside():
    with pytest.raises(AffinageError, match="1 references"):
        reference_labels(["plutôt positif"], INSIDE, place)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        (' \n{"a": 1}\n', {"a": 1}),
        ('{"a": 1} fin', None),
        ('{"a": 1', None),
        ("{'a': 1}", None),
        ("[1]", None),
        ('{"a": NaN}', None),
        ("", None),
        ("[" * 100_000, None),
        ('```json\n{"a": 1}\n```', None),
    ],
)
def test_an_answer_is_valid_when_the_whole_of_it_is_one_json_object(text, expected):
    assert read_object(text) == expected


@pytest.mark.parametrize("text", ['```json\n{"a": 1}\n```', '```\n{"a": 1}\n```\n', '{"a": 1}'])
def test_a_fence_is_taken_away_when_the_suite_says_so(text):
    assert read_object(text, strip_fence=True) == {"a": 1}


REFERENCES = [
    {"nom": "Zoé Été", "âge": 30, "villes": ["Lyon", "Nice"], "adresse": {"rue": "A"}},
    {"nom": "Max", "âge": None, "villes": [], "adresse": {"rue": "B"}},
]
FIELDS = Extraction(fields=["nom", "âge", "villes", "adresse.rue"])


def test_field_f1_is_that_counted_by_hand():
    answers = ['{"nom": "zoé  e\u0301té", "âge": 30.0, "villes": ["Nice", "Paris", "Nice"], "autre": 1}', "pas de JSON"]
    measures, fields = extraction(answers, REFERENCES, FIELDS)
    # right: nom, âge, Nice; found: nom, âge, 3 villes; wanted: nom, âge, 2 villes, rue, then nom and rue of the second
    assert measures["field_f1"].value() == pytest.approx(2 * 3 / (5 + 7))
    assert measures["field_f1"].rows.tolist() == pytest.approx([2 * 3 / (5 + 5), 0])
    assert measures["json_valid"].value() == 0.5
    assert fields["villes"] == {"precision": 1 / 3, "recall": 0.5, "f1": pytest.approx(0.4), "support": 2}
    assert fields["adresse.rue"] == {"precision": None, "recall": 0, "f1": 0, "support": 2}


def test_the_references_themselves_score_one():
    measures, _ = extraction([json.dumps(row) for row in REFERENCES], REFERENCES, FIELDS)
    assert measures["field_f1"].value() == measures["json_valid"].value() == 1


@pytest.mark.parametrize(("found", "wanted", "equal"), [("true", "1", 0), ("1", "1.0", 1), ('"1"', "1", 0)])
def test_values_of_other_types_are_other_values(found, wanted, equal):
    measures, _ = extraction([f'{{"a": {found}}}'], [json.loads(f'{{"a": {wanted}}}')], Extraction(fields=["a"]))
    assert measures["field_f1"].value() == equal


def test_a_row_without_any_value_counts_in_no_mean():
    measures, _ = extraction(["{}", '{"a": 1}'], [{"a": ""}, {"a": 1}], Extraction(fields=["a"]))
    assert measures["field_f1"].value() == 1
    assert np.isnan(measures["field_f1"].rows[0])


def test_references_that_are_no_object_are_an_error_with_the_line():
    with pytest.raises(AffinageError, match=r"predictions.jsonl:2: 1 references are no JSON object, such as 'Max'"):
        reference_objects(['{"a": 1}', "Max"], place)
