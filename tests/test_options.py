"""Options of a dataset, as texts from a command line, and every one that is wrong."""

import pytest

from affinage.curation.balancing import Balance
from affinage.curation.options import read_columns, read_options, read_ratios
from affinage.errors import AffinageError

GIVEN = {"source": "questions.csv", "task": "questions"}


def test_texts_become_values():
    options = read_options(
        {
            **GIVEN,
            "split": "0.7/0.2/0.1",
            "columns": 'instruction=question output="ma réponse"',
            "unanswerable": "Pas de réponse.",
            "seed": "7",
            "sample": "100",
            "near": "0.85",
            "exact_duplicates": "false",
            "languages": "fr, en",
            "balance": "upsample=9",
            "special_tokens": "drop",
        }
    )
    assert options.split == {"train": 0.7, "validation": 0.2, "test": 0.1}
    expected = {"instruction": "question", "output": "ma réponse", "unanswerable": "Pas de réponse."}
    assert options.source_columns() == expected
    assert (options.seed, options.sample, options.balance) == (7, 100, Balance("upsample", 9))
    assert (options.rules.near_duplicates, options.rules.exact_duplicates) == (0.85, False)
    assert (options.rules.languages, options.rules.special_tokens_action) == (["fr", "en"], "drop")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [({}, 0.8), ({"near": "0.9"}, 0.9), ({"near": "0.9", "near_leaks": "0.7"}, 0.7), ({"near_leaks": "off"}, None)],
)
def test_near_leaks_follow_near_duplicates_unless_told(typed, expected):
    assert read_options({**GIVEN, **typed}).leak_threshold() == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("task", "../voix", r"--task: is '\.\./voix'\. Allowed: letters, digits"),
        ("task", ".cache", "--task"),
        ("task", "a/b", "--task"),
        ("task", "voix\n", "--task"),
        ("source", "", "--source: is ''.* Allowed: a file, a folder, hf://"),
        ("split", "0.8/0.2", r"--split: '0.8/0.2' is 2 parts\. Allowed: parts for train, validation and test"),
        ("split", "0.8/0.3/0.1", r"--split: '0.8/0.3/0.1': the parts sum to 1\.2\."),
        ("split", "a/b/c", "--split: 'a/b/c' holds what is no number"),
        ("split", "nan/0/1", "--split: 'nan/0/1': a part of nan"),
        ("split", "taken", "--split: 'taken' is 1 part"),
        ("columns", "instruction", "--columns: 'instruction' is no pair"),
        ("columns", "instruction=", "--columns: 'instruction=' is no pair"),
        ("columns", 'output="a', "--columns: .* quotation mark"),
        ("columns", "output=a output=b", "--columns: .* twice"),
        ("by", "label", "--by: is 'label'. Allowed: 'group' or 'row'"),
        ("stratify", "group", "--stratify: is 'group'. Allowed: 'label'"),
        ("seed", "4.5", "--seed: is '4.5'. Allowed: a whole number"),
        ("sample", "0", "--sample: is '0'. Allowed: a whole number of rows, at least 1"),
        ("near", "0", "--near: is '0'. Allowed: greater than 0"),
        ("near", "80", "--near: is '80'. Allowed: less than or equal to 1"),
        ("near_leaks", "no", "--near-leaks: is 'no'. Allowed: a number above 0 and at most 1, or off"),
        ("exact_duplicates", "maybe", "--exact-duplicates: is 'maybe'. Allowed: true or false"),
        ("languages", "klingon", "--languages: unknown language codes klingon; known are"),
        ("html", "drop", "--html: is 'drop'. Allowed: 'strip', 'report' or 'keep'"),
        ("pii", "hide", "--pii: is 'hide'. Allowed: 'report', 'mask', 'drop' or 'error'"),
        ("on_leak", "drop", "--on-leak: is 'drop'. Allowed: 'error', 'drop_from_train' or 'warn'"),
        ("balance", "cap", "--balance: 'cap' is no rule. Allowed: cap=N"),
        ("max_chars", "-5", "--max-chars: is '-5'. Allowed: greater than 0"),
        ("min_words", "few", "--min-words: is 'few'. Allowed: a whole number"),
        ("stratfy", "label", "--stratfy: no such option. Did you mean --stratify"),
    ],
)
def test_a_wrong_option_is_named_with_what_was_found_and_what_is_allowed(name, value, message):
    with pytest.raises(AffinageError, match=message) as caught:
        read_options({**GIVEN, name: value})
    assert len(caught.value.problems) == 1


def test_all_wrong_options_are_reported_together():
    with pytest.raises(AffinageError) as caught:
        read_options({"task": "", "near": "9", "seed": "x", "colour": "red"})
    assert {problem.where for problem in caught.value.problems} == {
        "--source",
        "--task",
        "--near",
        "--seed",
        "--colour",
    }


def test_what_a_manifest_says_of_options_names_no_folder(tmp_path):
    source = tmp_path / "mes questions.csv"
    source.write_text("x")
    options = read_options({"source": str(source), "task": "q", "split": "0.8/0.1/0.1", "replace": True})
    assert options.command() == [
        "tools/prepare_data.py", "--source", "mes questions.csv", "--task", "q", "--split", "0.8/0.1/0.1"
    ]  # fmt: skip
    assert options.to_json()["source"] == "mes questions.csv"
    assert "replace" not in options.to_json() and str(tmp_path) not in str(options.to_json())


@pytest.mark.parametrize("place", ["hf://user/name:fr@main", "ludwig://alpaca", "mistralai/Mistral-7B-v0.1"])
def test_what_is_no_path_stays_as_it_is(place):
    options = read_options({"source": place, "task": "q", "tokenizer": place})
    assert options.to_json()["source"] == options.to_json()["tokenizer"] == place


def test_texts_are_read_alone_too():
    assert read_ratios("1/0/0") == {"train": 1, "validation": 0, "test": 0}
    assert read_columns("") == {}
