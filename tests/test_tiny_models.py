"""Tiny random models: each architecture loads, reads, answers and can be quantized; a seed gives the same files."""

import json
import re
import runpy

import pytest

from affinage.errors import AffinageError
from affinage.paths import ROOT

SCRIPT = ROOT / "tools" / "make_tiny_model.py"
DECODERS = ("bloom", "gpt2", "llama", "mistral")
ARCHITECTURES = ("bert", *DECODERS, "t5")
ANSWER_CLASSES = {
    "bert": "AutoModelForMaskedLM",
    "t5": "AutoModelForSeq2SeqLM",
    **dict.fromkeys(DECODERS, "AutoModelForCausalLM"),
}
TEXTS = ["Le garçon mange la pomme rouge.", "Où est passé l'œuf ?", "The cat reads a small book, twice."] * 20
SEEN = "Le garçon est passé où la pomme mange."
NEVER_SEEN = '### Réponse :\n\t{"prix": "12 €"}  日本語 & so on\n'


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each architecture, with the number of parameters that was said to be in it."""
    from affinage.tiny_models import make_tiny_model

    place = tmp_path_factory.mktemp("tiny")
    return {name: (place / name, make_tiny_model(name, TEXTS, place / name)) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def load(folders):
    """Gives model and tokenizer of an architecture as anybody would load them from its folder."""
    import transformers

    def loaded(architecture, **options):
        folder, _ = folders[architecture]
        model = getattr(transformers, ANSWER_CLASSES[architecture]).from_pretrained(folder, **options)
        return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)

    return loaded


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_script_and_the_module_know_the_same_architectures():
    from affinage import tiny_models

    assert set(runpy.run_path(str(SCRIPT))["ARCHITECTURES"]) == set(tiny_models.ARCHITECTURES) == set(ARCHITECTURES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_folder_loads_by_its_name_alone_and_is_as_small_as_it_says(load, folders, architecture):
    model, tokenizer = load(architecture)
    assert model.config.model_type == architecture
    assert model.num_parameters() == folders[architecture][1] < 2_000_000
    assert len(tokenizer) <= model.config.vocab_size
    for token in ("pad", "eos", "bos"):
        known = getattr(tokenizer, f"{token}_token_id")
        assert known is None or known == getattr(model.config, f"{token}_token_id"), token
    assert tokenizer.pad_token_id is not None


@pytest.mark.parametrize("architecture", [*DECODERS, "t5"])
def test_every_text_comes_back_from_its_tokens_even_one_of_unseen_letters(load, architecture):
    _, tokenizer = load(architecture)
    for text in (SEEN, NEVER_SEEN):
        ids = tokenizer(text).input_ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert tokenizer.eos_token not in tokenizer.decode(ids[:-1])
    assert len(tokenizer(SEEN).input_ids) < len(SEEN)  # whole words are learned, not letters alone


def test_t5_ends_every_text_and_the_decoders_end_none(load):
    for architecture in (*DECODERS, "t5"):
        _, tokenizer = load(architecture)
        ended = tokenizer(SEEN).input_ids[-1] == tokenizer.eos_token_id
        assert ended == (architecture == "t5"), architecture


def test_bert_reads_words_between_its_marks_and_knows_when_a_letter_is_new(load):
    _, tokenizer = load("bert")
    ids = tokenizer(SEEN).input_ids
    assert ids[0] == tokenizer.cls_token_id and ids[-1] == tokenizer.sep_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == SEEN.replace(" ", "")
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.unk_token_id in tokenizer("日").input_ids


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_reads_and_answers(load, architecture):
    import torch

    model, tokenizer = load(architecture)
    inputs = tokenizer([SEEN, "Où ?"], return_tensors="pt", padding=True)
    with torch.no_grad():
        if architecture == "bert":
            logits = model(**inputs).logits
            assert logits.shape == (*inputs.input_ids.shape, model.config.vocab_size)  # (batch, seq, vocab)
            assert torch.isfinite(logits).all()
            return
        answers = model.generate(**inputs, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    read = 1 if architecture == "t5" else inputs.input_ids.shape[1]  # T5 writes a sequence of its own
    assert answers.shape == (2, read + 5)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_can_be_quantized_on_a_processor(load, architecture, bits):
    import torch
    from transformers import BitsAndBytesConfig

    sizes = {"bnb_4bit_compute_dtype": torch.float32}
    quantized = BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8, **sizes)
    model, tokenizer = load(architecture, quantization_config=quantized)
    layers = [module for module in model.modules() if re.fullmatch(r"Linear(4bit|8bitLt)", type(module).__name__)]
    assert len(layers) >= 8
    inputs = tokenizer(SEEN, return_tensors="pt")
    more = {"decoder_input_ids": inputs.input_ids} if architecture == "t5" else {}
    with torch.no_grad():
        assert torch.isfinite(model(**inputs, **more).logits).all()


def test_the_same_seed_gives_the_same_bytes_and_another_gives_other_weights(folders, tmp_path):
    from affinage.tiny_models import make_tiny_model

    for architecture in ARCHITECTURES:
        make_tiny_model(architecture, TEXTS, tmp_path / architecture)
        first = contents(folders[architecture][0])
        assert contents(tmp_path / architecture) == first and len(first) >= 4, architecture
    make_tiny_model("gpt2", TEXTS, tmp_path / "gpt2", seed=7)  # in place of the one that was made before
    changed = {
        name for name, content in contents(tmp_path / "gpt2").items() if content != contents(folders["gpt2"][0])[name]
    }
    assert changed == {"config.json", "model.safetensors"}


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    from affinage.tiny_models import make_tiny_model

    (tmp_path / "mine").mkdir()
    for content in ({"notes.txt": "mine"}, {"config.json": json.dumps({"model_type": "gpt2"})}):
        for name, text in content.items():
            (tmp_path / "mine" / name).write_text(text)
        with pytest.raises(AffinageError, match=r"is there already, and is no tiny model that was made here\."):
            make_tiny_model("gpt2", TEXTS, tmp_path / "mine")
    assert {path.name for path in tmp_path.rglob("*")} == {"mine", "notes.txt", "config.json"}


def test_the_words_are_those_of_the_rows(tmp_path):
    from affinage.tiny_models import texts_of

    (tmp_path / "rows.jsonl").write_text('{"a": "un", "n": 1}\n{"a": "deux", "b": "trois"}\n', encoding="utf-8")
    assert [text for text in texts_of("any", str(tmp_path / "rows.jsonl")) if text] == ["un", "deux", "trois"]


def test_the_script_says_what_it_made_and_how_to_use_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main(["--architecture", "gpt2", "--task", "quizz", "--output", "made"]) == 0
    printed = capsys.readouterr().out
    assert "gpt2 with random weights" in printed and f'SET="base_model={tmp_path / "made"}"' in printed
    assert (tmp_path / "made" / "tokenizer.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--architecture", "gpt3", "--task", "quizz"], r"'gpt3' is none of those that can be made\. Allowed: bert, "),
        (["--architecture", "gpt2", "--task", "no-such-task"], r"no-such-task: no such file or folder\."),
    ],
)
def test_what_cannot_be_made_is_an_error_and_leaves_nothing(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AffinageError, match=message):
        runpy.run_path(str(SCRIPT))["main"]([*arguments, "--output", str(tmp_path / "made")])
    assert list(tmp_path.iterdir()) == []
