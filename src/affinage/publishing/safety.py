"""What must not leave the machine: its paths, e-mail addresses and secrets, taken out of records or found in files."""

import json
import os
import re
import struct
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from huggingface_hub import constants

from affinage.curation.identifiers import SECRETS, find
from affinage.curation.personal_data import disguised
from affinage.environment import TOKEN_VARIABLES
from affinage.errors import Problem
from affinage.paths import ROOT

IN_DOCUMENTS = ("email", *SECRETS)
# Lists of words and rows of a dataset may well hold a path or an address that belongs there.
VOCABULARIES = "tokenizer.json vocab.json vocab.txt merges.txt added_tokens.json *.model".split()
ROWS = "*.jsonl *.csv *.tsv *.parquet train.json validation.json test.json".split()
CONTENTS = (*VOCABULARIES, *ROWS, "*.png")
# No slash, dot or word before it: an address on the web and a relative path are no absolute path.
ABSOLUTE = re.compile(
    r"(?<![\w.:/~<-])(?:~|/(?:home|Users|root|tmp|var|mnt|media|data|opt|srv|private|scratch|workspace|content|Volumes))"
    r"/[\w.@+~-][^\s\"'`<>|,;:)\]}]*|(?<!\w)[A-Za-z]:\\{1,2}[\w.@+~-][^\s\"'`<>|,;:)\]}]*"
)
SHORTEST_TOKEN = 8


@cache
def _places() -> re.Pattern[str]:
    """The folders of this machine that a file could name: the project, home, the temporary folder, the Hub's cache."""
    folders = {ROOT, Path.home(), Path(tempfile.gettempdir()), Path(constants.HF_HOME)}
    known = sorted({str(folder) for path in folders for folder in (path, path.resolve()) if len(folder.parts) > 1})
    return re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, known))})(?![\w-])[^\s\"'`<>|,;:)\]}}]*")


def sanitised(value: Any, names: Mapping[str, str]) -> Any:
    """JSON or YAML content without paths of a machine, e-mail addresses and secrets.

    A text that is a key of `names` becomes its value; an absolute path becomes its last part; the rest is disguised.
    """
    if isinstance(value, Mapping):
        return {key: sanitised(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [sanitised(item, names) for item in value]
    if not isinstance(value, str):
        return value
    if value in names:
        return names[value]
    for pattern in (_places(), ABSOLUTE):
        value = pattern.sub(lambda match: _last_part(match[0]), value)
    for finding in reversed([found for found in find(value) if found.kind in IN_DOCUMENTS]):
        value = value[: finding.start] + disguised(finding) + value[finding.end :]
    return value


def _last_part(path: str) -> str:
    return PureWindowsPath(path).name if "\\" in path else PurePosixPath(path).name


def leaks(folder: Path) -> list[Problem]:
    """What stands in the files of a folder and must not be sent, each with its file and line; no value is shown."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [problem for path in files for problem in _leaks_in(path, path.relative_to(folder).as_posix())]


def _leaks_in(path: Path, name: str) -> Iterator[Problem]:
    contents = any(PurePosixPath(name).match(pattern) for pattern in CONTENTS)
    patterns, kinds = list(_patterns(contents)), SECRETS if contents else IN_DOCUMENTS
    for number, line in enumerate(_texts(path), start=1):
        found = {what for what, pattern in patterns if pattern.search(line)}
        if any(sign in line for sign in "@_-:"):
            found |= {_word(finding.kind) for finding in find(line) if finding.kind in kinds}
        for what in sorted(found):
            where = name if path.suffix in HEADERS else f"{name}:{number}"
            yield Problem(where, f"holds {what}.", remedy="Take it out where it comes from, then make the plan again.")


def _patterns(contents: bool) -> Iterator[tuple[str, re.Pattern[str]]]:
    yield "a path of this machine", _places()
    if not contents:
        yield "an absolute path", ABSOLUTE
    for name in TOKEN_VARIABLES:
        token = os.environ.get(name, "").strip()
        if len(token) >= SHORTEST_TOKEN:
            yield f"the token of {name}", re.compile(re.escape(token))


def _word(kind: str) -> str:
    return {"email": "an e-mail address", "key": "a secret key"}.get(kind, "a password in an address")


def _texts(path: Path) -> Iterator[str]:
    """The lines of a text; of weights what describes them, and never the numbers; of a picture its bytes."""
    if path.suffix in HEADERS:
        yield HEADERS[path.suffix](path)
        return
    with path.open("rb") as file:
        for line in file:
            yield line.decode("utf-8", errors="replace")


def _safetensors_header(path: Path) -> str:
    """The JSON before the tensors; "" for a file that is cut, which another check reports."""
    with path.open("rb") as file:
        start = file.read(8)
        size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        header = file.read(size) if size <= path.stat().st_size else b""
    try:
        return json.dumps(json.loads(header).get("__metadata__", {}), ensure_ascii=False)
    except ValueError:
        return ""


def _gguf_header(path: Path) -> str:
    """Every text among the fields of a GGUF file but the words of its tokenizer."""
    from gguf import GGUFReader

    try:
        fields = GGUFReader(path).fields.items()
    except (ValueError, IndexError):
        return ""
    kept = {name: field.contents() for name, field in fields if not name.startswith(("tokenizer.ggml.", "GGUF."))}
    return json.dumps(kept, ensure_ascii=False, default=str)


HEADERS = {".safetensors": _safetensors_header, ".gguf": _gguf_header}
