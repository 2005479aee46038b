"""curate.yaml: every mistake is named with its line, before a model is asked anything."""

import pytest

from affinage.curation.steps.expressions import evaluator
from affinage.curation.steps.recipe_file import read_recipe
from affinage.curation.steps.templates import fill, placeholders
from affinage.errors import AffinageError
from affinage.paths import DATASETS

RIGHT = """\
source: rows.jsonl
model: llama3.1:8b
options: {num_ctx: 4096}
steps:
  - step: label
    labels: [a, b]
    prompt: "{instruction} {labels}"
  - step: filter
    keep: len(output) > 3 and label == "a"
  - step: augment
    n_per_row: 2
    prompt: "{instruction} {label}"
split: {ratios: 0.8/0.1/0.1}
"""
# What to change in the right recipe, the line and key named, and words of the message.
MISTAKES = [
    ("model: llama3.1:8b", "modle: llama3.1:8b", ":2 modle", "unknown key. Did you mean 'model'?"),
    ("model: llama3.1:8b\n", "", " model", "is missing"),
    ("num_ctx: 4096", "num_ctxt: 4096", ":3 options.num_ctxt", "Did you mean 'num_ctx'?"),
    ("num_ctx: 4096", "num_ctx: many", ":3 options.num_ctx", "'many' stands there; input should be a valid integer"),
    ("- step: label", "- step: labell", ":5 steps.1", "there is no step 'labell'. Did you mean 'label'?"),
    ("- step: filter\n    keep", "- keep", ":8 steps.2", "names no step"),
    ("labels: [a, b]", "labels: [a]", ":6 steps.1.labels", "at least 2"),
    ("labels: [a, b]", "labels: [a, a]", ":5 steps.1", "stands there twice"),
    ("labels: [a, b]", "labels: [a, b]\n    vote: 3", ":7 steps.1.vote", "Did you mean 'votes'?"),
    ("labels: [a, b]", "labels: [a, b]\n    votes: 2\n    min_agreement: 3", ":5 steps.1", "can never be reached"),
    ("labels: [a, b]", "labels: [a, b]\n    votes: 3\n    temperature: 0", ":5 steps.1", "every vote is the same"),
    ("labels: [a, b]", "labels: [a, b]\n    prompt_file: p.md", ":5 steps.1", "either 'prompt' or 'prompt_file'"),
    ('keep: len(output) > 3 and label == "a"', 'keep: label = "a"', ":9 steps.2.keep", "to compare, write =="),
    ("keep: len(output)", "keep: size(output)", ":9 steps.2.keep", "'size' is no function here"),
    ("keep: len(output)", "keep: len(outputs)", ":9 steps.2.keep", "did you mean 'output'?"),
    ("{instruction} {labels}", "{instructions} {labels}", ":7 steps.1.prompt", "{instructions}: 'instructions' is no"),
    ("{instruction} {label}", "{instruction} {theme}", ":12 steps.3.prompt", "'theme' is no column here"),
    ("n_per_row: 2", "n_per_row: 0", ":11 steps.3.n_per_row", "greater than or equal to 1"),
    ("n_per_row: 2", "rewrites: [answer]", ":11 steps.3.rewrites.1", "'instruction', 'input' or 'output'"),
    ("n_per_row: 2", "where: label ==", ":11 steps.3.where", "cannot be read"),
    ("n_per_row: 2", "name: label", ":10 steps.3", "a second step called 'label'"),
    ("0.8/0.1/0.1", "0.8/0.1", ":13 split.ratios", "2 part"),
    ("0.8/0.1/0.1", "0.8/0.1/0.2", ":13 split.ratios", "sum to 1.1"),
    ("split: {", "split: {by: groups, ", ":13 split.by", "'group' or 'row'"),
    (
        "- step: filter\n    keep",
        "- {step: rebalance, rule: cap}\n  - step: filter\n    keep",
        ":8 steps.2.rule",
        "cap=N",
    ),
    ("- step: filter", "- {step: rebalance, rule: cap=3}\n  - step: filter", ":9 steps.3", "cannot follow rebalance"),
    ("- step: filter", "- {step: segment, prompt: '{text}'}\n  - step: filter", ":8 steps.2", "only be the first"),
    ("  - step: filter", " - step: filter", ":8", "not valid YAML"),
    ("model: ", "model: x\nmodel: ", ":3", "the key 'model' stands there twice"),
]


@pytest.mark.parametrize(("right", "wrong", "where", "words"), MISTAKES, ids=[wrong[:30] for _, wrong, *_ in MISTAKES])
def test_a_mistake_is_named_with_its_line(tmp_path, right, wrong, where, words):
    assert right in RIGHT
    path = tmp_path / "curate.yaml"
    path.write_text(RIGHT.replace(right, wrong, 1))
    with pytest.raises(AffinageError) as raised:
        read_recipe(path).check_columns(["label"] if "label ==" in wrong else [])
    assert f"{path}{where}" in str(raised.value) or f"{path}:1{where}" in str(raised.value), raised.value
    assert words in str(raised.value), raised.value


def test_all_mistakes_are_named_at_once_in_the_order_of_their_lines(tmp_path):
    path = tmp_path / "curate.yaml"
    path.write_text(RIGHT.replace("source", "sauce").replace("labels: [", "label: [").replace("keep:", "kept:"))
    with pytest.raises(AffinageError) as raised:
        read_recipe(path)
    lines = [int(str(problem).removeprefix(f"{path}:").split()[0].rstrip(":")) for problem in raised.value.problems]
    assert len(lines) == 6 and lines == sorted(lines)


def test_the_right_recipe_is_read_with_its_defaults(tmp_path):
    path = tmp_path / "curate.yaml"
    path.write_text(RIGHT)
    file = read_recipe(path)
    file.check_columns([])
    label, keep, augment = file.recipe.steps
    assert (label.name, keep.name, augment.name) == ("label", "filter", "augment")
    assert file.recipe.split.ratios == {"train": 0.8, "validation": 0.1, "test": 0.1}
    assert file.recipe.options_of(augment, 10).model_dump().items() >= {"seed": 133, "temperature": 0.8}.items()
    assert read_recipe(path, "mistral").recipe.model == "mistral"


def test_a_recipe_that_is_not_there_or_holds_nothing_is_an_error(tmp_path):
    with pytest.raises(AffinageError, match="archives-demo"):
        read_recipe(tmp_path / "curate.yaml")
    (tmp_path / "curate.yaml").write_text("")
    with pytest.raises(AffinageError, match="holds no keys"):
        read_recipe(tmp_path / "curate.yaml")


def test_a_prompt_may_lie_in_a_file_beside_the_recipe(tmp_path):
    path = tmp_path / "curate.yaml"
    path.write_text(RIGHT.replace('prompt: "{instruction} {labels}"', "prompt_file: label.md"))
    with pytest.raises(AffinageError, match=r"curate\.yaml:7 steps\.1\.prompt_file: 'label\.md' cannot be read"):
        read_recipe(path)
    (tmp_path / "label.md").write_text("Thème de {instruction} ?\n{labels}")
    assert read_recipe(path).recipe.steps[0].prompt == "Thème de {instruction} ?\n{labels}"


def test_votes_draw_with_some_temperature_unless_one_is_given(tmp_path):
    path = tmp_path / "curate.yaml"
    path.write_text(RIGHT.replace("labels: [a, b]", "labels: [a, b]\n    votes: 3\n    min_agreement: 2"))
    assert read_recipe(path).recipe.steps[0].temperature == 0.7
    path.write_text(RIGHT)
    assert read_recipe(path).recipe.steps[0].temperature == 0


def test_every_shipped_recipe_is_right():
    recipes = sorted(DATASETS.glob("*/curate.yaml"))
    assert recipes
    for path in recipes:
        read_recipe(path).check_columns([])


@pytest.mark.parametrize(
    ("template", "values", "filled"),
    [
        ("{a} et {b}", {"a": "{b}", "b": "{a}"}, "{b} et {a}"),
        ('{a} {"label": {"x": 1}} {}', {"a": "}{"}, '}{ {"label": {"x": 1}} {}'),
        ("{{a}} {a}", {"a": 1}, "{a} 1"),
        ("{a!r:>10} {0[x]} {a.b}", {"a": "x"}, "{a!r:>10} {0[x]} {a.b}"),
        ("{réponse} \\1 \\g<0>", {"réponse": r"\1 \g<0>"}, r"\1 \g<0> \1 \g<0>"),
    ],
)
def test_braces_of_the_data_and_of_json_mean_nothing(template, values, filled):
    assert fill(template, {"0": "zero"} | values) == filled


def test_placeholders_are_found_once_each():
    assert placeholders('{b} {{c}} {a} {b} {"d": 1}') == ["b", "a"]


ROW = {"output": "Bonjour à tous", "label": "x", "année": "1850", "n": 3}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('len(output) > 3 and label != "y"', True),
        ('label in ["y", "z"] or words(output) == 3', True),
        ('not output.lower().startswith("bon")', False),
        ('matches("^Bonjour", output)', True),
        ("int(année) >= 1900", False),
    ],
)
def test_an_expression_says_true_or_false_of_a_row(expression, value):
    assert evaluator(expression)(ROW) is value


@pytest.mark.parametrize(
    "expression",
    [
        "().__class__.__bases__[0].__subclasses__()",
        "output.__class__ == 1",
        'open("/etc/passwd") == 1',
        '__import__("os").system("true") == 0',
        "9**9**9 > 1",
        '"a" * 10**9 == ""',
        'label.format(output) == ""',
        "lambda: True",
        "(label := 3) == 3",
        "len(output)",
        "n > output",
        'matches("(", output)',
        "label; output",
        "",
        "(" * 500,
    ],
)
def test_an_expression_can_do_no_harm_and_gives_nothing_but_true_or_false(expression):
    with pytest.raises(ValueError):
        evaluator(expression)(ROW)
