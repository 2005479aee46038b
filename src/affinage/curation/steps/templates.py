"""Prompts with {column} placeholders, in which braces of the data mean nothing."""

import re
from collections.abc import Mapping
from typing import Any

PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}|\{(\w+)\}")


def placeholders(template: str) -> list[str]:
    """The names that a template asks for, in order, each once."""
    return list(dict.fromkeys(found[2] for found in PLACEHOLDER.finditer(template) if found[2]))


def fill(template: str, values: Mapping[str, Any]) -> str:
    """The template with each {name} replaced by its value, and {{name}} by {name}; all other braces stay.

    Values are put in as they are, once: a placeholder inside one is only text. Raises KeyError for a missing name.
    """
    return PLACEHOLDER.sub(lambda found: "{" + found[1] + "}" if found[1] else str(values[found[2]]), template)
