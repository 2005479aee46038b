"""Preprocessing and training with ids that are known beforehand: the same matrices, the same losses, less work."""

import numpy as np
import pytest
import yaml


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "affinage" / "tokenized"


@pytest.fixture
def encoded(monkeypatch):
    """Every text that a tokenizer of Ludwig encodes, in order."""
    from ludwig.utils.tokenizers import HFTokenizer

    texts, encode = [], HFTokenizer.__call__

    def noted(self, text):
        texts.append(text)
        return encode(self, text)

    monkeypatch.setattr(HFTokenizer, "__call__", noted)
    return texts


@pytest.fixture
def matrices(affinage, encoded):
    """The columns of the preprocessed training rows, and how many texts were encoded for them."""
    from ludwig.api import LudwigModel

    from affinage.ludwig_ext.tokenizer import EncodedBeforehand

    def compute(config, rows, known):
        encoded.clear()
        ludwig = LudwigModel(config, backend="local", callbacks=[EncodedBeforehand(config["base_model"], known)])
        columns = ludwig.preprocess(training_set=rows, skip_save_processed_input=True).training_set.dataset
        return columns, len(encoded)

    return compute


SECTIONS = {
    "plain": {},
    "limits": {
        "preprocessing": {"global_max_sequence_length": 64},
        "output_features": [{"name": "output", "type": "text", "preprocessing": {"max_sequence_length": 6}}],
    },
    "no template": {"prompt": None, "input_features": [{"name": "instruction", "type": "text"}]},
    "lowercase": {"output_features": [{"name": "output", "type": "text", "preprocessing": {"lowercase": True}}]},
}


@pytest.mark.parametrize(
    ("sections", "tokenizer"),
    [
        ("plain", "plain"),
        ("plain", "bos"),
        ("plain", "no_pad"),
        ("limits", "bos"),
        ("no template", "plain"),
        ("lowercase", "plain"),
    ],
)
def test_matrices_are_the_same_whether_ids_are_encoded_written_or_read(
    matrices, llm_config, sentences, sections, tokenizer
):
    from affinage import token_lengths, training

    config, rows = llm_config(tokenizer=tokenizer, **SECTIONS[sections]), sentences(12)
    resolved = training.resolve(config, "test")
    before, encoded = matrices(config, rows, None)
    assert encoded >= 48  # two texts a row, and each of them twice
    for _ in ("written", "read"):
        after, encoded = matrices(config, rows, token_lengths.dataset_ids(resolved, {"train": rows}))
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[column], after[column]) for column in before)
        assert encoded <= (2 if sections != "lowercase" else 26)  # the template by itself, and what was not foreseen


def test_each_part_of_the_data_and_of_the_prompt_decides_but_not_the_splits(affinage, llm_config, sentences, place):
    from affinage import token_lengths, training

    def kept(rows, **sections):
        resolved = training.resolve(llm_config(**sections), "test")
        token_lengths.dataset_ids(resolved, {"train": rows[:8], "test": rows[8:]})
        return len(list(place.iterdir()))

    rows = sentences(12)
    assert kept(rows) == 1
    assert kept(rows.assign(unused="text")) == kept(rows[::-1]) == 1
    assert kept(rows, preprocessing={"global_max_sequence_length": 64}) == 1  # cut after the ids are known
    assert kept(rows, prompt={"template": "{instruction} {input}"}) == 2
    assert kept(rows.assign(output="autre")) == 3
    assert kept(rows.assign(input="autre")) == 4
    assert kept(rows, tokenizer="bos") == 5


def test_ids_of_another_base_model_and_those_of_an_earlier_run_are_not_used(affinage, tiny_model):
    from affinage.ludwig_ext.tokenizer import EncodedBeforehand, PromptTokenizer

    wrong = {"chat": np.array([7, 7], dtype=np.int32)}
    mine, other = tiny_model(), tiny_model("llama", "bos")
    callback = EncodedBeforehand(other, wrong)
    callback.on_preprocess_start({})
    assert PromptTokenizer(other)("chat") == [7, 7]
    assert PromptTokenizer(mine)("chat") == PromptTokenizer(mine).tokenizer.encode("chat")
    callback.on_preprocess_end(None, None, None, None)
    assert PromptTokenizer(other)("chat") == PromptTokenizer(other).tokenizer.encode("chat")


def test_ids_are_forgotten_when_preprocessing_fails(matrices, llm_config, sentences):
    from affinage.ludwig_ext.tokenizer import PromptTokenizer

    with pytest.raises(ValueError, match="at least"):
        matrices(llm_config(), sentences(1), {"text": np.array([1], dtype=np.int32)})
    assert PromptTokenizer.known == ("", {})


def test_a_text_longer_than_the_tokenizer_takes_is_cut_as_ever(affinage, tiny_model, tmp_path):
    from transformers import AutoTokenizer

    from affinage.ludwig_ext.tokenizer import EncodedBeforehand, PromptTokenizer
    from affinage.token_cache import token_ids

    AutoTokenizer.from_pretrained(tiny_model("llama", "bos"), model_max_length=8).save_pretrained(tmp_path / "short")
    tokenizer = PromptTokenizer(str(tmp_path / "short"))
    texts = ["le chat " * n for n in (1, 40)]
    callback = EncodedBeforehand(str(tmp_path / "short"), token_ids(texts, tokenizer.tokenizer))
    callback.on_preprocess_start({})
    try:
        assert [tokenizer(text) for text in texts] == [tokenizer.tokenizer.encode(t, truncation=True) for t in texts]
        assert len(tokenizer(texts[1])) == 8
    finally:
        callback.on_preprocess_end(None, None, None, None)


def test_code_that_comes_with_a_model_keeps_its_ids_out_of_the_cache(affinage, llm_config, sentences, place):
    from affinage import token_lengths, training

    resolved = training.resolve(llm_config(trust_remote_code=True), "test")
    assert token_lengths.dataset_ids(resolved, {"train": sentences(4)}) is None
    assert not place.exists()


@pytest.mark.slow
def test_losses_are_the_same_to_the_bit_without_cold_and_warm(llm_config, sentences, tmp_path, monkeypatch, encoded):
    from affinage import token_lengths, training
    from affinage.reproduce import losses

    rows = sentences(24)
    rows["split"] = [0] * 16 + [1] * 8
    rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
    split = {"split": {"type": "fixed", "column": "split"}}
    path = tmp_path / "ludwig_configs" / "copie" / "tiny.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(llm_config(preprocessing=split)))
    seen = []
    for start in ("without", "cold", "warm"):
        encoded.clear()
        with monkeypatch.context() as patch:
            if start == "without":
                patch.setattr(token_lengths, "dataset_ids", lambda *_: None)
            outcome = training.train(training.plan(path, str(tmp_path / "rows.jsonl")), tmp_path / "results")
        seen.append((losses(outcome.run.folder), outcome.run.manifest["training"]["evaluations"]))
        assert len(encoded) >= 96 if start == "without" else len(encoded) < 5
    assert len(seen[0][0]) == 4
    assert seen[0][0] == seen[1][0] == seen[2][0]
    assert [e["validation_loss"] for e in seen[0][1]] == [e["validation_loss"] for e in seen[2][1]]
