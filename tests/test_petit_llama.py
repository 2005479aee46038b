"""petit-llama: small enough to ship, made as its card says, and never shown an instruction."""

import hashlib
import subprocess
import sys
from itertools import islice

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from affinage.paths import MODELS, ROOT
from affinage.voix_passive.corpus import documents
from affinage.voix_passive.lexicon import HELD_OUT_NOUNS, HELD_OUT_VERBS
from affinage.voix_passive.pretraining import EXTRA_WORDS
from affinage.voix_passive.rows import INSTRUCTIONS, make_rows

FOLDER = MODELS / "petit-llama"


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def pretraining_text():
    return list(islice(documents(seed=1), 5000))


def test_the_folder_holds_what_loading_needs_and_at_most_8_megabytes():
    names = {path.name for path in FOLDER.iterdir()}
    needed = "config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json README.md"
    assert names == set(needed.split())
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 8_000_000


def test_it_is_a_float32_llama_of_at_most_3_million_parameters(model):
    assert isinstance(model, LlamaForCausalLM)
    assert model.dtype == torch.float32
    assert model.num_parameters() <= 3_000_000
    assert model.config.max_position_embeddings >= 256


def test_every_linear_width_suits_4_bit_blocks(model):
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert layers
    assert all(width % 64 == 0 for layer in layers for width in (layer.in_features, layer.out_features))


def test_the_card_states_the_hash_of_the_weights_and_their_number(model):
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256((FOLDER / "model.safetensors").read_bytes()).hexdigest() in card
    assert f"{model.num_parameters():,}" in card


@pytest.mark.parametrize(
    "text",
    [
        "L'avocat n'apportera pas d'oranges.\n\nLes lettres étaient apportées par l'enfant.",
        "### Instruction:\nRéécris cette phrase avec « ne … pas ».\n\n### Input:\n\tÇa, où ?\n\n### Response:\n",
        "Below is an instruction; 1 234,5 € & <b>naïve</b>  façade \U0001f600 日本語",
    ],
)
def test_the_tokenizer_gives_any_text_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_special_tokens_differ_and_agree_with_the_configurations(tokenizer, model):
    ids = [tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
    assert len(set(ids)) == 4
    for config in (model.config, model.generation_config):
        assert [config.bos_token_id, config.eos_token_id, config.pad_token_id] == ids[1:]
    assert len(tokenizer) == model.config.vocab_size


def test_the_tokenizer_keeps_one_stem_for_all_forms_of_a_verb(tokenizer):
    stems = {tokenizer.tokenize(f" apport{ending}")[0] for ending in ("e", "ent", "aient", "era", "é", "ées")}
    assert len(stems) == 1


def test_the_longest_prompt_and_answer_fit_96_tokens(tokenizer):
    template = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n{output}</s>"
    assert max(len(tokenizer(template.format(**row))["input_ids"]) for row in make_rows(seed=1)) <= 96


def test_the_pretraining_text_never_shows_an_instruction(pretraining_text):
    wordings = [wording for label in INSTRUCTIONS.values() for wording in label]
    for document in (*pretraining_text, *EXTRA_WORDS):
        assert "#" not in document or document == "###"
        assert not any(wording.rstrip(".") in document for wording in wordings)
        assert not any(word in document for word in ("Instruction:", "Input:", "Response:"))


def test_the_pretraining_text_says_no_sentence_of_the_test_split(pretraining_text):
    reserved = {row[column] for row in make_rows(seed=1) if row["split"] == 2 for column in ("input", "output")}
    assert reserved
    assert not [document for document in pretraining_text if any(sentence in document for sentence in reserved)]


def test_the_pretraining_text_knows_the_words_of_the_test_split(pretraining_text):
    text = " ".join(pretraining_text)
    assert all(noun.lemma in text for noun in HELD_OUT_NOUNS)
    assert all(verb.stem in text for verb in HELD_OUT_VERBS)


def test_the_same_seed_gives_the_same_text(pretraining_text):
    assert list(islice(documents(seed=1), 5000)) == pretraining_text
    assert next(documents(seed=2)) != pretraining_text[0]


@pytest.mark.slow
def test_two_steps_of_pretraining_leave_a_model_that_loads(tmp_path):
    script, folder = ROOT / "tools" / "pretrain_petit_llama.py", tmp_path / "petit"
    subprocess.run([sys.executable, script, "--steps", "2", "--output-dir", folder], check=True, capture_output=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer("Le facteur apporte la lettre.", return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.generate(**batch, max_new_tokens=4).shape[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["petit"]
