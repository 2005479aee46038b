"""Random models of about a million parameters, in the architectures of the shipped configs: for rehearsals offline."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from affinage.data import dataset_files, read_rows
from affinage.errors import AffinageError, Problem
from affinage.paths import display

WIDTH, LAYERS, HEADS, VOCABULARY = 128, 2, 4, 1024
START, END, PAD = "<s>", "</s>", "<pad>"
IDS: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
T5_IDS: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
MARK = "random_weights_seed"  # in config.json: what says that a folder was made here and may be made again


def _byte_pairs(texts: Iterable[str], specials: list[str]) -> Tokenizer:
    """Knows every text byte by byte, and common words whole."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _for_decoders(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    tokenizer = _byte_pairs(texts, [START, END, PAD])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=PAD)


def _for_t5(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """As T5's, an end token after every text, no start token, and padding first; but its pieces are bytes."""
    tokenizer = _byte_pairs(texts, [PAD, END])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", pair=f"$A {END} $B {END}", special_tokens=[(END, 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)


def _for_bert(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Knows the commonest words whole and the others letter by letter; the library's trainer breaks ties by luck."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    split = pre_tokenizers.BertPreTokenizer()
    counts = Counter(word for text in texts for word, _ in split.pre_tokenize_str(text))
    letters = sorted(set("".join(counts)))
    words = sorted(counts, key=lambda word: (-counts[word], word))
    pieces = dict.fromkeys([*specials, *letters, *(f"##{letter}" for letter in letters), *words])
    vocabulary = {piece: number for number, piece in enumerate(list(pieces)[:VOCABULARY])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def _bert(size: int) -> Any:
    config = transformers.BertConfig(
        vocab_size=size,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=512,
        pad_token_id=0,
    )
    return transformers.BertForMaskedLM(config)


def _bloom(size: int) -> Any:
    return transformers.BloomForCausalLM(
        transformers.BloomConfig(vocab_size=size, hidden_size=WIDTH, n_layer=LAYERS, n_head=HEADS, **IDS)
    )


def _gpt2(size: int) -> Any:
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=size, n_positions=1024, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, **IDS)
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
        **IDS,
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
        **T5_IDS,
    )
    return transformers.T5ForConditionalGeneration(config)


ARCHITECTURES: dict[str, tuple[Callable[[Iterable[str]], PreTrainedTokenizerFast], Callable[[int], Any]]] = {
    "bert": (_for_bert, _bert),
    "bloom": (_for_decoders, _bloom),
    "gpt2": (_for_decoders, _gpt2),
    "llama": (_for_decoders, _llama),
    "mistral": (_for_decoders, lambda size: _llama(size, "Mistral")),
    "t5": (_for_t5, _t5),
}


def texts_of(task: str, dataset: str = "") -> Iterator[str]:
    """Every cell of a task's rows that is text. Raises AffinageError for data that cannot be read."""
    for path in dataset_files(task, dataset):
        rows = read_rows(path)
        for column in rows:
            yield from (cell for cell in rows[column] if isinstance(cell, str))


def make_tiny_model(architecture: str, texts: Iterable[str], folder: Path, seed: int = 42) -> int:
    """Writes a random model and a tokenizer that was trained on `texts`; returns the number of parameters.

    The same texts and seed give the same files. A model that was made here before goes; raises AffinageError when
    anything else stands in `folder`.
    """
    _refuse_to_replace(folder)
    tokenize, build = ARCHITECTURES[architecture]
    tokenizer = tokenize(texts)
    transformers.set_seed(seed)
    model = build(-(-len(tokenizer) // 32) * 32)  # 4-bit layers need widths that are multiples of 32
    setattr(model.config, MARK, seed)
    partial = folder.with_name(f".{folder.name}-partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return model.num_parameters()


def _refuse_to_replace(folder: Path) -> None:
    config = folder / "config.json"
    made_here = config.is_file() and MARK in json.loads(config.read_text(encoding="utf-8"))
    if folder.exists() and not made_here:
        found = "is there already, and is no tiny model that was made here."
        raise AffinageError(Problem(display(folder), found, remedy="Name another folder."))
