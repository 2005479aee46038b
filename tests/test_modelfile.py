"""What Ollama is told: its template against the prompts of training, its Modelfile read back, names, settings."""

import runpy
from pathlib import Path

import pytest
import yaml
from ludwig.schema.model_types.base import ModelConfig
from transformers import AutoTokenizer

from affinage.chat_template import columns_from, conversation_text, prompt_of
from affinage.errors import AffinageError
from affinage.export.modelfile import go_template, instructions, model_name

HERE = Path(__file__).parent
go = runpy.run_path(str(HERE / "go_template.py"))
shipped = runpy.run_path(str(HERE / "test_shipped_configs.py"))
TEXTS = ["l'été", 'dit "oui"', "deux\nlignes\n", "{a} {{ .b }} {{- c -}}", "日本語 🦊", '"""', "a\u00a0b"]
HARD_TEMPLATES = [
    '\n{{{{ .System }}}} {instruction}{{{{- {{ "{input}"\n',
    'Consigne\u00a0: {instruction}\u202f!\n"""{input}"""" 🦊\n""',
    '{input}\t{instruction}\r\n{input}{{"',
    '"""\n{instruction}\n"""\n',
    "<{instruction}>",
]


@pytest.fixture
def resolved(llm_config, affinage):
    return lambda *kind, **sections: ModelConfig.from_dict(llm_config(*kind, **sections))


def told(config, **options):
    return instructions(config, AutoTokenizer.from_pretrained(config.base_model), **options)


def check_template(config):
    """The template, as read back from the Modelfile, writes the prompts of training and whole conversations."""
    said = told(config)
    template = dict(go["read_modelfile"](said.modelfile("./m.gguf")))["TEMPLATE"]
    assert template == said.template
    for user in TEXTS:
        for system in ("", "Sois bref.", "{{ .System }}\n"):
            expected = prompt_of(config, columns_from(config, user, system))
            assert go["execute"](template, system, [{"role": "user", "content": user}]) == expected
    roles = ("system", "user", "assistant", "user")
    talk = [{"role": role, "content": text} for role, text in zip(roles, TEXTS, strict=False)]
    expected = conversation_text(config, talk, "</s>")
    assert go["execute"](template, talk[0]["content"], talk) == expected


@pytest.mark.parametrize("path", shipped["OF_CAUSAL"], ids=shipped["name"])
def test_ollama_asks_a_causal_model_with_the_prompt_of_training(path, affinage, tiny_model):
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    stand_in = tiny_model(*shipped["STAND_INS"][given["base_model"]])
    check_template(ModelConfig.from_dict(given | {"base_model": stand_in}))


def test_nothing_in_a_prompt_breaks_template_or_modelfile(resolved):
    config = resolved()
    for template in HARD_TEMPLATES:
        config.prompt.template = template
        check_template(config)


def test_a_prompt_without_a_template_is_the_text_itself(resolved):
    check_template(resolved(prompt=None, input_features=[{"name": "texte", "type": "text"}]))


def test_a_prompt_that_no_template_of_ollama_can_write_is_refused(resolved):
    config = resolved(prompt={"template": "{texte}"}, input_features=[{"name": "texte", "type": "text"}])
    for template in ("{__sample__}", "{score:.2f} {texte}", "{texte!r}"):
        config.prompt.template = template
        with pytest.raises(AffinageError, match=r"prompt\.template: column '\w+' is written .* no template of Ollama"):
            go_template(config, "</s>")


def test_the_modelfile_says_where_the_weights_are_and_how_the_run_draws_its_answers(resolved):
    config = resolved(generation={"max_new_tokens": 24})
    text = told(config, system='Sois "bref".\nToujours.', licence="apache-2.0").modelfile("./a.gguf")
    commands = go["read_modelfile"](text)
    assert commands[0] == ("FROM", "./a.gguf")
    assert ("SYSTEM", 'Sois "bref".\nToujours.') in commands and ("LICENSE", "apache-2.0") in commands
    drawn = {name.removeprefix("PARAMETER "): value for name, value in commands if name.startswith("PARAMETER")}
    assert drawn == {
        "temperature": "0",
        "num_predict": "24",
        "num_ctx": "256",
        "stop": "</s>",
        "repeat_penalty": "1.0",
    }


def test_a_run_that_samples_says_so_and_what_ollama_lacks_is_noted(resolved):
    sampled = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "repetition_penalty": 1.3}
    said = told(resolved(generation={"max_new_tokens": 8, **sampled})).parameters
    assert {name: said[name] for name in ("temperature", "top_p", "top_k")} == {
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 5,
    }
    assert (said["repeat_penalty"], said["repeat_last_n"]) == (1.3, -1)
    notes = told(resolved(generation={"max_new_tokens": 8, "num_beams": 4, "no_repeat_ngram_size": 3})).notes
    assert len(notes) == 2 and "num_beams: 4" in notes[0] and "no_repeat_ngram_size: 3" in notes[1]
    assert told(resolved()).notes == []


def test_a_text_that_a_modelfile_cannot_hold_is_refused(resolved):
    config = resolved()
    cases = {"Consigne\u00a0: copie": r"U\+00A0", "a\u0007": r"U\+0007", 'dit """oui"""': "ends a text"}
    for text, found in cases.items():
        for where in ("system", "licence"):
            with pytest.raises(AffinageError, match=found):
                told(config, **{where: text})


@pytest.mark.parametrize(
    ("given", "name"),
    [("Voix-Passive", "voix-passive"), (" moi/Modele", "moi/modele"), ("a.b_c:Q8.0", "a.b_c:q8.0")],
)
def test_a_name_is_written_in_small_letters(given, name):
    assert model_name(given) == name


BAD_NAMES = ["", "modèle", "a b", "a/b/c", "a:b:c", ":b", "a:", "-a", "a..b", "u.v/a", "a" * 81, "../a", "a\x00"]


@pytest.mark.parametrize("given", BAD_NAMES)
def test_a_name_that_ollama_would_refuse_is_refused_here(given):
    with pytest.raises(AffinageError, match="no name for an Ollama model"):
        model_name(given)
