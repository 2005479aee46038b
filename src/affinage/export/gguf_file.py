"""GGUF files that appear whole or not at all, what is written into them, and the record of what was measured."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.repocard import metadata_load
from transformers import AutoTokenizer

from affinage.data import sha256
from affinage.errors import AffinageError, Problem
from affinage.export import llama_calls
from affinage.export.gguf_check import Check
from affinage.export.gguf_tokenizer import pre_tokenizer_name
from affinage.export.llama_cpp import LlamaCpp
from affinage.ludwig_ext.batches import SpecialTokens
from affinage.runs import Run, write_json

RECORD = "gguf.json"
UNVERIFIED = ".unverified"


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file that was made, and what the comparison with the run measured (`gguf_check.Check` as a dict).

    `path` ends in .unverified when the comparison failed; `check["faults"]` then says why.
    """

    path: Path
    quantization: str
    sha256: str
    check: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        return not self.check["faults"]


@dataclass(frozen=True)
class About:
    """What a GGUF file says about itself, besides its weights; `card` holds fields of a model card."""

    name: str
    description: str
    card: dict[str, Any]


def about(run: Run, config: Any, licence: str = "") -> About:
    """Name, prompt and licence of a run, in the fields GGUF has for them; `config` is the resolved Ludwig config.

    The licence is that of the base model's card unless given. A base model that is a folder is named by its last part.
    """
    base = config.base_model
    card = _card_of(base, run.manifest["base_model"].get("revision"))
    kept: dict[str, Any] = {
        key: card[key] for key in ("license", "license_name", "license_link", "language") if key in card
    }
    if licence:
        kept |= {"license": licence}
    if not Path(base).is_dir():
        kept["base_model"] = base
    name = f"{run.manifest['task']} {run.manifest['config']}"
    prompt = config.prompt.template or config.prompt.task or "the text alone"
    return About(name, f"{Path(base).name}, fine-tuned with Affinage. Prompt of training:\n{prompt}", kept)


def _card_of(base: str, revision: str | None) -> dict[str, Any]:
    """The metadata of a base model's card, from its folder or the cache of the Hub; empty when there is none."""
    card: Any = Path(base) / "README.md"
    if not Path(base).is_dir():
        card = try_to_load_from_cache(base, "README.md", revision=revision)
    return (metadata_load(card) or {}) if isinstance(card, str | Path) and Path(card).is_file() else {}


def write_floats(llama: LlamaCpp, model: Path, target: Path, type: str, pre_tokenizer: str, about: About) -> None:
    """Converts a transformers folder to a GGUF file of type f32, f16 or bf16.

    Raises AffinageError when llama.cpp has no name for how its tokenizer cuts words and `pre_tokenizer` gives none.
    """
    named = pre_tokenizer or pre_tokenizer_name(model / "tokenizer.json")
    name = named if isinstance(named, str) else ""
    tokenizer = AutoTokenizer.from_pretrained(model)
    bos = SpecialTokens.of(tokenizer).prefix == (tokenizer.bos_token_id,)
    if not llama_calls.convert(llama, model, target, type, bos, name, about.name, about.description, about.card):
        found = Problem(str(model), "llama.cpp does not know its tokenizer.")
        raise AffinageError(named if isinstance(named, Problem) else found)


@contextmanager
def partial_beside(target: Path) -> Iterator[Path]:
    """A path to write to on the same disk as `target`; whatever stands there at the end of the block is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
        yield Path(folder) / target.name


def keep(partial: Path, target: Path, quantization: str, found: Check, notes: tuple[str, ...] = ()) -> GgufFile:
    """Moves a finished file into place, under a name that ends in .unverified when the comparison failed."""
    unverified = target.with_name(target.name + UNVERIFIED)
    place = unverified if found.faults else target
    unverified.unlink(missing_ok=True)
    partial.replace(place)
    return GgufFile(place, quantization, sha256(place), asdict(found), notes)


def record(made: GgufFile, **facts: Any) -> None:
    """Enters a file into the gguf.json beside it, under its quantization."""
    path = made.path.parent / RECORD
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    entry = {"file": made.path.name, "bytes": made.path.stat().st_size, "sha256": made.sha256}
    entry |= {"verified": made.verified, "check": made.check, "notes": list(made.notes)} | facts
    write_json(path, entries | {made.quantization: entry})
