"""Passages found by vectors, against numpy; the cache of vectors; models on this machine only."""

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from affinage.documents import embeddings
from affinage.documents.embeddings import VectorIndex, cache_folder, load, models_here
from affinage.documents.passages import Passage
from affinage.errors import AffinageError

TEXTS = ["le chat mange une pomme", "la souris lit un livre", "un grand jardin", "maison rouge", "petit soleil", "chat"]
QUESTIONS = ["le chat", "un livre rouge", "soleil soleil", "quel jardin ?"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("something is sent"))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A sentence-transformers model: a tiny random BERT and mean pooling."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({word for text in TEXTS for word in text.split()})]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config).save_pretrained(folder / "bert")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"))
    SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu").save(str(folder / "whole"))
    return folder / "whole"


@pytest.fixture(scope="module")
def embedder(model_folder):
    return load(model_folder)


def passages(texts=TEXTS):
    return [Passage("a.pdf", n, 0, text) for n, text in enumerate(texts)]


def numpy_search(embedder, question, k):
    """The k best pages and their cosines, from vectors of any length."""
    vectors = embedder.model.encode(TEXTS, convert_to_numpy=True)
    asked = embedder.model.encode([question], convert_to_numpy=True)[0]
    cosines = vectors @ asked / np.linalg.norm(vectors, axis=1) / np.linalg.norm(asked)
    return [(int(i), float(cosines[i])) for i in np.argsort(-cosines)[:k]]


def test_search_is_that_of_numpy_when_built_and_when_read_from_disk(embedder, monkeypatch):
    built = VectorIndex(passages(), embedder)
    monkeypatch.setattr(embeddings, "_built", lambda vectors: pytest.fail("it is built again"))
    kept = VectorIndex(passages(), embedder)
    for question in QUESTIONS:
        expected = numpy_search(embedder, question, 3)
        for index in (built, kept):
            found = index.search(question, k=3, threshold=-1)
            assert [one.passage.page for one in found] == [i for i, _ in expected]
            assert [one.score for one in found] == pytest.approx([max(c, 0) for _, c in expected], abs=1e-5)


def test_nothing_is_found_below_the_threshold(embedder):
    index = VectorIndex(passages(), embedder)
    best = index.search("le chat", threshold=0)[0].score
    assert index.search("le chat", threshold=best + 0.001) == []
    assert len(index.search("le chat", k=50, threshold=best)) == len(TEXTS)


def test_no_passages_and_no_question_find_nothing(embedder):
    assert VectorIndex([], embedder).search("le chat", threshold=0) == []
    assert VectorIndex(passages(), embedder).search(" ", threshold=0) == []


def test_the_cache_holds_no_text_is_private_and_depends_on_texts_and_model(embedder, model_folder, tmp_path):
    VectorIndex(passages(), embedder)
    (file,) = cache_folder().iterdir()
    assert cache_folder().stat().st_mode & 0o777 == 0o700 and file.stat().st_mode & 0o077 == 0
    assert not any(text.encode() in file.read_bytes() for text in TEXTS)
    VectorIndex(passages(TEXTS[:3]), embedder)
    assert len(list(cache_folder().iterdir())) == 2
    other = tmp_path / "other"
    shutil.copytree(model_folder, other)
    assert load(other).identity == embedder.identity
    (other / "README.md").write_text("changed", encoding="utf-8")
    VectorIndex(passages(), load(other))
    assert len(list(cache_folder().iterdir())) == 3


def test_a_spoiled_file_is_replaced(embedder):
    VectorIndex(passages(), embedder)
    (file,) = cache_folder().iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-4] + b"\0\0\0\1")
    assert len(VectorIndex(passages(), embedder).search("chat", threshold=-1)) == 5
    assert file.read_bytes() == whole


def test_the_cache_makes_room(embedder, monkeypatch):
    VectorIndex(passages(), embedder)
    (first,) = cache_folder().iterdir()
    monkeypatch.setattr(embeddings, "LIMIT_BYTES", first.stat().st_size + 10)
    VectorIndex(passages(TEXTS[::-1]), embedder)
    assert len(list(cache_folder().iterdir())) == 1 and not first.exists()


def test_a_place_that_takes_no_file_costs_a_warning(embedder, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert VectorIndex(passages(), embedder).search("chat", threshold=-1)
    assert "cannot be kept" in caplog.text


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(AffinageError, match="no sentence-transformers model"):
        load(tmp_path)
    (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(AffinageError, match=str(tmp_path.name)):
        load(tmp_path)


def test_a_model_that_brings_code_is_refused(model_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "own.Module"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "own.py").write_text("raise SystemExit('its code ran')")
    with pytest.raises(AffinageError):
        load(folder)


def test_models_are_looked_for_in_the_cache_and_nowhere_else(model_folder, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert models_here() == {}
    for name, source in (("models--me--sentences", model_folder), ("models--me--other", model_folder / "1_Pooling")):
        snapshot = tmp_path / "hub" / name / "snapshots" / "abc"
        snapshot.parent.mkdir(parents=True)
        shutil.copytree(source, snapshot)
        (tmp_path / "hub" / name / "refs").mkdir()
        (tmp_path / "hub" / name / "refs" / "main").write_text("abc")
    assert models_here() == {"me/sentences": Path(tmp_path / "hub/models--me--sentences/snapshots/abc")}
