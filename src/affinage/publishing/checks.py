"""What must be right before anything of a run or of a dataset is published, found all at once."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from affinage import data
from affinage.curation.card import read_manifest
from affinage.curation.checkup_texts import find_personal_data
from affinage.curation.manifest import MASKED_BY
from affinage.errors import Problem
from affinage.paths import display
from affinage.publishing.card import placeholders
from affinage.publishing.card_data import rows_of_run
from affinage.publishing.card_results import read_json
from affinage.publishing.card_use import adapter_config
from affinage.publishing.publication import Publication
from affinage.publishing.safety import leaks
from affinage.publishing.vllm_limits import vllm_limits
from affinage.runs import Run

HUB_ID = re.compile(r"[\w][\w.-]*(?:/[\w][\w.-]*)?")
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
LICENCES = "as the Hub writes them, such as apache-2.0, mit, cc-by-4.0, llama3.1 or other"
SUFFIXES = {"merged": "-merged", "gguf": "-GGUF"}


def run_problems(publication: Publication) -> list[Problem]:
    """What is wrong with a run, its weights, its data and what was said of them, before a file is made."""
    run, problems = publication.run, []
    if run.status != "finished":
        remedy = f"Finish it with make train RESUME={run.folder.name}, or name another run."
        problems.append(Problem(f"run {run.folder.name}", f"did not finish (status: {run.status}).", remedy=remedy))
    problems += base_problems(publication) + licence_problems(publication) + encoder_problems(run)
    if publication.kind in ("adapter", "full"):
        problems += weight_problems(run.weights_folder, f"run {run.folder.name}")
    elif publication.kind == "merged":
        problems += weight_problems(run.folder / "export" / "merged", f"run {run.folder.name}", "make merge")
        problems += merge_problems(run)
    else:
        problems += gguf_problems(run)
    files = rows_of_run(run)
    return problems + (personal_data_problems(files) if files else [])


def encoder_problems(run: Run) -> list[Problem]:
    """A run on an encoder-decoder: the cards that are written here say how causal models are used."""
    whole = read_json(run.weights_folder / "config.json").get("is_encoder_decoder")
    if not whole and adapter_config(run).get("task_type") != "SEQ_2_SEQ_LM":
        return []
    found = "stands on an encoder-decoder, and cards are written for causal models alone."
    remedy = f"Upload {display(run.weights_folder)} with huggingface_hub and a card of your own."
    return [Problem(f"run {run.folder.name}", found, remedy=remedy)]


def base_problems(publication: Publication) -> list[Problem]:
    """A base model that other people could not load."""
    where, base = "BASE", publication.base
    allowed, remedy = "an id on the Hub, such as user/name", "Publish the base model first, then name it with BASE=."
    if not base:
        given = publication.run.manifest.get("base_model", {}).get("id", "unknown")
        return [Problem(where, f"the base model, {given}, is no model on the Hub.", allowed, remedy)]
    if not HUB_ID.fullmatch(base) or Path(base).expanduser().is_absolute():
        return [Problem(f"{where} {base}", "is no id on the Hub.", allowed)]
    return []


def licence_problems(publication: Publication) -> list[Problem]:
    """A licence that is missing or not written as the Hub writes it."""
    licence = publication.licence
    if not licence:
        remedy = "Name the licence of what you publish with LICENCE=; that of the base model may bind you."
        return [Problem("LICENCE", "missing.", LICENCES, remedy)]
    if not LICENCE.fullmatch(licence):
        return [Problem(f"LICENCE {licence}", "is no licence of the Hub's form.", LICENCES)]
    if licence == "other" and not publication.licence_name:
        return [Problem("LICENCE other", "has no name.", remedy="Name it with LICENCE_NAME= and LICENCE_LINK=.")]
    return []


def weight_problems(folder: Path, where: str, command: str = "") -> list[Problem]:
    """Weights that are missing, cut, not finite, or an adapter that changes nothing."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        found = "has no merged model." if command else "left no weights behind."
        remedy = f"Make it with {command} RUN={where.removeprefix('run ')}" if command else "Name another run."
        return [Problem(where, found, remedy=remedy)]
    return [problem for path in files for problem in _tensor_problems(path)]


def _tensor_problems(path: Path) -> Iterator[Problem]:
    from safetensors import SafetensorError, safe_open

    bad, changing, lora = [], False, False
    try:
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no dict
                tensor = tensors.get_tensor(name)
                if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                    bad.append(name)
                if "lora_B" in name or "lora_embedding_B" in name:
                    lora, changing = True, changing or bool(tensor.any())
    except (SafetensorError, OSError) as error:
        remedy = "Train the run again, or bring the whole file back."
        yield Problem(display(path), f"cannot be read: {str(error).splitlines()[0]}.", remedy=remedy)
        return
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        yield Problem(display(path), f"{bad[0]}{more}: not finite.", remedy="Train again with a lower learning rate.")
    if lora and not changing:
        found = "every lora_B is zero: the adapter changes nothing."
        yield Problem(display(path), found, remedy="Train longer, or look at the loss with make show.")


def merge_problems(run: Run) -> list[Problem]:
    """A merged model that was made from other weights than the run has now."""
    from affinage.export.merging import fingerprint, record_of

    made = read_json(record_of(run.folder / "export" / "merged"))
    if not made or made.get("sources") == fingerprint(run):
        return []
    remedy = f"Make it again with make merge RUN={run.folder.name}"
    return [Problem(f"run {run.folder.name}", "its merged model was made from other weights.", remedy=remedy)]


def gguf_problems(run: Run) -> list[Problem]:
    """GGUF files that are missing, or of which no comparison with the run is recorded."""
    where, command = f"run {run.folder.name}", f"make gguf RUN={run.folder.name}"
    found = "is not the file that was compared with the run."
    files = sorted((run.folder / "export").glob("*.gguf"))
    if not files:
        return [Problem(where, "has no GGUF file.", remedy=f"Make it with {command}")]
    known = {entry.get("file"): entry for entry in read_json(run.folder / "export" / "gguf.json").values()}
    return [
        Problem(display(path), found, remedy=f"Make it again with {command}")
        for path in files
        if not (entry := known.get(path.name, {})).get("verified") or entry["sha256"] != data.sha256(path)
    ]


def personal_data_problems(files: list[Path]) -> list[Problem]:
    """Personal data and secrets in rows, or in what the manifest beside them says was found and left in."""
    found = find_personal_data({path.name: data.read_rows(path) for path in files})
    problems = [
        Problem(
            display(files[0].parent / name),
            f"{n} row{'s' * (n > 1)} with {kind}.",
            remedy="Mask or drop them with make data PII=mask (or drop), and train on what that makes.",
        )
        for kind, rows in found.rows.items()
        for name, n in rows.items()
        if n
    ]
    return problems or _flagged(files[0].parent)


def _flagged(folder: Path) -> list[Problem]:
    """What the manifest says was found and neither masked nor dropped."""
    steps = [step for step in read_manifest(folder).get("steps", []) if step.get("step") == MASKED_BY]
    reasons = {reason: count["rows"] for step in steps for reason, count in step.get("reasons", {}).items()}
    if any(reason.startswith(("changed", "dropped")) for reason in reasons):
        return []
    kinds = [f"{reason.removeprefix('found: ')} ({n})" for reason, n in reasons.items() if reason.startswith("found: ")]
    remedy = "Make the dataset again with PII=mask or PII=drop."
    found = f"says that personal data was found and left in: {', '.join(kinds)}."
    return [Problem(display(folder / "manifest.json"), found, remedy=remedy)] if kinds else []


def folder_problems(folder: Path) -> list[Problem]:
    """What must not be in a folder that is ready to be sent: leaks, placeholders of a card, two kinds of model."""
    problems = leaks(folder)
    card = folder / "README.md"
    words = placeholders(card.read_text(encoding="utf-8")) if card.is_file() else []
    if words:
        found = f"has places that nobody filled in: {', '.join(words[:5])}."
        problems.append(Problem("README.md", found, remedy=f"Fill them in, in {display(card)}."))
    if (folder / "adapter_config.json").exists() and (folder / "config.json").exists():
        found = "stands beside adapter_config.json, which some programs refuse."
        problems.append(Problem("config.json", found, remedy="Take it away."))
    return problems


def notices(publication: Publication) -> list[str]:
    """What a person should know before publishing: what vLLM needs, how repositories are named, what was not seen."""
    unseen = "The rows that the run was trained on are not here: nobody looked for personal data in them."
    found = [] if rows_of_run(publication.run) else [unseen]
    suffix = SUFFIXES.get(publication.kind, "")
    if suffix and not publication.repo.lower().endswith(suffix.lower()):
        found.append(f"A {publication.kind} repository is usually called {publication.repo}{suffix}.")
    config = publication.run.weights_folder / "adapter_config.json"
    if publication.kind == "adapter" and config.is_file():
        limits = vllm_limits(json.loads(config.read_text(encoding="utf-8")))
        if limits.max_lora_rank:
            found.append(f"vLLM must be started with --max-lora-rank {limits.max_lora_rank} to load this adapter.")
        found += [f"vLLM cannot load this adapter: {why} (KIND=merged can be served)." for why in limits.obstacles]
    return found
