"""Ludwig's Hugging Face tokenizer, mended for tokenizers that have no token for unknown text, and for its speed."""

from typing import Any, ClassVar

from ludwig.callbacks import Callback
from ludwig.utils.tokenizers import HFTokenizer

from affinage.token_cache import TokenIds


class PromptTokenizer(HFTokenizer):
    """Byte-level tokenizers need no unknown token, but Ludwig fills missing prompts with it.

    Fault: without one, `predict` and `evaluate` stop with "Invalid missing value strategy fill_with_const".
    Fault: preprocessing encodes every text twice, in every run; `EncodedBeforehand` gives it ids that are known.
    """

    known: ClassVar[tuple[str, TokenIds]] = ("", {})  # a base model, and ids by its tokenizer

    def __init__(self, pretrained_model_name_or_path: str, **kwargs: Any) -> None:
        super().__init__(pretrained_model_name_or_path, **kwargs)
        self.base_model = pretrained_model_name_or_path

    def __call__(self, text: str) -> list[int]:
        base_model, known = PromptTokenizer.known
        if base_model == self.base_model and text in known and len(known[text]) <= self.tokenizer.model_max_length:
            return known[text].tolist()
        return super().__call__(text)

    def get_unk_token(self) -> str:
        return self.tokenizer.unk_token or self.tokenizer.eos_token


class EncodedBeforehand(Callback):
    """During Ludwig's preprocessing, texts whose ids are known are not encoded again; others are, as ever."""

    def __init__(self, base_model: str, known: TokenIds | None) -> None:
        self.known = (base_model, known or {})

    def on_preprocess_start(self, config: dict[str, Any]) -> None:
        PromptTokenizer.known = self.known

    def on_preprocess_end(self, training_set, validation_set, test_set, training_set_metadata) -> None:
        PromptTokenizer.known = self.known = ("", {})
