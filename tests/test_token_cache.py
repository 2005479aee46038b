"""Token ids from the cache against the tokenizer itself, and a cache that is cut, killed, full, shared and outgrown."""

import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from affinage import checked_files, token_cache
from affinage.token_cache import identity, token_ids

TEXTS = ["le chat mange", "", "LA SOURIS\n lit", "</s> rouge", "été 🐈", "un livre " * 300]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The folder of this test's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "affinage" / "tokenized"


@pytest.fixture
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model())


@pytest.fixture
def no_encoding(monkeypatch):
    """Call it, and whatever has to be encoded from then on is an error."""

    def forbid():
        def encode(texts, _tokenizer):
            raise AssertionError(f"{len(texts)} texts are encoded again")

        monkeypatch.setattr(token_cache, "_encode", encode)

    return forbid


def files(place):
    return sorted(path.name for path in place.iterdir()) if place.exists() else []


def right(found, tokenizer, texts=TEXTS):
    return {text: ids.tolist() for text, ids in found.items()} == {text: tokenizer.encode(text) for text in texts}


@pytest.mark.parametrize("kind", ["plain", "bos", "no_pad"])
def test_ids_are_those_of_the_tokenizer_when_they_are_written_and_when_they_are_read(tiny_model, kind, no_encoding):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama", kind))
    assert right(token_ids(TEXTS, tokenizer), tokenizer)
    no_encoding()
    assert right(token_ids(TEXTS, tokenizer), tokenizer)


def test_order_repetition_and_the_place_of_the_tokenizer_change_nothing(tokenizer, tmp_path, no_encoding):
    token_ids(TEXTS, tokenizer)
    tokenizer.save_pretrained(tmp_path / "moved")
    moved = AutoTokenizer.from_pretrained(tmp_path / "moved")
    moved.encode(TEXTS[-1], truncation=True, max_length=4)  # what one call asked for says nothing about the next
    no_encoding()
    assert right(token_ids([*reversed(TEXTS), *TEXTS], moved), tokenizer)


def _add_a_token(tokenizer):
    tokenizer.add_tokens(["chat"])


def _lowercase(tokenizer):
    from tokenizers import normalizers

    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()


def _begin_with_a_token(tokenizer):
    from tokenizers import processors

    template = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.backend_tokenizer.post_processor = template


def _split_special_tokens(tokenizer):
    tokenizer.split_special_tokens = True


@pytest.mark.parametrize("change", [_add_a_token, _lowercase, _begin_with_a_token, _split_special_tokens])
def test_whatever_changes_in_the_tokenizer_is_a_miss(tokenizer, place, change):
    before = token_ids(TEXTS, tokenizer)
    change(tokenizer)
    after = token_ids(TEXTS, tokenizer)
    assert right(after, tokenizer) and not right(before, tokenizer)
    assert len(files(place)) == 2


@pytest.mark.parametrize("texts", [TEXTS[1:], [*TEXTS, "petit"], [*TEXTS[:-1], TEXTS[-1] + " "]])
def test_whatever_changes_in_the_texts_is_a_miss(tokenizer, place, texts):
    token_ids(TEXTS, tokenizer)
    assert right(token_ids(texts, tokenizer), tokenizer, texts)
    assert len(files(place)) == 2


def test_another_version_of_a_package_or_of_the_format_is_a_miss(tokenizer, monkeypatch):
    seen = {identity(tokenizer)}
    for changed in token_cache.PACKAGES:
        monkeypatch.setattr(token_cache, "version", lambda name, changed=changed: "0" if name == changed else "1")
        seen.add(identity(tokenizer))
    monkeypatch.setattr(token_cache, "FORMAT", token_cache.FORMAT + 1)
    seen.add(identity(tokenizer))
    assert len(seen) == 5


def test_nothing_is_kept_of_a_tokenizer_that_cannot_be_identified(tokenizer, place):
    class Own(type(tokenizer)):
        pass

    assert token_ids(TEXTS, Own(tokenizer_object=tokenizer.backend_tokenizer)) is None
    tokenizer.backend_tokenizer.model.dropout = 0.5
    assert token_ids(TEXTS, tokenizer) is None
    assert files(place) == []


def _cut(content):
    return content[: len(content) // 2]


def _flip(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize("spoil", [_cut, _flip, lambda _: b"", lambda content: content[:32], lambda _: b"\0" * 4096])
def test_a_spoiled_file_is_a_miss_and_is_replaced(tokenizer, place, spoil):
    token_ids(TEXTS, tokenizer)
    (name,) = files(place)
    whole = (place / name).read_bytes()
    (place / name).write_bytes(spoil(whole))
    assert token_cache._read(name, TEXTS) is None and files(place) == []
    assert right(token_ids(TEXTS, tokenizer), tokenizer)
    assert (place / name).read_bytes() == whole


def test_a_disk_that_is_full_costs_a_warning_and_leaves_nothing(tokenizer, place, disk_full_after, capfd):
    with disk_full_after(100):
        assert right(token_ids(TEXTS, tokenizer), tokenizer)
    assert files(place) == []
    assert "warning: token ids cannot be kept" in capfd.readouterr().err


def test_a_place_that_takes_no_folder_costs_a_warning(tokenizer, tmp_path, monkeypatch, capfd):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert right(token_ids(TEXTS, tokenizer), tokenizer)
    assert "warning: token ids cannot be kept" in capfd.readouterr().err


def test_files_are_for_their_owner_alone(tokenizer, place):
    token_ids(TEXTS, tokenizer)
    (name,) = files(place)
    assert (place / name).stat().st_mode & 0o077 == place.stat().st_mode & 0o077 == 0


def test_the_least_recently_used_files_go_when_there_are_too_many(tokenizer, place, monkeypatch):
    names = []
    for age, text in ((30, "un"), (20, "deux"), (10, "trois")):
        token_ids([text * 50], tokenizer)
        (name,) = set(files(place)) - set(names)
        names.append(name)
        os.utime(place / name, (time.time() - age,) * 2)
    token_ids(["un" * 50], tokenizer)  # the oldest, used again
    monkeypatch.setattr(token_cache, "LIMIT_BYTES", sum((place / name).stat().st_size for name in names) + 50)
    token_ids(["petit"], tokenizer)
    assert len(files(place)) == 4
    token_ids(["grand" * 50], tokenizer)
    assert names[0] in files(place) and names[1] not in files(place)
    assert sum(path.stat().st_size for path in place.iterdir()) <= token_cache.LIMIT_BYTES


processes = multiprocessing.get_context("forkserver")


def encode_many(model, caches, limit=None):
    """Encodes 3,000 texts in a process of its own; the system kills it when a file grows beyond `limit` bytes."""
    os.environ["XDG_CACHE_HOME"] = str(caches)
    tokenizer = AutoTokenizer.from_pretrained(model)
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    texts = [f"{n} le chat mange la souris" for n in range(3000)]
    assert right(token_ids(texts, tokenizer), tokenizer, texts)


def exit_codes(*arguments):
    started = [processes.Process(target=encode_many, args=one) for one in arguments]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return [process.exitcode for process in started]


@pytest.mark.slow
def test_two_processes_at_once_and_one_killed_as_it_writes_do_no_harm(tiny_model, tokenizer, place):
    ours = (tiny_model(), place.parents[1])
    assert exit_codes((*ours, 10000)) == [-signal.SIGXFSZ]  # in the middle of its file
    (part,) = files(place)
    assert part.endswith(".part") and (place / part).stat().st_size == 10000
    assert exit_codes(ours, ours) == [0, 0]
    assert len(files(place)) == 2
    os.utime(place / part, (time.time() - checked_files.LEFT_BEHIND_SECONDS - 1,) * 2)
    token_ids(TEXTS, tokenizer)
    assert [Path(name).suffix for name in files(place)] == [".ids", ".ids"]
