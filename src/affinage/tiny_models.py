"""Random models of about a million parameters, in the architectures of the shipped configs: for rehearsals offline."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from affinage.data import dataset_files, read_rows

WIDTH, LAYERS, HEADS, VOCABULARY = 128, 2, 4, 1024
END, PAD, START, UNKNOWN = "</s>", "<pad>", "<s>", "<unk>"


def _bpe(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=[START, END, PAD], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=START, eos_token=END, pad_token=PAD)


def _unigram(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Like T5's: pieces of SentencePiece with bytes for what is rare, and an end token after every text."""
    letters = [f"<0x{byte:02X}>" for byte in range(256)]
    unigram = Tokenizer(models.BPE(byte_fallback=True, unk_token=UNKNOWN, fuse_unk=True))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[PAD, END, UNKNOWN, *letters], show_progress=False
    )
    unigram.train_from_iterator(texts, trainer)
    unigram.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=unigram, eos_token=END, pad_token=PAD, unk_token=UNKNOWN)


def _wordpiece(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.decoder = decoders.WordPiece()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=specials, show_progress=False)
    words.train_from_iterator(texts, trainer)
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=words, **names)


def _bert(size: int) -> Any:
    config = transformers.BertConfig(
        size, WIDTH, LAYERS, HEADS, intermediate_size=2 * WIDTH, max_position_embeddings=512
    )
    return transformers.BertForMaskedLM(config)


def _bloom(size: int) -> Any:
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    return transformers.BloomForCausalLM(
        transformers.BloomConfig(vocab_size=size, hidden_size=WIDTH, n_layer=LAYERS, n_head=HEADS, **ids)
    )


def _gpt2(size: int) -> Any:
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=size, n_positions=1024, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, **ids)
    )


def _llama(size: int, kind: str = "Llama") -> Any:
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=size,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS // 2,
        max_position_embeddings=1024,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    return getattr(transformers, f"{kind}ForCausalLM")(config)


def _t5(size: int) -> Any:
    config = transformers.T5Config(
        vocab_size=size,
        d_model=WIDTH,
        d_kv=WIDTH // HEADS,
        d_ff=2 * WIDTH,
        num_layers=LAYERS,
        num_heads=HEADS,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    return transformers.T5ForConditionalGeneration(config)


ARCHITECTURES: dict[str, tuple[Callable[[Iterable[str]], PreTrainedTokenizerFast], Callable[[int], Any]]] = {
    "bert": (_wordpiece, _bert),
    "bloom": (_bpe, _bloom),
    "gpt2": (_bpe, _gpt2),
    "llama": (_bpe, _llama),
    "mistral": (_bpe, lambda size: _llama(size, "Mistral")),
    "t5": (_unigram, _t5),
}


def texts_of(task: str, dataset: str = "") -> Iterator[str]:
    """Every cell of a task's rows that is text. Raises AffinageError for data that cannot be read."""
    for path in dataset_files(task, dataset):
        rows = read_rows(path)
        for column in rows:
            yield from (cell for cell in rows[column] if isinstance(cell, str))


def make_tiny_model(architecture: str, texts: Iterable[str], folder: Path, seed: int = 42) -> int:
    """Writes a random model and a tokenizer that was trained on `texts`; returns the number of parameters.

    The same texts and seed give the same files. Whatever stood in `folder` goes.
    """
    tokenize, build = ARCHITECTURES[architecture]
    tokenizer = tokenize(texts)
    transformers.set_seed(seed)
    model = build(-(-len(tokenizer) // 32) * 32)  # 4-bit layers need widths that are multiples of 32
    partial = folder.with_name(f".{folder.name}-partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return model.num_parameters()
