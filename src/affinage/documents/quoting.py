"""Texts of documents as quotations in a prompt, which nothing in them can close."""

import hashlib
from collections.abc import Sequence

from affinage.control_tokens import ControlTokens

CODE_LENGTH = 8  # hexadecimal digits
TEMPLATE_TOKENS = 16  # that a chat template may put around each message


def code_for(texts: Sequence[str]) -> str:
    """A code that stands in none of the texts; the same texts always get the same one."""
    joined, n = "\0".join(texts), 0
    while True:
        code = hashlib.sha256(f"{n}\0{joined}".encode("utf-8", "surrogatepass")).hexdigest()[:CODE_LENGTH]
        if code not in joined.lower():
            return code
        n += 1


def quotation(label: str, text: str, code: str) -> str:
    """The text between BEGIN and END with the code, without the control tokens of any known model family."""
    return f"BEGIN {label} {code}\n{ControlTokens().escaped(text)}\nEND {label} {code}"
