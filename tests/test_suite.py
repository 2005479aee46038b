"""Suite files: what they say, and that every mistake in one is named with its line, what is allowed and the remedy."""

import pytest
import yaml
from transformers import GenerationConfig

from affinage.errors import AffinageError
from affinage.paths import SUITES
from affinage.scoring import Suite, load_suite, read_suite
from affinage.scoring.catalogue import ALL_METRICS, HIGHER_IS_BETTER, IN_0_1, TEXT_METRICS

SHIPPED = sorted(SUITES.glob("*.yaml"))


@pytest.fixture
def suite(tmp_path):
    """The suite of a text, read from a file called tache.yaml."""

    def make(text):
        path = tmp_path / "tache.yaml"
        path.write_text(text, encoding="utf-8")
        return read_suite(path)

    return make


def problems(suite, text):
    with pytest.raises(AffinageError) as raised:
        suite(text)
    return [str(problem) for problem in raised.value.problems]


def test_there_are_shipped_suites():
    assert {path.stem for path in SHIPPED} >= {"voix-passive", "alpaca"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_suite_is_read_under_its_name_and_asks_greedily(path):
    suite = load_suite(path.stem)
    assert suite.name == path.stem
    assert suite.generation["do_sample"] is False
    assert set(suite.all_metrics) <= set(ALL_METRICS)


def test_a_task_without_a_file_gets_the_defaults_under_that_name(tmp_path):
    suite = load_suite("nulle-part", folder=tmp_path)
    assert (suite.name, suite.split, suite.fewshot, suite.batch_size) == ("default", "test", 0, 32)
    assert suite.all_metrics == list(TEXT_METRICS)
    assert suite == load_suite("voix-passive", "default", folder=tmp_path)


def test_a_named_suite_that_is_not_there_is_an_error_with_the_nearest_name():
    with pytest.raises(AffinageError, match=r"voix-pasive.yaml: no such suite\. .*Did you mean 'voix-passive'\?"):
        load_suite("alpaca", "voix-pasive")


def test_a_named_suite_goes_before_that_of_the_task(tmp_path):
    (tmp_path / "tache.yaml").write_text("fewshot: 1")
    (tmp_path / "autre.yaml").write_text("fewshot: 2")
    assert load_suite("tache", folder=tmp_path).fewshot == 1
    assert load_suite("tache", "autre", folder=tmp_path).fewshot == 2


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}"])
def test_an_empty_file_is_the_defaults_under_its_own_name(suite, text):
    assert suite(text).name == "tache"
    assert suite(text).all_metrics == list(TEXT_METRICS)


def test_metrics_are_those_listed_and_those_of_the_sections(suite):
    read = suite("metrics: [chrf, exact_match]\nclassification: {labels: [oui, 'non']}\nextraction: {fields: [nom]}")
    assert read.all_metrics == [
        "exact_match",
        "chrf",
        "accuracy",
        "macro_f1",
        "unparsed_rate",
        "json_valid",
        "field_f1",
    ]


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        ("{}", {"do_sample": False}),
        ("{temperature: 0, max_new_tokens: 20, batch_size: 4}", {"do_sample": False, "max_new_tokens": 20}),
        ("{temperature: 0.7, top_p: 0.9}", {"do_sample": True, "temperature": 0.7, "top_p": 0.9}),
        ("{max_new_tokens: null}", {"do_sample": False}),
    ],
)
def test_generation_gives_the_settings_that_transformers_knows(suite, generation, expected):
    read = suite(f"generation: {generation}")
    assert read.generation == expected
    assert GenerationConfig(**read.generation).do_sample is expected["do_sample"]


def test_the_judge_may_say_anything_for_now(suite):
    judge = {"model": "llama3.1:8b", "rubric": {"criteria": [1, 2]}}
    assert suite(yaml.safe_dump({"judge": judge})).judge == judge


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrix: default", "1: unknown key 'metrix'. Allowed: metrics, exact_match, rouge, generation, fewshot"),
        ("metrix: default", "Did you mean 'metrics'?"),
        ("split: test\ntop_p: 0.5", "2: unknown key 'top_p'."),
        ("split: test\ntop_p: 0.5", "Did you mean 'generation.top_p'?"),
        ("rouge:\n  stemer: none", "2: unknown key 'stemer' in 'rouge'. Allowed: tokenizer, language, stemmer"),
        ("metrics: [blue]", "'metrics.1' is the text 'blue'. Allowed: exact_match"),
        ("metrics:\n- chrf\n- blue", "3: 'metrics.2' is the text 'blue'."),
        ("metrics: [blue]", "Did you mean 'bleu'?"),
        ("metrics: [accuracy]", "It comes with a section 'classification:'."),
        ("metrics: []", "'metrics' is empty or too short. Allowed: 1 or more."),
        ("metrics: chrf", "'metrics' is the text 'chrf'. Allowed: a list. Write it as a list: [chrf]."),
        ("split: tests", "'split' is the text 'tests'. Allowed: train, validation, test. Did you mean 'test'?"),
        ("exact_match: true", "'exact_match' is true. Allowed: strict, loose."),
        ("fewshot: three", "'fewshot' is the text 'three'. Allowed: a whole number."),
        ("fewshot: -1", "'fewshot' is -1. Allowed: at least 0."),
        ("fewshot: 2.5", "'fewshot' is 2.5. Allowed: a whole number."),
        ("fewshot: true", "'fewshot' is true. Allowed: a whole number."),
        ("fewshot:", "1: 'fewshot' is empty. Give it a value, indented below it, or remove the key."),
        ("split: test\nrouge:\nfewshot: 1", "2: 'rouge' is empty."),
        ("rouge: unicode", "'rouge' is the text 'unicode'. Allowed: a section with keys."),
        ("rouge: {language: french}", "'rouge.language' is the text 'french'. Allowed: da, de, en"),
        ("rouge: {tokenizer: original, stemmer: snowball}", "'rouge': the original tokenizer keeps a to z"),
        ("rouge: {tokenizer: original, fold_accents: true}", "'rouge': the original tokenizer keeps a to z"),
        ("rouge: {stemmer: porter}", "Write 'stemmer: snowball'."),
        ("rouge: {fold_accents: 1}", "'rouge.fold_accents' is 1. Allowed: true or false."),
        ("generation: {max_new_tokens: 0}", "'generation.max_new_tokens' is 0. Allowed: at least 1."),
        ("generation: {batch_size: '8'}", "'generation.batch_size' is the text '8'. Allowed: a whole number. Write"),
        ("generation: {top_k: 5}", "'generation': top_k count only when the temperature is above 0."),
        ("generation: {temperature: 1, top_p: 1.5}", "'generation.top_p' is 1.5. Allowed: at most 1."),
        ("generation: {temperature: .nan}", "'generation.temperature' is nan."),
        ("generation: {temprature: 1}", "Did you mean 'temperature'?"),
        ("bootstrap: {n: 10}", "'bootstrap.n' is 10. Allowed: at least 100."),
        ("bootstrap: {confidence: 95}", "'bootstrap.confidence' is 95. Allowed: below 1."),
        ("classification: {}", "'classification' has no key 'labels'."),
        ("classification: {labels: [oui]}", "'classification.labels' is empty or too short. Allowed: 2 or more."),
        (
            "classification: {labels: [oui, no]}",
            "'classification.labels.2' is false. Allowed: a text. Put it in quotes",
        ),
        ("classification: {labels: [a, b, A.]}", "'a' and 'A.' are the same label."),
        ("classification: {labels: [a, b], map: {x: c}}", "'x' is mapped to 'c', which is none of a, b."),
        ("classification: {labels: [a, b], map: {B: a}}", "'B' is mapped to 'a' and is another label itself."),
        ("extraction: {fields: [nom, nom]}", "nom stands there twice."),
        ("extraction: {fields: []}", "'extraction.fields' is empty or too short."),
        ("bert_score: {}", "'bert_score' has no key 'model'."),
        ("judge: llama3", "'judge' is the text 'llama3'. Allowed: a section with keys."),
        ("split: test\nsplit: train", "2: the key 'split' stands there twice. Keep one."),
        ("1: 2", "unknown key '1'."),
        ("generation: {temperature: .inf}", "'generation.temperature' is inf. Allowed: a finite number."),
        ("- a", "holds the list ['a']. Allowed: keys such as metrics"),
        ("split: [", "not valid YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line_what_is_allowed_and_the_remedy(suite, text, expected):
    [problem] = problems(suite, text)
    assert "tache.yaml" in problem
    assert expected in problem


def test_all_mistakes_are_named_at_once_in_the_order_of_their_lines(suite):
    text = "fewshot: x\nrouge: {langage: fr, stemmer: 3}\nsplit: a\nsplit: b\ntop: 1"
    found = problems(suite, text)
    assert len(found) == 6
    assert [line.split(".yaml:")[1][0] for line in found] == ["1", "2", "2", "3", "4", "5"]


def test_a_file_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / "a.yaml").write_bytes("# é".encode("latin-1"))
    with pytest.raises(AffinageError, match="cannot be read as YAML"):
        read_suite(tmp_path / "a.yaml")


def test_every_metric_has_a_direction_and_the_rates_of_failure_are_better_low():
    assert set(HIGHER_IS_BETTER) == set(ALL_METRICS) >= IN_0_1
    assert {name for name, higher in HIGHER_IS_BETTER.items() if higher is False} == {
        "empty_rate",
        "limit_rate",
        "repetition_rate",
        "unparsed_rate",
        "perplexity",
        "bits_per_byte",
    }
    assert HIGHER_IS_BETTER["length_ratio"] is None


def test_the_readme_explains_every_metric_and_every_key():
    text = (SUITES.parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in ALL_METRICS if f"`{name}`" not in text] == []
    keys = {field.alias or name for name, field in Suite.model_fields.items()}
    asking = set(Suite.model_fields["asking"].annotation.model_fields)
    assert [key for key in sorted(keys | asking) if not any(f"`{key}{end}" in text for end in ("`", "."))] == []
