"""llama.cpp in its cache: got by hash, whole or not at all; and what it makes of home-made tokenizers."""

import hashlib
import io
import json
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from affinage.errors import AffinageError, Problem
from affinage.export import llama_cpp

made = runpy.run_path(str(Path(__file__).with_name("exported_runs.py")))
BACKEND = """
import zipfile
NAME = "llama_cpp_python-9.9.9"
METADATA = "Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: 9.9.9\\n"
def build_wheel(folder, settings=None, metadata=None):
    if FAIL: raise SystemExit("no such instruction: vfmadd")
    with zipfile.ZipFile(f"{folder}/{NAME}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("llama_cpp/llama_cpp.py", "compiled = True")
        wheel.writestr(f"{NAME}.dist-info/METADATA", METADATA)
        wheel.writestr(f"{NAME}.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{NAME}.dist-info/RECORD", "")
    return f"{NAME}-py3-none-any.whl"
def prepare_metadata_for_build_wheel(folder, settings=None):
    import os
    os.makedirs(f"{folder}/{NAME}.dist-info")
    with open(f"{folder}/{NAME}.dist-info/METADATA", "w") as file:
        file.write(METADATA)
    return f"{NAME}.dist-info"
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A package of the same shape that compiles in no time, in a folder that is the only place pip looks at."""

    def make(fail=False):
        files = {
            "PKG-INFO": "Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: 9.9.9\n",
            "pyproject.toml": PROJECT,
            "backend.py": f"FAIL = {fail}\n{BACKEND}",
            "vendor/llama.cpp/convert_hf_to_gguf.py": "the converter",
            "vendor/llama.cpp/conversion/base.py": "its classes",
            "vendor/llama.cpp/src/llama.cpp": "much that is not needed",
        }
        shelf = tmp_path / "shelf"
        shelf.mkdir()
        with tarfile.open(shelf / "llama_cpp_python-9.9.9.tar.gz", "w:gz") as tar:
            for name, text in files.items():
                member = tarfile.TarInfo(f"llama_cpp_python-9.9.9/{name}")
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
        digest = hashlib.sha256((shelf / "llama_cpp_python-9.9.9.tar.gz").read_bytes()).hexdigest()
        lock = tmp_path / "lock"
        lock.write_text(f"# a comment\nllama-cpp-python==9.9.9 \\\n    --hash=sha256:{digest}\n")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.delenv("LLAMA_CPP_DIR", raising=False)
        return lock

    return make


@pytest.mark.slow
def test_it_is_compiled_once_and_only_the_converter_of_its_source_is_kept(source, tmp_path):
    lock, said = source(), []
    found = llama_cpp.install(said.append, lock=lock)
    assert found.version == "9.9.9" and "ten minutes" in said[0]
    assert found.library.parent == tmp_path / "cache" / "affinage" / "llama-cpp" / (
        f"9.9.9-cp{sys.version_info.major}{sys.version_info.minor}"
    )
    kept = {str(path.relative_to(found.source)) for path in found.source.rglob("*.py")}
    assert kept == {"convert_hf_to_gguf.py", "conversion/base.py"}
    assert (found.library / "llama_cpp" / "llama_cpp.py").is_file()
    assert sorted(path.name for path in found.library.parent.iterdir()) == ["library", "source"]
    assert llama_cpp.install(said.append, lock=lock) == found and len(said) == 1


@pytest.mark.slow
def test_a_source_of_another_hash_and_a_build_that_fails_leave_nothing(source, tmp_path):
    lock = source(fail=True)
    with pytest.raises(AffinageError, match="the build failed") as error:
        llama_cpp.install(lambda text: None, lock=lock)
    assert "vfmadd" in str(error.value)
    lock.write_text(lock.read_text().replace("sha256:", "sha256:0000")[:-5] + "\n")
    with pytest.raises(AffinageError, match="the source failed"):
        llama_cpp.install(lambda text: None, lock=lock)
    assert list(llama_cpp.cache_folder(lock).iterdir()) == []


def test_no_compiler_and_no_installation_are_said_with_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("LLAMA_CPP_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", "")
    with pytest.raises(AffinageError, match="apt install g"):
        llama_cpp.install(lambda text: None)
    monkeypatch.setenv("CXX", "clang++-99")
    with pytest.raises(AffinageError, match=r"'clang\+\+-99' is no program"):
        llama_cpp.install(lambda text: None)
    with pytest.raises(AffinageError, match="Type make llama-cpp"):
        llama_cpp.find()
    monkeypatch.setenv("LLAMA_CPP_DIR", str(tmp_path / "llama.cpp"))
    with pytest.raises(AffinageError, match="LLAMA_CPP_DIR"):
        llama_cpp.find()


def test_the_lock_pins_the_source_by_its_hash():
    text = llama_cpp.LOCK.read_text(encoding="utf-8")
    assert llama_cpp.pinned_version().count(".") == 2
    assert "--hash=sha256:" in text and "://" not in text


def split(regex):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), byte_level])


def byte_level_bpe(pre_tokenizer):
    """A BPE whose merges reach across words and digits, so that its ids show where it cuts."""
    from affinage.export.gguf_check import TEXTS

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet)
    bpe.train_from_iterator([*TEXTS] * 5, trainer)
    bpe.pre_tokenizer = pre_tokenizer
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>")


@pytest.mark.slow
def test_llama_cpp_cuts_texts_as_each_named_tokenizer_does(tiny_model, tmp_path):
    from affinage.export import llama_calls
    from affinage.export.gguf_check import TEXTS
    from affinage.export.gguf_file import About, write_floats
    from affinage.export.gguf_tokenizer import BLOOM, QWEN2, pre_tokenizer_name

    llama, byte_level = made["llama_or_skip"](), pre_tokenizers.ByteLevel(add_prefix_space=False)
    cases = {
        "gpt-2": byte_level,
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level]),
        "qwen2": split(QWEN2),
        "bloom": split(BLOOM[0]),
    }
    base, model, first, seen = made["load"](tiny_model("llama")), tmp_path / "model", tmp_path / "gpt-2.gguf", set()
    base.resize_token_embeddings(600, mean_resizing=False)
    base.save_pretrained(model)
    for name, pre_tokenizer in cases.items():
        tokenizer, file = byte_level_bpe(pre_tokenizer), tmp_path / f"{name}.gguf"
        tokenizer.save_pretrained(model)
        assert pre_tokenizer_name(model / "tokenizer.json") == name
        if file == first:
            write_floats(llama, model, file, "f16", "", About(name, "", {}))
        else:
            rename = [sys.executable, "-m", "gguf.scripts.gguf_new_metadata", "--pre-tokenizer", name, first, file]
            subprocess.run(rename, check=True, capture_output=True)
        found = llama_calls.evaluate(llama, file, TEXTS, []).ids
        assert len(TEXTS) > 50 and found == [tokenizer(text).input_ids for text in TEXTS], name
        seen.add(json.dumps(found))
    assert len(seen) == 4, "the four ways of cutting give the same ids, so nothing was tested"


@pytest.mark.slow
def test_pieces_of_sentencepiece_are_joined_in_their_order_without_its_own_file(tiny_model, tmp_path):
    import sentencepiece

    from affinage.export import llama_calls
    from affinage.export.gguf_check import TEXTS
    from affinage.export.gguf_file import About, write_floats

    llama, model = made["llama_or_skip"](), tmp_path / "model"
    options = {"model_type": "bpe", "byte_fallback": True, "vocab_size": 700, "normalization_rule_name": "identity"}
    keep = {"remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*TEXTS] * 5), model_prefix=str(tmp_path / "tokenizer"), **options, **keep
    )
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer", "legacy": false}')
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    base = made["load"](tiny_model("llama"))
    base.resize_token_embeddings(700, mean_resizing=False)
    base.save_pretrained(model)
    tokenizer.save_pretrained(model)
    assert not (model / "tokenizer.model").exists()
    write_floats(llama, model, tmp_path / "spm.gguf", "f16", "", About("spm", "", {}))
    texts = [text for text in TEXTS if not text.startswith(" ")]
    found = llama_calls.evaluate(llama, tmp_path / "spm.gguf", texts, []).ids
    assert found == [tokenizer(text).input_ids for text in texts]
    assert len(texts) > 50


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda bpe: setattr(bpe, "normalizer", normalizers.Lowercase()), "normalizer Lowercase"),
        (lambda bpe: setattr(bpe, "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)), "a space before"),
        (
            lambda bpe: setattr(bpe, "pre_tokenizer", split("[aeiou]")),
            r"of its own.*\[aeiou\]",
        ),
    ],
)
def test_a_tokenizer_that_llama_cpp_does_not_have_is_a_problem_with_the_reason(change, reason, tmp_path):
    from affinage.export.gguf_tokenizer import pre_tokenizer_name

    bpe = Tokenizer.from_str(json.dumps(json.loads(plain_bpe())))
    change(bpe)
    bpe.save(str(tmp_path / "tokenizer.json"))
    found = pre_tokenizer_name(tmp_path / "tokenizer.json")
    assert isinstance(found, Problem) and "PRE_TOKENIZER=" in found.remedy
    with pytest.raises(AffinageError, match=reason):
        raise AffinageError(found)


def plain_bpe():
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return bpe.to_str()
