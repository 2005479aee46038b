"""Prompts as rendered for generation, against those the trainer trains on and against str.format."""

import pandas as pd
import pytest
from ludwig.schema.model_types.base import ModelConfig

from affinage.prompts import encode, prompt_columns, render

TOKENIZERS = [("llama", "plain"), ("llama", "bos"), ("gpt2", "no_pad")]
NO_PROMPT = {"prompt": None, "input_features": [{"name": "input", "type": "text"}]}


@pytest.fixture
def resolved(llm_config, affinage):
    return lambda **sections: ModelConfig.from_dict(llm_config(**sections))


def check_against_the_trainer(trainer, data):
    """Ids made for generation are those that stand before the answer in training."""
    trained = [row.ids[: row.answer_start].tolist() for row in trainer.rows.rows]
    assert len(trained) == len(data)
    assert encode(render(trainer.model.config_obj, data), trainer.model.tokenizer) == trained
    return trained


@pytest.mark.parametrize(("architecture", "tokenizer"), TOKENIZERS)
def test_prompts_for_generation_are_those_of_training(llm_config, sentences, trainer_of, architecture, tokenizer):
    config, data = llm_config(architecture, tokenizer), sentences(6)
    trainer = trainer_of(config, data)
    trained = check_against_the_trainer(trainer, data)
    texts = [config["prompt"]["template"].format(**row) for row in data.to_dict("records")]
    assert trained == [trainer.model.tokenizer(text).input_ids for text in texts]


@pytest.mark.parametrize(("architecture", "tokenizer"), TOKENIZERS)
def test_prompts_with_an_end_token_inside_are_those_of_training(
    llm_config, sentences, trainer_of, architecture, tokenizer
):
    template = "<|user|>{input}</s><|assistant|>"
    config, data = llm_config(architecture, tokenizer, prompt={"template": template}), sentences(4)
    trained = check_against_the_trainer(trainer_of(config, data), data)
    assert all(1 in ids[1:-1] for ids in trained)


def test_prompts_without_a_template_are_those_of_training(llm_config, sentences, trainer_of):
    data = sentences(4)
    trainer = trainer_of(llm_config("llama", "bos", **NO_PROMPT), data)
    trained = check_against_the_trainer(trainer, data)
    assert trained == [trainer.model.tokenizer(text).input_ids for text in data["input"]]


def test_prompts_with_a_task_are_those_of_training(llm_config, sentences, trainer_of):
    sections = {"prompt": {"task": "copie"}, "input_features": [{"name": "input", "type": "text"}]}
    data = sentences(4)
    trainer = trainer_of(llm_config(**sections), data)
    trained = check_against_the_trainer(trainer, data)
    text = trainer.model.tokenizer.decode(trained[0])
    assert data["input"][0] in text
    assert "copie" in text


SAMPLE = {"template": "Texte : {__sample__}\n{note}"}


@pytest.mark.parametrize(
    ("sections", "columns"),
    [
        ({}, ["instruction", "input"]),
        ({"prompt": {"template": "{b}{a}"}}, ["b", "a"]),
        ({"prompt": {"template": "{score:.2f} {{not_a_column}} {a}"}}, ["score", "a"]),
        ({"prompt": SAMPLE, "input_features": [{"name": "texte", "type": "text"}]}, ["texte", "note"]),
        ({"prompt": SAMPLE, "input_features": [{"name": "x", "column": "texte", "type": "text"}]}, ["texte", "note"]),
        ({"prompt": {"task": "t", "template": "{__task__} {a}"}}, ["a"]),
        ({"prompt": {"task": "t"}, "input_features": [{"name": "texte", "type": "text"}]}, ["texte"]),
        (NO_PROMPT, ["input"]),
    ],
)
def test_prompt_columns_are_those_the_prompt_is_made_from(resolved, sections, columns):
    assert prompt_columns(resolved(**sections)) == columns


ROWS = pd.DataFrame(
    {
        "a": ["l'été", "{accolades}", ""],
        "b": ['dit "oui"', "deux\nlignes", "%s \\n"],
        "texte": ["un", "deux", "trois"],
    }
)


@pytest.mark.parametrize("template", ["{a} -> {b}\n", "{{brut}} {b}", "### {a}\n\n### Réponse :\n", "{a}{a}"])
def test_a_prompt_is_the_template_formatted_with_the_row(resolved, template):
    prompts = render(resolved(prompt={"template": template}), ROWS)
    assert prompts == [template.format(**row) for row in ROWS.to_dict("records")]


def test_the_sample_is_the_input_column(resolved):
    sections = {"prompt": {"template": "<{__sample__}>"}, "input_features": [{"name": "texte", "type": "text"}]}
    assert render(resolved(**sections), ROWS) == ["<un>", "<deux>", "<trois>"]


def test_without_a_prompt_section_the_column_is_the_prompt(resolved):
    sections = {"prompt": None, "input_features": [{"name": "b", "type": "text"}]}
    assert render(resolved(**sections), ROWS) == ROWS["b"].tolist()


def test_rendering_leaves_the_rows_as_they_were(resolved):
    rows = ROWS.copy()
    render(resolved(prompt={"template": "{__sample__}"}, input_features=[{"name": "b", "type": "text"}]), rows)
    pd.testing.assert_frame_equal(rows, ROWS)
