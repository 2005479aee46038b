"""The folder that becomes a repository on the Hub: which files of a run, under which names, and what is made for it."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from affinage.errors import AffinageError, Problem
from affinage.model_types import refuse_encoder
from affinage.paths import ROOT
from affinage.publishing.card_results import newest_evaluation, read_json
from affinage.publishing.publication import Publication
from affinage.publishing.safety import sanitised
from affinage.runs import USER_CONFIG, Run

TOKENIZER = "tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json tokenizer.model vocab.json"
TOKENIZER_FILES = (*TOKENIZER.split(), "merges.txt", "spiece.model", "sentencepiece.bpe.model")
MODEL_FILES = ("config.json", "model*.safetensors", "model.safetensors.index.json")
LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
LINKED = (".safetensors", ".gguf")  # large, and never written to: the folder shares them with the run
TOKENIZER_ONLY_HERE = ("is_local", "local_files_only", "backend", "name_or_path", "chat_template")
Contents = dict[str, Path | bytes]


def publication_of(
    run: Run, repo: str, kind: str = "adapter", base: str = "", licence: str = "", **others: Any
) -> Publication:
    """What is published of a run: "full" instead of an adapter when it has none, and the base model it was trained on.

    `base` replaces that one; it is "" in what is returned when the run's own is a folder of this machine.
    """
    refuse_encoder(run, "be published yet")
    trained_on = run.manifest.get("base_model", {})
    known = "" if "files" in trained_on else str(trained_on.get("id", ""))
    if kind == "adapter" and (run.weights_folder / "config.json").exists():
        kind = "full"
    revision = trained_on.get("revision") if base in ("", known) else None
    return Publication(run, repo, base or known, revision, licence, kind=kind, **others)


def publish_folder(run: Run) -> Path:
    """Where everything about publishing a run is: the folders of each kind, their plans, and the record of uploads."""
    return run.folder / "publish"


def stage(publication: Publication, keep_card: str = "") -> Path:
    """Makes <run>/publish/<kind>/ as the repository will be, in one step; returns it.

    `keep_card` is the text of a README.md to keep, "" to write one. Raises AffinageError when the weights are missing.
    """
    contents = weights(publication) | records(publication) | documents(publication)
    contents["README.md"] = keep_card.encode() if keep_card else _card(publication)
    return write_folder(publish_folder(publication.run) / publication.kind, contents)


def sources(publication: Publication) -> dict[str, Path]:
    """The files that the folder is made from, weights and evaluations, by name."""
    files = {name: path for name, path in weights(publication).items() if isinstance(path, Path)}
    return files | _evaluations(publication.run)


def write_folder(folder: Path, contents: Contents) -> Path:
    """Fills a folder under a temporary name and puts it in the place of the one that was there."""
    partial, before = (folder.with_name(f".{folder.name}.{word}") for word in ("partial", "before"))
    for left in (partial, before):
        shutil.rmtree(left, ignore_errors=True)
    for name, content in contents.items():
        path = partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            _place(content, path)
    if folder.exists():
        folder.rename(before)
    partial.rename(folder)
    shutil.rmtree(before, ignore_errors=True)
    return folder


def _place(source: Path, path: Path) -> None:
    if source.suffix in LINKED:
        try:
            os.link(source, path)
            return
        except OSError:  # another file system
            pass
    shutil.copyfile(source, path)


def weights(publication: Publication) -> Contents:
    """The weights with their configuration and tokenizer. Raises AffinageError when there are none."""
    run, names = publication.run, base_names(publication)
    if publication.kind == "gguf":
        found = sorted((run.folder / "export").glob("*.gguf"))
        return {path.name: path for path in found} or _missing(run, "GGUF file", "make gguf")
    if publication.kind == "merged":
        folder = run.folder / "export" / "merged"
        if not any(folder.glob("model*.safetensors")):
            return _missing(run, "merged model", "make merge")
    else:
        folder = run.weights_folder
    contents: Contents = {"adapter_config.json": _adapter_config(publication)} if publication.kind == "adapter" else {}
    wanted = ("adapter_model.safetensors",) if publication.kind == "adapter" else MODEL_FILES
    for path in sorted(path for pattern in wanted for path in folder.glob(pattern)):
        contents[path.name] = _json(path, names) if path.name == "config.json" else path
    for path in (folder / name for name in TOKENIZER_FILES):
        if path.is_file():
            contents[path.name] = _tokenizer_config(path, names) if path.name == "tokenizer_config.json" else path
    return contents


def _missing(run: Run, what: str, command: str) -> Contents:
    raise AffinageError(
        Problem(f"run {run.folder.name}", f"has no {what}.", remedy=f"Make it with {command} RUN={run.folder.name}")
    )


def base_names(publication: Publication) -> dict[str, str]:
    """Every way in which the records of a run name its base model, with the id on the Hub that replaces it."""
    given = str(publication.run.manifest.get("base_model", {}).get("id", ""))
    return dict.fromkeys((given, given.rstrip("/"), str(Path(given).resolve()), str(ROOT / given)), publication.base)


def _adapter_config(publication: Publication) -> bytes:
    content = json.loads((publication.run.weights_folder / "adapter_config.json").read_text(encoding="utf-8"))
    content = sanitised(content, base_names(publication))
    if isinstance(content.get("target_modules"), list):
        content["target_modules"].sort()  # PEFT keeps a set, so their order says nothing
    content |= {"base_model_name_or_path": publication.base, "revision": publication.base_revision}
    return dumped(content)


def _tokenizer_config(path: Path, names: Mapping[str, str]) -> bytes:
    """Without what only holds on this machine; its class under the name that earlier transformers know as well."""
    content = sanitised(json.loads(path.read_text(encoding="utf-8")), names)
    kept = {key: value for key, value in content.items() if key not in TOKENIZER_ONLY_HERE}
    if kept.get("tokenizer_class") == "TokenizersBackend":
        kept["tokenizer_class"] = "PreTrainedTokenizerFast"
    return dumped(kept)


def records(publication: Publication) -> Contents:
    """What explains the run: configuration, losses, environment, prompt and scores, without anything of the machine."""
    run, names = publication.run, base_names(publication)
    contents: Contents = {}
    for name, path in {
        "ludwig_config.json": run.model_folder / "model_hyperparameters.json",
        "ludwig/training_statistics.json": run.folder / "training_statistics.json",
        **_evaluations(run),
    }.items():
        if path.is_file():
            contents[name] = _json(path, names)
    resolved = run.folder / "config.yaml"
    if resolved.is_file():
        config = sanitised(yaml.safe_load(resolved.read_text(encoding="utf-8")), names)
        contents["ludwig/config.yaml"] = yaml.safe_dump(config, allow_unicode=True, sort_keys=False).encode()
        if template := (config.get("prompt") or {}).get("template"):
            contents["prompt_template.txt"] = str(template).encode()
    contents["ludwig/environment.json"] = dumped(sanitised(run.manifest.get("environment", {}), names))
    base = Path(next(iter(names)))
    licences = sorted(path for pattern in LICENCES for path in base.glob(pattern)) if base.is_dir() else []
    return contents | {path.name: path for path in licences if path.is_file()}


def _evaluations(run: Run) -> dict[str, Path]:
    """The scores that the card shows, else those of training; and the newest judge of them that is no demo."""
    evaluation = newest_evaluation(run)
    if evaluation.folder is None:
        return {"eval/metrics.json": run.folder / "metrics.json"}
    named = {"eval/metrics.json": evaluation.folder / "metrics.json"}
    summaries = list(evaluation.folder.glob("judge/*/summary.json"))
    judged = [path for path in summaries if read_json(path).get("demo") is False]
    newest = max(judged, key=lambda path: path.stat().st_mtime, default=None)
    return named | ({"eval/judge_summary.json": newest} if newest else {})


def documents(publication: Publication) -> Contents:
    """Pictures of the card and, for what transformers loads, the chat template and how answers are generated."""
    from affinage.publishing import card

    contents: Contents = dict(card.pictures(publication))
    if publication.kind == "gguf":
        return contents
    from transformers import AutoTokenizer

    from affinage.chat_template import chat_template
    from affinage.generation import generation_config

    config = _resolved(publication.run)
    tokenizer = AutoTokenizer.from_pretrained(publication.run.weights_folder)
    contents["chat_template.jinja"] = chat_template(config, tokenizer).encode()
    settings = generation_config(config.generation.to_dict(), tokenizer)
    return contents | {"generation_config.json": settings.to_json_string().encode()}


def _card(publication: Publication) -> bytes:
    from affinage.publishing import card

    return card.card_text(publication).encode()


def _resolved(run: Run) -> Any:
    from affinage import training
    from affinage.configs import read_config
    from affinage.ludwig_ext import register

    register()
    return training.resolve(read_config(run.folder / USER_CONFIG), str(run.folder))


def _json(path: Path, names: Mapping[str, str]) -> bytes:
    return dumped(sanitised(json.loads(path.read_text(encoding="utf-8")), names))


def dumped(content: Any) -> bytes:
    """JSON with sorted keys, so that the same content is the same file."""
    return (json.dumps(content, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()
