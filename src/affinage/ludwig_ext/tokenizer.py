"""Ludwig's Hugging Face tokenizer, mended for tokenizers that have no token for unknown text."""

from ludwig.utils.tokenizers import HFTokenizer


class PromptTokenizer(HFTokenizer):
    """Byte-level tokenizers need no unknown token, but Ludwig fills missing prompts with it.

    Fault: without one, `predict` and `evaluate` stop with "Invalid missing value strategy fill_with_const".
    """

    def get_unk_token(self) -> str:
        return self.tokenizer.unk_token or self.tokenizer.eos_token
