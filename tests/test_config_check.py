"""What a mistake in a config is answered with: its line, the key, what is allowed and how to mend it."""

import re
import time

import pytest
import yaml

from affinage.paths import CONFIGS

SHIPPED = sorted(CONFIGS.rglob("*.yaml"))
OF_LANGUAGE_MODELS = [path for path in SHIPPED if "\nmodel_type: llm\n" in path.read_text(encoding="utf-8")]
BASE = """\
model_type: llm
base_model: models/petit-llama
quantization:
  bits: 4
adapter:
  type: lora
  r: 4
prompt:
  template: "{input}"
input_features:
  - name: prompt
    type: text
output_features:
  - name: output
    type: text
preprocessing:
  split:
    type: random
    probabilities: [0.8, 0.1, 0.1]
generation:
  max_new_tokens: 64
trainer:
  type: finetune
  epochs: 2
  learning_rate: 0.002
  optimizer:
    type: adamw
  learning_rate_scheduler:
    decay: cosine
"""
AUTO = "Allowed: a whole number of at least 1 or auto."
SHARE = "Allowed: a number from 0 to 1."
NOT_NULL = "Give a value or remove the key."
# What stands in BASE, what a person wrote instead, and words of the answer.
UNKNOWN = [
    ("adapter:", "adaptr:", ["unknown key 'adaptr'. Did you mean 'adapter'?"]),
    ("model_type: llm", "model_type: llm\nkind: x", ["unknown key 'kind'", "Allowed: "]),
    ("base_model: ", "zzz: 1\nbase_model: ", ["unknown key 'zzz'", "Allowed: "]),
    ("quantization:", "Quantization:", ["Did you mean 'quantization'?"]),
    ("quantization:", "bits: 4\nquantization:", ["unknown key 'bits'", "'bits' belongs under 'quantization'."]),
    ("quantization:", "r: 4\nquantization:", ["'r' belongs under 'adapter'."]),
    ("quantization:", "epochs: 4\nquantization:", ["'epochs' belongs under 'trainer'."]),
    ("quantization:", "template: x\nquantization:", ["'template' belongs under 'prompt'."]),
    ("quantization:", "max_new_tokens: 9\nquantization:", ["'max_new_tokens' belongs under 'generation'."]),
    ("quantization:", "split: {}\nquantization:", ["'split' belongs under 'preprocessing'."]),
    ("  bits: 4", "  bit: 4", ["unknown key 'bit' in 'quantization'. Did you mean 'bits'?"]),
    ("  bits: 4", "  load_in_4bit: true", ["unknown key 'load_in_4bit'", "Allowed: backend, mode, qat, bits"]),
    ("  r: 4", "  lora_alpha: 4", ["unknown key 'lora_alpha' in 'adapter'. Did you mean 'alpha'?"]),
    ("  r: 4", "  target-modules: [q]", ["Did you mean 'target_modules'?"]),
    ("  r: 4", "  init_r: 4", ["in 'adapter' of type 'lora'.", "'init_r' belongs to type adalora."]),
    ("  r: 4", "  epochs: 4", ["unknown key 'epochs' in 'adapter'", "belongs under 'trainer'"]),
    ('  template: "{input}"', "  templates: x", ["'templates' in 'prompt'. Did you mean 'template'?"]),
    ("  - name: prompt", "  - name: prompt\n    colum: x", ["'colum' in 'input_features.0'", "'column'?"]),
    ("  - name: prompt", "  - name: prompt\n    epochs: 1", ["belongs under 'trainer'"]),
    ("  - name: prompt", "  - name: prompt\n    preprocessing:\n      lower: true", ["'lowercase'"]),
    ("  - name: output", "  - name: output\n    decoders: {}", ["'decoders' in 'output_features.0'", "'decoder'?"]),
    ("  - name: output", "  - name: output\n    decoder:\n      max_tokens: 3", ["'max_new_tokens'?"]),
    ("    type: random", "    type: random\n    column: x", ["of type 'random'.", "belongs to type fixed, stratify"]),
    ("    type: random", "    type: random\n    proba: 1", ["'proba' in 'preprocessing.split'"]),
    ("  split:", "  max_sequence_length: 512\n  split:", ["unknown key 'max_sequence_length' in 'preprocessing'"]),
    ("  max_new_tokens: 64", "  max_tokens: 64", ["'max_tokens' in 'generation'. Did you mean 'max_new_tokens'?"]),
    ("  max_new_tokens: 64", "  temprature: 1", ["Did you mean 'temperature'?"]),
    ("  epochs: 2", "  epoch: 2", ["unknown key 'epoch' in 'trainer'. Did you mean 'epochs'?"]),
    ("  epochs: 2", "  warmup_fraction: 0.1", ["belongs under 'trainer.learning_rate_scheduler'."]),
    ("  epochs: 2", "  dpo_beta: 0.1", ["in 'trainer' of type 'finetune'.", "'dpo_beta' belongs to type dpo."]),
    ("    type: adamw", "    type: adamw\n    weightdecay: 0", ["Did you mean 'weight_decay'?"]),
    ("    type: adamw", "    type: sgd\n    betas: [0.9, 0.9]", ["of type 'sgd'.", "belongs to type adam, "]),
    ("    decay: cosine", "    warmup: 1", ["'warmup_evaluations' or 'warmup_fraction'?"]),
    ("    decay: cosine", "    decay_rates: 1", ["Did you mean 'decay_rate'?"]),
]
VALUES = [
    ("model_type: llm", "model_type: gbm", ["'model_type' is the text 'gbm'. Allowed: llm, ecd."]),
    ("base_model: models/petit-llama", "base_model: 7", ["'base_model' is 7. Allowed: text."]),
    ("base_model: models/petit-llama", "base_model:", ["'base_model' is empty. Allowed: text. " + NOT_NULL]),
    ("  bits: 4", "  bits: 5", ["'quantization.bits' is 5. Allowed: 4, 8."]),
    ("  bits: 4", "  bnb_4bit_compute_dtype: bf16", ["Did you mean 'bfloat16'?"]),
    ("  bits: 4", "  bnb_4bit_use_double_quant: 1", ["is 1. Allowed: true or false."]),
    (
        "  type: lora",
        "  type: lra",
        ["'adapter.type' is the text 'lra'. Allowed: lora, adalora", "Did you mean 'lora'?"],
    ),
    ("  r: 4", "  r: 0", ["'adapter.r' is 0. Allowed: a whole number of at least 1."]),
    ("  r: 4", "  r: 1.5", ["is 1.5. Allowed: a whole number"]),
    ("  r: 4", "  r: true", ["is true. Allowed: a whole number"]),
    ("  r: 4", "  r:", ["'adapter.r' is empty.", NOT_NULL]),
    ("  r: 4", "  alpha: 0", ["'adapter.alpha' is 0."]),
    ("  r: 4", "  dropout: 1.5", ["'adapter.dropout' is 1.5. " + SHARE]),
    ("  r: 4", "  dropout: 0,1", ["the text '0,1'", "Write 0.1, without quotes."]),
    ("  r: 4", "  target_modules: q_proj", ["Allowed: a list, each text or null. Write it as a list: [q_proj]."]),
    ("  r: 4", "  target_modules: [q_proj, 3]", ["'adapter.target_modules.1' is 3. Allowed: text."]),
    ('  template: "{input}"', "  template: {input}", ["the section {'input': None}", "Put the text in quotes"]),
    ("    type: random", "    type: randm", ["'preprocessing.split.type' is the text 'randm'", "'random'?"]),
    ("    probabilities: [0.8, 0.1, 0.1]", "    probabilities: [0.8, 0.1]", ["Allowed: a list of 3, each a number"]),
    ("    probabilities: [0.8, 0.1, 0.1]", "    probabilities: [0.8, 0.1, 0.3]", ["sums to 1.2: the list [0.8,"]),
    ("    probabilities: [0.8, 0.1, 0.1]", "    probabilities: [0.5, 0.1, 0.1]", ["sums to 0.7", "that sum to 1"]),
    ("    probabilities: [0.8, 0.1, 0.1]", "    probabilities: [1, 0.1, a]", ["probabilities.2' is the text 'a'"]),
    ("  max_new_tokens: 64", "  max_new_tokens: 0", ["is 0. Allowed: a whole number of at least 1 or null."]),
    ("  max_new_tokens: 64", "  temperature: None", ["the text 'None'", "Write null."]),
    ("  max_new_tokens: 64", "  top_p: 2", ["'generation.top_p' is 2. Allowed: a number from 0 to 1 or null."]),
    ("  type: finetune", "  type: finetun", ["'trainer.type' is the text 'finetun'", "Did you mean 'finetune'?"]),
    ("  epochs: 2", "  epochs: -3", ["'trainer.epochs' is -3. Allowed: a whole number of at least 1."]),
    ("  epochs: 2", "  epochs: two", ["'trainer.epochs' is the text 'two'."]),
    ("  epochs: 2", "  epochs: '2'", ["Write 2, without quotes."]),
    ("  epochs: 2", "  batch_size: 0", ["'trainer.batch_size' is 0. " + AUTO]),
    ("  epochs: 2", "  effective_batch_size: many", ["is the text 'many'. " + AUTO]),
    ("  epochs: 2", "  gradient_accumulation_steps: 0.5", ["is 0.5. " + AUTO]),
    ("  epochs: 2", "  gradient_clipping: 1.0", ["'trainer.gradient_clipping' is 1.0. Allowed: a section"]),
    ("  learning_rate: 0.002", "  learning_rate: fast", ["is the text 'fast'. Allowed: a number above 0 or auto."]),
    ("  learning_rate: 0.002", "  learning_rate: atuo", ["Did you mean 'auto'?"]),
    ("  learning_rate: 0.002", "  learning_rate: -1", ["is -1. Allowed: a number above 0 or auto."]),
    ("  learning_rate: 0.002", "  learning_rate: 1e-5", ["Write 0.00001: YAML takes 1e-5 for a text."]),
    ("    type: adamw", "    type: adam\n    betas: [0.9]", ["betas' is the list [0.9]. Allowed: a list of 2, each a"]),
    (
        "    type: adamw",
        "    type: adamw\n    weight_decay: -1",
        ["weight_decay' is -1. Allowed: a number of at least 0."],
    ),
    ("    decay: cosine", "    decay: cosin", ["Allowed: linear, exponential, cosine", "Did you mean 'cosine'?"]),
    (
        "    decay: cosine",
        "    warmup_fraction: 3",
        ["'trainer.learning_rate_scheduler.warmup_fraction' is 3. " + SHARE],
    ),
]


@pytest.fixture
def check(tmp_path):
    def run(text):
        from affinage.config_check import check_config

        path = tmp_path / "a.yaml"
        path.write_text(text, encoding="utf-8")
        return [str(problem).replace(str(path), "a.yaml") for problem in check_config(path)]

    return run


def test_the_config_that_all_mutations_start_from_has_no_problem(check):
    assert check(BASE) == []


@pytest.mark.parametrize(("line", "wrong", "words"), UNKNOWN + VALUES)
def test_one_mistake_gives_one_problem_with_its_line(check, line, wrong, words):
    assert line in BASE
    text = BASE.replace(line, wrong, 1)
    marked = next(part for part in wrong.splitlines()[::-1] if part.strip() not in line) if "\n" in wrong else wrong
    [problem] = check(text)
    assert re.match(r"a\.yaml:(\d+): ", problem)[1] == str(text[: text.index(marked)].count("\n") + 1), problem
    assert all(word in problem for word in words), problem


@pytest.mark.parametrize(
    ("line", "line_number", "words"),
    [
        ("model_type: llm\n", 1, "the key 'model_type' is missing. Allowed: llm, ecd."),
        ("base_model: models/petit-llama\n", 1, "the key 'base_model' is missing. Allowed: text."),
        ("  type: lora\n", 5, "'adapter' has no key 'type'. Allowed: lora, adalora"),
        ("  type: finetune\n", 22, "'trainer' has no key 'type'. Allowed: none, finetune"),
        ("    type: adamw\n", 26, "'trainer.optimizer' is empty. Allowed: a section with keys. Indent its settings"),
        ("  - name: output\n    type: text\n", 13, "'output_features' is empty. Allowed: a list, each a section"),
    ],
)
def test_what_is_missing_is_named_where_it_should_stand(check, line, line_number, words):
    [problem] = check(BASE.replace(line, "", 1))
    assert problem.startswith(f"a.yaml:{line_number}: {words}")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("adapter:\n  type: lora\n  r: 4", "adapter: lora", "Write 'type: lora' on an indented line below it."),
        ("  - name: prompt\n    type: text", "  - prompt", "Write 'name: prompt' on an indented line below it."),
        (
            "input_features:\n  - name: prompt\n    type: text",
            "input_features: q",
            "Write '- name: q' on a line below it.",
        ),
        ("  - name: prompt\n    type: text", "  name: prompt\n  type: text", "Put '- ' before its first key"),
        ("  - name: output\n    type: text", "  - type: text", "'output_features.0' has no key 'name'. Allowed: text."),
    ],
)
def test_a_section_of_the_wrong_form_says_which_form_it_has(check, old, new, words):
    [problem] = check(BASE.replace(old, new, 1))
    assert words in problem


def test_a_key_that_appears_twice_is_named_with_both_lines(check):
    # fault: PyYAML keeps the last without a word
    assert check(BASE + "  epochs: 9\n") == [
        "a.yaml:30: key 'epochs' appears twice, lines 24 and 30. Keep one: YAML takes the last without a word."
    ]
    assert "appears 3 times, lines 24, 30 and 31." in check(BASE + "  epochs: 9\n  epochs: 8\n")[0]


def test_all_problems_are_named_at_once_in_the_order_of_their_lines(check):
    text = BASE
    for old, new in [("llm", "lm"), ("r: 4", "r: 0"), ("epochs: 2", "epochs: -3"), ("decay:", "decoy:")]:
        text = text.replace(old, new, 1)
    found = check(text + "  epochs: 1\nextra: 1\n")
    assert [problem.split(":")[1] for problem in found] == ["1", "7", "29", "30", "31"]


@pytest.mark.parametrize("value", ["x" * 500, f"[{', '.join(['1'] * 300)}]"])
def test_a_long_value_is_shown_shortened(check, value):
    [problem] = check(BASE.replace("epochs: 2", f"epochs: {value}"))
    assert "…" in problem and len(problem) < 200


def test_a_merged_section_is_checked_where_it_is_written(check):
    text = BASE.replace("trainer:\n", "trainer:\n  <<: &more\n    epoch: 3\n")
    [problem] = check(text)
    assert problem.startswith("a.yaml:24: unknown key 'epoch' in 'trainer'.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1\nb: 2\n", "a.yaml:2: not valid YAML"),
        ("- a\n", "a.yaml: holds a list."),
        ("", "a.yaml: holds a NoneType."),
    ],
)
def test_what_read_config_refuses_is_a_problem_with_its_line(check, text, words):
    [problem] = check(text)
    assert problem.startswith(words)


def collapsed(text):
    return "".join(line.strip() + "\n" for line in text.splitlines())


@pytest.mark.parametrize("path", OF_LANGUAGE_MODELS, ids=lambda path: path.stem)
def test_a_tutorial_that_lost_its_indentation_is_told_so(check, path):
    # fault: `quantization:` above an unindented `bits: 4` is an empty section and a key nobody reads, without an error
    text = collapsed(path.read_text(encoding="utf-8"))
    [problem] = check(text)
    section, stray = re.findall(r"^(quantization|adapter|prompt):\n(.*)$", text, re.MULTILINE)[0]
    assert problem.startswith(f"a.yaml:{text[: text.index(f'{section}:' + chr(10))].count(chr(10)) + 1}: ")
    assert f"the indentation is lost: '{stray}' stands at column 0, so it is not part of '{section}'" in problem
    assert problem.endswith(
        f"Put two spaces before every line that belongs to a section: '{section}:', then '  {stray}'."
    )


def test_lost_indentation_is_told_of_valid_yaml_too_beside_other_problems(check):
    text = collapsed(BASE.split("trainer:")[0]) + "trainer:\n  type: finetune\n  epochs: -3\n"
    lost, other = check(text)
    assert lost.startswith("a.yaml:3: the indentation is lost: 'bits: 4' stands at column 0")
    assert "'adapter', 'prompt', 'input_features', 'output_features', 'preprocessing', 'generation'" in lost
    assert "'trainer.epochs' is -3" in other


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_config_has_no_problem(path, affinage):
    from affinage.config_check import check_config

    check_config(path)
    started = time.monotonic()
    assert check_config(path) == []
    assert time.monotonic() - started < 1


def test_an_override_is_checked_like_a_line_of_the_file(affinage):
    from affinage.config_check import check_overridden

    config = yaml.safe_load(BASE)
    assert check_overridden(config) == []
    config["trainer"] |= {"epochs": -3, "optimizer": {"type": "sgd", "betas": [0.9, 0.9]}}
    found = [str(problem) for problem in check_overridden(config)]
    assert found[0] == "SET trainer.epochs: 'trainer.epochs' is -3. Allowed: a whole number of at least 1."
    assert found[1].startswith("SET trainer.optimizer.betas: unknown key 'betas' in 'trainer.optimizer' of type 'sgd'.")


def test_a_plan_refuses_a_config_and_an_override_with_all_problems(tmp_path, affinage):
    from affinage.errors import AffinageError
    from affinage.training import plan

    path = tmp_path / "a.yaml"
    path.write_text(BASE.replace("adapter:", "adaptr:").replace("epochs: 2", "epochs: -3"))
    with pytest.raises(AffinageError) as raised:
        plan(path)
    assert len(raised.value.problems) == 2
    shipped = CONFIGS / "voix-passive" / "petit-llama-qlora.yaml"
    with pytest.raises(AffinageError, match=r"SET trainer\.epochs: 'trainer\.epochs' is -3"):
        plan(shipped, overrides="trainer.epochs=-3 adapter.dropout=2")
