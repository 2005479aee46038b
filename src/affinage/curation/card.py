"""The card of a dataset: a README.md with the Hub's metadata, and nothing but what is known of its rows."""

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCardData
from markupsafe import Markup

from affinage.curation.checkup import Checkup
from affinage.curation.checkup_page import load_template
from affinage.curation.checkup_rows import Tally
from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import display

MARKER = "<!-- Written by make card, which may write it again. sha256 of the text above: {} -->\n"
MARKED = re.compile(MARKER.format("([0-9a-f]{64})"))
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")  # as the Hub writes them: cc-by-4.0, apache-2.0, other
MAIN_LANGUAGE = 0.05  # part of the answers whose language is known
SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}
LISTED_FILES = 20
TRUE = ("true", "1", "1.0", "yes")


@dataclass(frozen=True)
class Given:
    """What only a person can say of a dataset; what is left out is guessed from the rows, or said to be unknown.

    `licences` are as typed: "cc-by-4.0" for the dataset, "mails.txt=cc0-1.0" for one of its sources. The others are
    in the Hub's own words; `source_datasets` are ids there.
    """

    pretty_name: str = ""
    licences: Sequence[str] = ()
    languages: Sequence[str] = ()
    task_categories: Sequence[str] = ()
    annotations_creators: Sequence[str] = ()
    source_datasets: Sequence[str] = ()


@dataclass(frozen=True)
class Machine:
    """What a language model did: rows by the columns that name models, rows it wrote, and steps of the manifest.

    `precision` is by step what reviewers' marks gave: n, correct, precision, low and high of a 95 % interval.
    """

    columns: dict[str, Tally]
    synthetic: int
    steps: list[str]
    model: Mapping[str, Any]
    precision: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Source:
    """A file that rows come from, or a name in the column `source`; empty texts for what is not known."""

    name: str
    sha256: str
    licence: str


def read_manifest(folder: Path) -> dict[str, Any]:
    """What manifest.json in the folder says; empty without one, or when another program wrote it.

    Raises AffinageError when it is no JSON.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return {}
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AffinageError(Problem(display(path), f"is not valid JSON: {error}.", remedy="Make it again.")) from error
    return manifest if isinstance(manifest, dict) and "affinage" in manifest else {}


def card_text(checkup: Checkup, manifest: Mapping[str, Any], given: Given = Given()) -> str:
    """The whole README.md for a dataset that was checked; `manifest` may be empty.

    Raises AffinageError for a licence that is none or is given to a source that the dataset has not.
    """
    licences = read_licences(given.licences, _source_names(checkup, manifest))
    machine = machine_work(checkup, manifest)
    metadata = _metadata(checkup, manifest, given, licences.get("", ""), machine)
    filters = {"number": "{:,}".format, "md": markdown, "code": code_span, "fenced": fenced, "reasons": _reasons}
    body = load_template("card.md.j2", filters).render(
        checkup=checkup,
        manifest=manifest,
        name=metadata.pretty_name,
        languages=metadata.language or [],
        licence=licences.get("", ""),
        sources=_sources(checkup, manifest, licences),
        listed_files=LISTED_FILES,
        machine=machine,
        idle=[step["step"] for step in manifest.get("steps", []) if not step.get("reasons") and step["step"] != "read"],
        changed=changed_files(checkup, manifest),
        rebuild=rebuild_command(manifest),
    )
    text = f"---\n{metadata.to_yaml()}\n---\n\n" + re.sub(r"\n{3,}", "\n\n", body.strip()) + "\n\n"
    return text + MARKER.format(_digest(text))


def write_card(text: str, folder: Path, replace: bool = False) -> Path:
    """Writes README.md into the folder and returns its path; without `replace`, see `refuse_to_overwrite`."""
    if not replace:
        refuse_to_overwrite(folder)
    path = folder / "README.md"
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
    return path


def refuse_to_overwrite(folder: Path) -> None:
    """Raises AffinageError when the folder has a README.md that was not written here, or was edited since."""
    path = folder / "README.md"
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    marker = MARKED.search(text)
    if not marker or text[marker.end() :].strip() or _digest(text[: marker.start()]) != marker[1]:
        what = "was edited since make card wrote it." if marker else "was not written by make card."
        raise AffinageError(Problem(display(path), what, remedy="Keep it, or write over it with REPLACE=1."))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def read_licences(typed: Sequence[str], sources: Sequence[str]) -> dict[str, str]:
    """Licences by source, "" for the dataset itself, from words such as "cc-by-4.0" and "mails.txt=cc0-1.0".

    Raises AffinageError naming every word that is no licence of the Hub's form, or of a source that is not there.
    """
    licences, problems = {}, []
    for word in typed:
        source, _, licence = word.rpartition("=")
        if not LICENCE.fullmatch(licence):
            found = f"'{licence}' is not written as the Hub writes licences."
            problems.append(Problem(f"LICENCE {word}", found, "such as cc-by-4.0, cc0-1.0, mit, apache-2.0 or other"))
        if source and source not in sources:
            known = ", ".join(sources[:10]) or "none known"
            problems.append(Problem(f"LICENCE {word}", f"no source is called '{source}'.", known))
        licences[source] = licence
    raise_all(problems)
    return licences


def machine_work(checkup: Checkup, manifest: Mapping[str, Any]) -> Machine | None:
    """What a language model did for these rows, None when neither the rows nor the manifest name any."""
    columns = {
        name: {model: rows for model, rows in tally.items() if model}
        for name, tally in checkup.tallies.items()
        if name.endswith("_model")
    }
    columns = {name: tally for name, tally in columns.items() if tally}
    written = checkup.tallies.get("synthetic", {})
    synthetic = sum(sum(rows.values()) for value, rows in written.items() if value.casefold() in TRUE)
    steps = [step["step"] for step in manifest.get("steps", []) if step.get("kind") == "language model"]
    if not (columns or synthetic or steps):
        return None
    return Machine(columns, synthetic, steps, manifest.get("model") or {}, manifest.get("precision") or {})


def _metadata(
    checkup: Checkup, manifest: Mapping[str, Any], given: Given, licence: str, machine: Machine | None
) -> DatasetCardData:
    """What the Hub reads of the card; what is not known is left out of it."""
    hub = re.match(r"hf://([^:@]+)", str(manifest.get("options", {}).get("source", "")))
    return DatasetCardData(
        pretty_name=given.pretty_name or re.sub(r"[-_]+", " ", checkup.task).capitalize(),
        language=list(given.languages) or main_languages(checkup) or None,
        license=licence or None,
        task_categories=list(given.task_categories) or ["text-generation"],
        size_categories=[size_category(sum(checkup.rows.values()))],
        annotations_creators=list(given.annotations_creators) or (["machine-generated"] if machine else None),
        source_datasets=list(given.source_datasets) or ([hub[1]] if hub else None),
        tags=["silver-standard", *(["synthetic"] if machine.synthetic else [])] if machine else None,
        configs=[{"config_name": "default", "data_files": _data_files(checkup)}],
    )


def _data_files(checkup: Checkup) -> str | list[dict[str, str]]:
    names = [file["name"] for file in checkup.files]
    return names[0] if len(names) == 1 else [{"split": Path(name).stem, "path": name} for name in names]


def main_languages(checkup: Checkup) -> list[str]:
    """Languages of at least MAIN_LANGUAGE of the answers whose language is known, the most frequent first."""
    totals = {name: sum(rows.values()) for name, rows in checkup.tallies["language"].items() if name != "unknown"}
    known = sum(totals.values())
    return [name for name, n in totals.items() if n >= MAIN_LANGUAGE * known]


def size_category(rows: int) -> str:
    """The Hub's word for a number of rows."""
    return next((name for limit, name in SIZES.items() if rows < limit), "n>10M")


def _source_files(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    return manifest.get("source", {}).get("files", [])


def _source_names(checkup: Checkup, manifest: Mapping[str, Any]) -> list[str]:
    named = [file["name"] for file in _source_files(manifest)] + list(checkup.tallies.get("source", {}))
    given = str(manifest.get("options", {}).get("source", ""))
    return list(dict.fromkeys(name for name in (given, *named) if name))


def _sources(checkup: Checkup, manifest: Mapping[str, Any], licences: Mapping[str, str]) -> list[Source]:
    """Each file of the manifest, or each name in the column `source` without a manifest; licences as given."""
    whole = licences.get(str(manifest.get("options", {}).get("source", "")), "")
    files = {file["name"]: file.get("sha256", "") for file in _source_files(manifest)}
    names = files or dict.fromkeys(name for name in checkup.tallies.get("source", {}) if name)
    return [Source(name, files.get(name, ""), licences.get(name, whole)) for name in names]


def changed_files(checkup: Checkup, manifest: Mapping[str, Any]) -> list[str]:
    """Names of data files whose bytes are not those that the manifest recorded."""
    recorded = {file["name"]: file["sha256"] for file in manifest.get("files", [])}
    return [file["name"] for file in checkup.files if recorded.get(file["name"], file["sha256"]) != file["sha256"]]


def rebuild_command(manifest: Mapping[str, Any]) -> str:
    """The command that makes the dataset again, "" when the manifest does not tell."""
    if "recipe" in manifest:
        return f"make curate TASK={shlex.quote(str(manifest['task']))}"
    command = [str(word) for word in manifest.get("command", [])]
    return shlex.join([".venv/bin/python", *command]) if command else ""


def markdown(text: Any) -> Markup:
    """The text so that Markdown shows it as it is, on one line: no markup, no HTML, no end of a table cell."""
    plain = " ".join(str(text).split())
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markup(re.sub(r"([\\`*_\[\]|#~])", r"\\\1", plain))


def code_span(text: Any) -> Markup:
    """The text as code on one line, fit for a table cell."""
    plain = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return Markup(f"`{plain}`")


def fenced(text: str) -> Markup:
    """The text as the one line of a fenced block of code, where nothing is escaped."""
    return Markup(" ".join(text.splitlines()))


def _reasons(step: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Reasons of a step with their rows, without the leaks that were found: the card lists those that are left."""
    found = ("error: ", "warning: ", "note: ")
    return [(reason, n["rows"]) for reason, n in step.get("reasons", {}).items() if not reason.startswith(found)]
