"""Reading a config and setting keys on it: what is accepted, and what is refused with which words."""

import copy
import re

import pytest
import yaml

from affinage.configs import apply_overrides, read_config, task_and_name
from affinage.errors import AffinageError

CONFIG = {
    "model_type": "llm",
    "input_features": [{"name": "prompt", "type": "text"}],
    "adapter": {"type": "lora", "r": 8},
    "trainer": {"type": "finetune", "epochs": 1},
}
RESOLVED = CONFIG | {
    "input_features": [{"name": "prompt", "type": "text", "column": "prompt"}],
    "prompt": {"template": "{input}", "task": None},
    "preprocessing": {
        "split": {"type": "random", "probabilities": [0.7, 0.1, 0.2]},
        "global_max_sequence_length": None,
    },
    "quantization": None,
    "trainer": {
        "type": "finetune",
        "epochs": 1,
        "batch_size": "auto",
        "learning_rate": 0.001,
        "use_mixed_precision": False,
        "learning_rate_scheduler": {"decay": None, "warmup_fraction": 0.0},
    },
}


def override(pairs):
    return apply_overrides(CONFIG, pairs, RESOLVED)


def problems(pairs):
    with pytest.raises(AffinageError) as raised:
        override(pairs)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize(
    ("pair", "place", "value"),
    [
        ("trainer.epochs=3", ["trainer", "epochs"], 3),
        ("adapter.r=32", ["adapter", "r"], 32),
        ("trainer.learning_rate=0.0002", ["trainer", "learning_rate"], 0.0002),
        ("trainer.learning_rate=1", ["trainer", "learning_rate"], 1),
        ("trainer.learning_rate=auto", ["trainer", "learning_rate"], "auto"),
        ("trainer.batch_size=4", ["trainer", "batch_size"], 4),
        ("trainer.use_mixed_precision=true", ["trainer", "use_mixed_precision"], True),
        ("trainer.learning_rate_scheduler.decay=cosine", ["trainer", "learning_rate_scheduler", "decay"], "cosine"),
        ("'prompt.template=Résume {input}'", ["prompt", "template"], "Résume {input}"),
        ('prompt.template="a = b"', ["prompt", "template"], "a = b"),
        ("adapter=null", ["adapter"], None),
        ("input_features.0.name=texte", ["input_features", 0, "name"], "texte"),
        ("input_features.0='{name: texte}'", ["input_features"], [{"name": "texte"}]),
        (
            "preprocessing.split.probabilities='[0.8, 0.1, 0.1]'",
            ["preprocessing", "split", "probabilities"],
            [0.8, 0.1, 0.1],
        ),
        ("'quantization={bits: 4}'", ["quantization"], {"bits": 4}),
    ],
)
def test_a_pair_sets_its_key(pair, place, value):
    node = override(pair)
    for part in place:
        node = node[part]
    assert node == value
    assert type(node) is type(value)


def test_an_exponent_without_a_dot_is_a_number():
    # fault: YAML 1.1 reads 1e-4 as text, so the most common way to write a rate is refused
    assert override("trainer.learning_rate=1e-4")["trainer"]["learning_rate"] == 0.0001


def test_a_text_with_a_colon_stays_a_text_where_a_text_stands():
    # fault: YAML reads "Texte : {input}" as a mapping, which then takes the place of the template
    assert override("'prompt.template=Texte : {input}'")["prompt"]["template"] == "Texte : {input}"


def test_nothing_else_changes():
    expected = copy.deepcopy(CONFIG)
    expected["trainer"]["epochs"] = 3
    assert override("trainer.epochs=3") == expected
    assert override("") == CONFIG


def test_several_pairs_are_all_set():
    changed = override("trainer.epochs=3 adapter.r=32 trainer.batch_size=2")
    assert (changed["trainer"]["epochs"], changed["adapter"]["r"], changed["trainer"]["batch_size"]) == (3, 32, 2)


def test_the_config_that_came_in_is_unchanged():
    config, resolved = copy.deepcopy(CONFIG), copy.deepcopy(RESOLVED)
    changed = apply_overrides(config, "trainer.epochs=3 input_features.0.name=x prompt.task=t", resolved)
    assert changed != config
    assert (config, resolved) == (CONFIG, RESOLVED)


def test_sections_the_file_does_not_have_are_made_with_the_key_alone():
    changed = override("trainer.learning_rate_scheduler.warmup_fraction=0.1 prompt.task=résume")
    assert changed["trainer"] == CONFIG["trainer"] | {"learning_rate_scheduler": {"warmup_fraction": 0.1}}
    assert changed["prompt"] == {"task": "résume"}


def test_an_entry_of_a_list_the_file_does_not_have_changes_the_default_list():
    # fault: the list is made as a mapping with the key "0"
    changed = override("preprocessing.split.probabilities.0=0.6")
    assert changed["preprocessing"]["split"]["probabilities"] == [0.6, 0.1, 0.2]


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("adaptr.r=32", ["SET adaptr.r", "unknown key 'adaptr'", "Did you mean 'adapter'?"]),
        ("trainer.epoch=3", ["SET trainer.epoch", "unknown key 'epoch'", "Did you mean 'epochs'?"]),
        ("zzz=1", ["unknown key 'zzz'", "Known here: model_type, input_features"]),
        ("input_features.1.name=x", ["unknown key '1'", "Known here: 0"]),
        ("adapter.r=eight", ["SET adapter.r", "'eight' is a str", "a int, such as 8"]),
        ("adapter.r=true", ["'true' is a bool", "a int, such as 8"]),
        ("trainer.use_mixed_precision=1", ["'1' is a int", "a bool, such as False"]),
        ("trainer.epochs=[1]", ["'[1]' is a list", "a int"]),
        ("adapter=lora", ["SET adapter", "'lora' is a str", "a dict"]),
        ("input_features=prompt", ["'prompt' is a str", "a list"]),
        ("trainer.epochs=[1", ["SET trainer.epochs", "'[1' is not a YAML value"]),
        ("trainer.epochs", ["SET trainer.epochs", "no '='", "key=value"]),
    ],
)
def test_a_wrong_pair_is_named_with_what_is_allowed(pair, words):
    [problem] = problems(pair)
    assert all(word in problem for word in words), problem


def test_all_problems_are_named_at_once_and_good_pairs_are_not():
    found = problems("adaptr.r=32 trainer.epochs=3 adapter.r=eight trainer trainer.epoch=2")
    assert [problem.split(":")[0] for problem in found] == [
        "SET adaptr.r",
        "SET adapter.r",
        "SET trainer",
        "SET trainer.epoch",
    ]


@pytest.mark.parametrize("pair", ["trainer.epochs.x=1", "trainer.learning_rate.x=1", "model_type.x=1"])
def test_a_key_below_a_value_is_a_problem_like_any_other(pair):
    # fault: below a number it is a TypeError; below a word every letter counts as a known key
    [problem] = problems(pair)
    assert "unknown key 'x'" in problem
    assert "l, l, m" not in problem


def test_a_key_below_an_absent_section_says_how_to_set_the_section():
    # fault: the message ends in "Known here: ." and leaves the person without a way
    [problem] = problems("quantization.bits=4")
    assert "Known here: ." not in problem


def test_a_quote_that_is_not_closed_is_a_problem_like_any_other():
    # fault: a ValueError of shlex, shown with its traceback
    assert "SET" in problems("prompt.template='x")[0]


def test_a_config_is_read_as_yaml_reads_it(tmp_path):
    text = "model_type: llm\nprompt:\n  template: |\n    Voilà : {input}\n"
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    assert read_config(tmp_path / "a.yaml") == yaml.safe_load(text)


def read_error(path):
    with pytest.raises(AffinageError) as raised:
        read_config(path)
    return str(raised.value)


def test_a_missing_config_suggests_the_one_that_was_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("voix-passive/petit-llama-lora.yaml", "alpaca/gpt2-full.yaml"):
        (tmp_path / "configs" / name).parent.mkdir(parents=True)
        (tmp_path / "configs" / name).write_text("model_type: llm\n")
    wrong = tmp_path / "configs" / "voix-passive" / "petit-lama-lora.yaml"
    assert read_error(wrong) == (
        "configs/voix-passive/petit-lama-lora.yaml: no such file. "
        "Did you mean configs/voix-passive/petit-llama-lora.yaml?"
    )
    other_folder = tmp_path / "configs" / "voix-pasive" / "petit-llama-lora.yaml"
    assert "Did you mean configs/voix-passive/petit-llama-lora.yaml?" in read_error(other_folder)


def test_a_missing_config_like_no_other_says_how_to_name_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_error(tmp_path / "q" / "zz.yaml") == "q/zz.yaml: no such file. Name a YAML file with CONFIG=."


@pytest.mark.parametrize(
    ("text", "line"),
    [("model_type: llm\ntrainer:\n  epochs: 1\n bad: [\n", 4), ("a: 1\nb: [1, 2\nc: 3\n", 3), ("a: 1\n\tb: 2\n", 2)],
)
def test_bad_yaml_is_named_with_its_line(tmp_path, text, line):
    (tmp_path / "bad.yaml").write_text(text)
    message = read_error(tmp_path / "bad.yaml")
    assert re.search(rf"bad\.yaml:{line}: not valid YAML: ", message), message


@pytest.mark.parametrize("content", [b"a: \xff\xfe\n", b"a: \x00\n"])
def test_a_file_that_is_no_text_is_an_error_with_a_remedy(tmp_path, content):
    (tmp_path / "bad.yaml").write_bytes(content)
    assert re.search(r"bad\.yaml: not valid YAML: .*UTF-8", read_error(tmp_path / "bad.yaml"), re.DOTALL)


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("llm\n", "str"), ("", "NoneType")])
def test_a_config_that_is_no_mapping_is_named_with_what_it_holds(tmp_path, text, kind):
    (tmp_path / "bad.yaml").write_text(text)
    message = read_error(tmp_path / "bad.yaml")
    assert f"holds a {kind}." in message
    assert "a mapping" in message


def test_task_and_name_come_from_the_path(tmp_path):
    assert task_and_name(tmp_path / "voix-passive" / "petit.lora.yaml") == ("voix-passive", "petit.lora")


def test_workers_can_be_set_where_the_config_says_nothing_of_them():
    pairs = "backend.type=ray backend.trainer.num_workers=4 backend.trainer.strategy=fsdp"
    changed = apply_overrides({}, pairs, {})
    assert changed == {"backend": {"type": "ray", "trainer": {"num_workers": 4, "strategy": "fsdp"}}}
    given = {"backend": {"type": "ray", "trainer": {"use_gpu": True}}}
    changed = apply_overrides(given, "backend.trainer.use_gpu=false", {})
    assert changed["backend"]["trainer"] == {"use_gpu": False}
    with pytest.raises(AffinageError, match="Did you mean 'strategy'"):
        apply_overrides({}, "backend.trainer.stategy=fsdp", {})
