"""The parts of a comparison that need no run: differences of settings and words, the curves, the data of the page."""

import json
import random
import re
import xml.etree.ElementTree as ET

import pytest

from affinage.comparison.config_diff import config_differences
from affinage.comparison.curves import MOST_POINTS, Curve, loss_drawing, thinned
from affinage.comparison.rows import MOST_CHARACTERS, as_script, chosen_rows, shortened
from affinage.comparison.word_diff import ADDED, LARGEST, REMOVED, SAME, word_diff


def differing(*configs):
    return {difference.key: difference.values for difference in config_differences(list(configs))}


def test_only_the_keys_that_differ_are_listed_with_dotted_names():
    one = {"trainer": {"learning_rate": 0.1, "epochs": 2}, "adapter": {"r": 4}}
    other = {"trainer": {"learning_rate": 0.2, "epochs": 2}, "adapter": {"r": 4}}
    assert differing(one, other, one) == {"trainer.learning_rate": ["0.1", "0.2", "0.1"]}


def test_a_section_that_is_switched_off_is_one_difference():
    one = {"quantization": {"bits": 4, "mode": None, "qat": False}, "adapter": None}
    other = {"quantization": None, "adapter": None}
    assert differing(one, other) == {"quantization": ["bits: 4", "none"]}


def test_a_key_that_one_config_lacks_is_not_set():
    assert differing({"a": {"b": 1}}, {"a": {}}) == {"a.b": ["1", "not set"]}


def test_features_are_compared_one_by_one_and_what_ludwig_derives_is_left_out():
    one = {"input_features": [{"name": "prompt", "proc_column": "x", "lowercase": False}]}
    other = {"input_features": [{"name": "prompt", "proc_column": "y", "lowercase": True}]}
    assert differing(one, other) == {"input_features.0.lowercase": ["false", "true"]}


@pytest.mark.parametrize("value", [["q_proj"], {"a": 1}, "text", 3, None, True])
def test_equal_values_of_every_type_are_no_difference(value):
    assert differing({"key": value}, {"key": value}) == {}


def joined(pieces, *kinds):
    return "".join(text for kind, text in pieces if kind in kinds)


def test_the_pieces_join_to_both_texts_whatever_they_hold():
    draw = random.Random(0)
    words = ["l'été", "le chat", "\n", "  ", "œuf", "!", "…", "<b>", "🐈", "mange", ""]
    for _ in range(500):
        reference, answer = ("".join(draw.choices(words, k=draw.randint(0, 8))) for _ in range(2))
        pieces = word_diff(reference, answer)
        assert joined(pieces, SAME, ADDED) == answer
        assert joined(pieces, SAME, REMOVED) == reference
        assert all(text for _, text in pieces)


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [
        ("Le chat dort.", "Le chat dort.", [(SAME, "Le chat dort.")]),
        ("Le chat dort.", "Le chien dort.", [(SAME, "Le "), (REMOVED, "chat"), (ADDED, "chien"), (SAME, " dort.")]),
        ("été", "ete", [(REMOVED, "été"), (ADDED, "ete")]),
        ("oui", "", [(REMOVED, "oui")]),
        ("", "non", [(ADDED, "non")]),
        ("a b c", "x y z", [(REMOVED, "a b c"), (ADDED, "x y z")]),  # the spaces between are no common ground
    ],
)
def test_a_difference_is_told_word_by_word(reference, answer, expected):
    assert word_diff(reference, answer) == expected


def test_very_long_texts_are_told_apart_as_one_block():
    n = int(LARGEST**0.5) + 1
    reference, answer = "a " * n, "b " * n
    assert word_diff(reference, answer) == [(REMOVED, reference), (ADDED, answer)]


def drawn(*curves):
    """The drawing as a tree, which it is only when everything in it is escaped."""
    return ET.fromstring(str(loss_drawing(list(curves))))


def points_of(line):
    return [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]


def test_every_run_has_its_training_line_and_its_dashed_validation_line():
    curve = Curve("A", 0, [(1, 2.0), (2, 1.0), (3, 0.5)], [(2, 1.1), (3, 0.6)])
    groups = drawn(curve, curve._replace(letter="B", colour=1)).findall("g")
    assert [(group.get("class"), group.get("data-run")) for group in groups] == [("c0", "A"), ("c1", "B")]
    training, validation = groups[0].findall("polyline")
    assert (training.get("class"), validation.get("class")) == ("training", "validation")
    assert (len(points_of(training)), len(points_of(validation))) == (3, 2)
    assert groups[0].find("circle/title").text == "A: validation loss 1.1000 at step 2"


def test_losses_lie_on_a_logarithmic_axis_and_steps_on_a_linear_one():
    (group,) = drawn(Curve("A", 0, [(10, 1.0), (20, 0.1), (30, 0.01)], [])).findall("g")
    (x1, y1), (x2, y2), (x3, y3) = points_of(group.find("polyline"))
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2) and x1 < x2
    assert y2 - y1 == pytest.approx(y3 - y2, abs=0.2) and y1 < y2


def test_the_best_losses_are_told_to_those_who_do_not_see_the_drawing():
    label = drawn(Curve("A", 0, [(1, 2.0)], [(1, 1.5), (2, 1.25)]), Curve("B", 1, [(1, 2.0)], [])).get("aria-label")
    assert label == "Loss of 2 runs by optimizer step. Lowest validation loss: A 1.25."


@pytest.mark.parametrize("training", [[(5, 0.3)], [(1, 0.3), (2, 0.3)], [(1, 1e-7), (2, 1e5)]])
def test_one_point_equal_losses_and_extreme_ones_can_be_drawn(training):
    (group,) = drawn(Curve("A", 0, training, [])).findall("g")
    assert all(0 <= value <= 760 for point in points_of(group.find("polyline")) for value in point)


def test_no_loss_at_all_gives_no_drawing():
    assert loss_drawing([Curve("A", 0, [], [])]) == ""
    assert loss_drawing([]) == ""


def test_many_points_become_means_that_keep_the_mean():
    points = [(float(step), 1.0 + step % 7) for step in range(5000)]
    fewer = thinned(points)
    assert len(fewer) == MOST_POINTS
    assert sum(loss for _, loss in fewer) / MOST_POINTS == pytest.approx(sum(loss for _, loss in points) / 5000)


@pytest.mark.parametrize("text", ["</script><img>", "<!--", "a\u2028b", '"', "\\", "\0", "🐈 é"])
def test_any_text_comes_back_from_the_script_and_none_can_leave_it(text):
    script = str(as_script({"text": text}))
    assert json.loads(script) == {"text": text}
    assert not re.search(r"<", script)


def test_a_long_text_is_cut_and_says_by_how_much():
    assert shortened("a" * MOST_CHARACTERS) == "a" * MOST_CHARACTERS
    cut = shortened("a" * (MOST_CHARACTERS + 1234))
    assert cut.startswith("a" * MOST_CHARACTERS) and "1,234 more characters" in cut


def test_of_too_many_rows_some_are_taken_evenly():
    assert chosen_rows(list(range(10)), 10) == list(range(10))
    assert chosen_rows(list(range(100)), 10) == list(range(0, 100, 10))
