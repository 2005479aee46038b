"""Messages as prompts: what transformers makes of the template against what the model was trained on."""

import runpy
from pathlib import Path

import pandas as pd
import pytest
import yaml
from ludwig.schema.model_types.base import ModelConfig
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from affinage.chat_template import chat_template, columns_from, columns_of, conversation_text, prompt_of
from affinage.errors import AffinageError
from affinage.ludwig_ext.batches import SpecialTokens
from affinage.prompts import encode, render

shipped = runpy.run_path(str(Path(__file__).with_name("test_shipped_configs.py")))
STAND_INS = shipped["STAND_INS"]

TOKENIZERS = [("llama", "plain"), ("llama", "bos"), ("gpt2", "no_pad")]
TEXTS = [
    "l'été",
    'dit "oui" et \\"non\\"',
    "deux\nlignes\n",
    "  des blancs  ",
    "{a} {{b}} {% raw %} {{- c -}} {# d #}",
    "%s \\n \\u00e9",
    "日本語 🦊",
    "",
]
HARD_TEMPLATES = [
    "\n\n{instruction}\n{{brut}} {{% if %}} {{# note #}}\n  {input}  \n",
    '"{instruction}" \\n \\u00e9 \' {input}\t',
    "{input}{instruction}",
    "日本語 🦊 {instruction}\n🦊",
    "   {instruction} {input} {instruction}",
    "<s>{instruction}",
]


@pytest.fixture
def resolved(llm_config, affinage):
    return lambda *kind, **sections: ModelConfig.from_dict(llm_config(*kind, **sections))


def with_template(config, tokenizer):
    tokenizer.chat_template = chat_template(config, tokenizer)
    return tokenizer


def loaded(config):
    return AutoTokenizer.from_pretrained(config.base_model)


def check(config, tokenizer, user, system):
    """Ids and text of the template are those of training for one row; there is never a second BOS."""
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": user})
    columns = dict.fromkeys(columns_of(config), "") | columns_from(config, user, system)
    trained = render(config, pd.DataFrame([columns]))
    assert prompt_of(config, columns) == trained[0]
    options = {"add_generation_prompt": True}
    ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **options)
    assert ids == encode(trained, tokenizer)[0]
    text = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    opening = "".join(tokenizer.convert_ids_to_tokens(list(SpecialTokens.of(tokenizer).prefix)))
    assert text == opening + trained[0]


@pytest.mark.parametrize("path", shipped["OF_CAUSAL"], ids=shipped["name"])
def test_every_shipped_config_of_a_causal_model_chats_with_the_prompt_of_training(path: Path, affinage, tiny_model):
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    config = ModelConfig.from_dict(given | {"base_model": tiny_model(*STAND_INS[given["base_model"]])})
    tokenizer = with_template(config, loaded(config))
    for user in TEXTS:
        check(config, tokenizer, user, "Mets la phrase à la voix passive.")
        check(config, tokenizer, user, "")


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_nothing_in_a_prompt_breaks_the_template(resolved, kind):
    config = resolved(*kind)
    tokenizer = loaded(config)
    for template in HARD_TEMPLATES:
        config.prompt.template = template
        with_template(config, tokenizer)
        for user in TEXTS:
            check(config, tokenizer, user, "")
            check(config, tokenizer, user, "{{ consigne }}\n")


@pytest.mark.parametrize(
    "sections",
    [
        {"prompt": None, "input_features": [{"name": "texte", "type": "text"}]},
        {"prompt": {"task": "résume {ceci}"}, "input_features": [{"name": "texte", "type": "text"}]},
        {"prompt": {"template": "<{__sample__}> {note}"}, "input_features": [{"name": "texte", "type": "text"}]},
        {"prompt": {"task": "copie", "template": "{__task__}: {texte!r}"}},
    ],
)
def test_prompts_that_ludwig_makes_otherwise_are_the_same_in_a_chat(resolved, sections):
    config = resolved("llama", "bos", **sections)
    tokenizer = with_template(config, loaded(config))
    for user in TEXTS:
        check(config, tokenizer, user, "")


def test_a_number_is_written_as_in_training_and_text_in_its_place_is_named(resolved):
    config = resolved(prompt={"template": "note {score:.2f} pour {texte}"})
    tokenizer = with_template(config, loaded(config))
    messages = [{"role": "system", "content": "3.14159"}, {"role": "user", "content": "lui"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "note 3.14 pour lui"
    assert prompt_of(config, {"score": "3.14159", "texte": "lui"}) == "note 3.14 pour lui"
    assert prompt_of(config, {"texte": "lui"}) == "note 0.00 pour lui"
    with pytest.raises(AffinageError, match=r"score.* hold numbers"):
        prompt_of(config, {"score": "trois"})


def test_a_system_message_fills_the_first_of_two_columns_and_stands_before_the_text_of_one(resolved):
    two, one = resolved(prompt={"template": "{a}|{b}|{c}"}), resolved(prompt={"template": "<{a}>"})
    assert columns_from(two, "u", "s") == {"a": "s", "b": "u"}
    assert columns_from(two, "u") == {"a": "u"}
    assert columns_from(one, "u", "s") == {"a": "s\n\nu"}
    check(one, with_template(one, loaded(one)), "u", "s")


TALK = [("system", "Sois bref."), ("user", "un\n"), ("assistant", ' "A" '), ("user", "deux"), ("developer", "En vers.")]
TALK += [("assistant", "B\n"), ("user", "trois")]


@pytest.mark.parametrize("template", ["{a}\n{b}\n->\n", "<{a}>\n"])
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_earlier_turns_are_prompts_with_their_answers_and_the_end_token(resolved, kind, template):
    config = resolved(*kind, prompt={"template": template})
    tokenizer = with_template(config, loaded(config))
    messages = [{"role": role, "content": content} for role, content in TALK]
    text = conversation_text(config, messages, tokenizer.eos_token)
    prompts = [prompt_of(config, columns_from(config, user, "Sois bref.")) for user in ("un\n", "deux")]
    prompts.append(prompt_of(config, columns_from(config, "trois", "Sois bref.\n\nEn vers.")))
    assert text == f'{prompts[0]} "A" </s>{prompts[1]}B\n</s>{prompts[2]}'
    ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert ids == encode([text], tokenizer)[0]


def test_an_unknown_role_is_refused_by_both(resolved):
    config = resolved()
    messages = [{"role": "narrator", "content": "un"}]
    with pytest.raises(AffinageError, match="'narrator' is unknown"):
        conversation_text(config, messages, "</s>")
    with pytest.raises(Exception, match="unknown role: narrator"):
        with_template(config, loaded(config)).apply_chat_template(messages, tokenize=False)


def marked_start_tokenizer(prepend: str) -> PreTrainedTokenizerFast:
    """As SentencePiece models have it: the first word begins with a space mark, and with `first` only that one."""
    marks = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    made = Tokenizer(models.BPE(byte_fallback=False))
    made.pre_tokenizer, made.decoder = marks, decoders.Metaspace(prepend_scheme=prepend)
    words = ["### Consigne : 1\n copie le chat\n### Réponse :\n▁"]
    made.train_from_iterator(words * 9, trainers.BpeTrainer(vocab_size=90, special_tokens=["<s>", "</s>"]))
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="</s>")


@pytest.mark.parametrize("prepend", ["first", "always"])
def test_a_tokenizer_that_marks_the_start_of_a_text_gets_it_marked(resolved, prepend):
    config = resolved(prompt={"template": "### Consigne :\n{a}\n### Réponse :\n"})
    tokenizer = with_template(config, marked_start_tokenizer(prepend))
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "le chat"}], tokenize=True, return_dict=False)
    assert ids == encode([prompt_of(config, {"a": "le chat"})], tokenizer)[0]
    assert ids.count(0) == 1
    assert ('bos_token ~ " "' in tokenizer.chat_template) == (prepend == "first")
