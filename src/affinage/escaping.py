"""The one way a template is read: whatever it is given is escaped, and a name that it is not given is an error."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def escaping_environment(folder: Path, filters: Mapping[str, Any], **options: Any) -> Environment:
    """Templates of a folder; `options` are jinja2's. Lines that hold only a statement leave nothing behind."""
    usual = {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, **(usual | options)
    )
    environment.filters |= filters
    return environment


def content_hash(text: str) -> str:
    """What a page's content security policy calls a script or a style of its own by."""
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
