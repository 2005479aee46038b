"""llama.cpp's own converter, in a process of its own: it brings its own copy of the gguf package.

Run as `python -m affinage.export.conversion_process`; reads one request as JSON from standard input and writes the
answer, as JSON, to the file that the request names.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """Writes the transformers folder `model` as `target`; `{"unrecognised": True}` when its tokenizer is unknown.

    The request holds the converter's folder as `source`, `type` (f32, f16 or bf16), `name` and `description` for the
    file, `card` (what a model card says: license, language, base_model...), and as `pre_tokenizer` the name to write
    where the converter does not know how the tokenizer cuts words ("" when nobody knows). `bos` says whether training
    put the start token before a prompt.
    """
    sys.path[:0] = [request["source"], str(Path(request["source"]) / "gguf-py")]
    import gguf
    import torch
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class
    from conversion.base import TextModel

    _name_pre_tokenizer(TextModel, request["pre_tokenizer"])
    _score_by_merges(gguf.LlamaHfVocab)
    _begin_as_in_training(gguf.SpecialVocab, request["bos"])
    setattr(gguf.Metadata, "load_model_card", lambda path=None: request["card"])  # noqa: B010 (mypy wants no method)
    types = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16"}
    folder = Path(request["model"])
    with torch.inference_mode():
        settings = ModelBase.load_hparams(folder, False)
        if "n_positions" in settings:
            settings.setdefault("n_ctx", settings["n_positions"])  # GPT-2 folders of today lack it
        writer = get_model_class(get_model_architecture(settings, ModelType.TEXT))(
            folder,
            gguf.LlamaFileType[types[request["type"]]],
            Path(request["target"]),
            hparams=settings,
            model_name=request["name"],
            metadata_override=Path(request["metadata"]),
        )
        try:
            writer.write()
        except _Unrecognised:
            return {"unrecognised": True}
    return {}


class _Unrecognised(Exception):
    """The converter does not know the tokenizer's way of cutting words, and neither do we."""


def _name_pre_tokenizer(text_model: Any, name: str) -> None:
    """The converter recognises a pre-tokenizer by what a whole vocabulary makes of one text: a new one it refuses."""
    recognise = text_model.get_vocab_base_pre

    def named(self: Any, tokenizer: Any) -> str:
        try:
            return recognise(self, tokenizer)
        except NotImplementedError as error:
            if not name:
                raise _Unrecognised from error
            return name

    text_model.get_vocab_base_pre = named


def _begin_as_in_training(vocabulary: Any, bos: bool) -> None:
    """Where the tokenizer's files do not say whether a text gets a start token, llama.cpp follows habits of its own."""
    write = vocabulary.add_to_gguf

    def say(self: Any, *args: Any, **options: Any) -> None:
        self.add_special_token |= {"bos": bos, "eos": False}
        write(self, *args, **options)

    vocabulary.add_to_gguf = say


def _score_by_merges(vocabulary: Any) -> None:
    """The converter gives one score to all tokens of a tokenizer.json that comes from SentencePiece (Llama 2, Mistral),
    but llama.cpp joins pieces in the order of scores: here a token has the rank of the first merge that makes it.
    """
    scores: dict[int, float] = {}

    def score(self: Any, token_id: int) -> float:
        if not scores:
            model = json.loads(Path(self.fname_tokenizer).read_text(encoding="utf-8"))["model"]
            for rank, merge in enumerate(model["merges"]):
                token = "".join(merge.split(" ") if isinstance(merge, str) else merge)
                scores.setdefault(model["vocab"][token], -float(rank))
        return scores.get(token_id, -1e6)

    vocabulary.get_token_score = score


def main() -> None:
    request = json.load(sys.stdin)
    logging.basicConfig(level=logging.WARNING)
    answer = convert(request)
    Path(request["reply"]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
