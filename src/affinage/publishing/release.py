"""One release: the folder as it will be, its plan beside it, the upload, and the record of what was published."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from affinage.data import sha256
from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import display
from affinage.publishing.card_results import read_json
from affinage.publishing.checks import folder_problems
from affinage.publishing.plan import Plan, read_plan, write_plan
from affinage.publishing.target import Target
from affinage.publishing.uploader import HubUploader, Published
from affinage.runs import held, write_json

CARD = "README.md"


@dataclass(frozen=True)
class Release:
    """A staged `folder`, where it goes, and what its commit says; the plan and the record are beside the folder.

    `options` are what a person said of the content, such as its licence.
    """

    folder: Path
    target: Target
    title: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def plan_file(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.plan.json")

    @property
    def card_marker(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.card.sha256")

    @property
    def record_file(self) -> Path:
        return self.folder.with_name("upload.json")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, this process alone publishes from here. Raises AffinageError when another one does."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock, where = self.folder.parent / ".lock", display(self.folder.parent)
        with held(lock, where, "another process is publishing from it."):
            yield

    def uploads(self) -> list[dict[str, Any]]:
        """What was published from here, the last one last."""
        return read_json(self.record_file).get("uploads", [])


def standing_plan(release: Release) -> Plan | None:
    """The plan that was made and shown for this target with these options, and not carried out yet."""
    plan = read_plan(release.plan_file)
    if plan is None or not release.folder.is_dir():
        return None
    return plan if (plan.target, plan.options) == (release.target, release.options) else None


def refuse_old_plan(release: Release, plan: Plan, sources: Mapping[str, Path]) -> None:
    """Raises AffinageError when what the folder was made from changed after the plan was made."""
    now = _stamps(sources)
    if changed := sorted(name for name in now.keys() | plan.sources.keys() if now.get(name) != plan.sources.get(name)):
        found = f"is older than {', '.join(changed)}, which changed since. Nothing was published."
        raise AffinageError(Problem(display(release.plan_file), found, remedy="Make it again with make upload-plan."))


def _stamps(sources: Mapping[str, Path]) -> dict[str, str]:
    """Size in bytes and time of change in ns: two changes within one tick of the clock have the same time."""
    status = {name: path.stat() for name, path in sources.items() if path.is_file()}
    return {name: f"{file.st_size} {file.st_mtime_ns}" for name, file in status.items()}


def edited_card(release: Release) -> str:
    """The card that a person edited after it was written here, "" when nobody did."""
    path, marker = release.folder / CARD, release.card_marker
    if not (path.is_file() and marker.is_file()) or sha256(path) == marker.read_text(encoding="utf-8"):
        return ""
    return path.read_text(encoding="utf-8")


def plan_release(
    release: Release,
    uploader: HubUploader,
    stage: Callable[[str], Path],
    sources: Mapping[str, Path],
    notices: Sequence[str] = (),
) -> Plan:
    """Stages the folder, checks every file of it, compares it with the Hub and writes the plan.

    `stage` gets the text of a card to keep, and makes the folder from `sources`. Raises AffinageError for whatever
    must be mended.
    """
    stamps = _stamps(sources)
    kept, card = edited_card(release), release.folder / CARD
    stage(kept)
    if not kept:
        release.card_marker.write_text(sha256(card), encoding="utf-8")
    raise_all(folder_problems(release.folder))
    said = [*notices, *([f"{display(card)} was edited: it is kept as it is. Delete it for a new one."] if kept else [])]
    sent = {path for upload in release.uploads() if _same_place(upload, release) for path in upload["files"]}
    plan = uploader.plan(release.folder, release.target, release.title, sorted(sent), said)
    plan = replace(plan, options=release.options, sources=stamps)
    write_plan(plan, release.plan_file)
    return plan


def _same_place(upload: dict[str, Any], release: Release) -> bool:
    there = Target(**upload["target"])
    return (there.repo, there.repo_type) == (release.target.repo, release.target.repo_type)


def carry_out(release: Release, plan: Plan, uploader: HubUploader, announce: Callable[[str], None]) -> Published:
    """Uploads what the plan says and records where it is; the plan is done then, and its file goes."""
    raise_all(folder_problems(release.folder))
    published = uploader.send(plan, release.folder, announce)
    uploads = release.uploads()
    entry = {
        "kind": release.folder.name,
        "target": asdict(release.target),
        **asdict(replace(published, sent=len(plan.local))),
        "digest": plan.digest,
        "files": [file.path for file in plan.local],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if not any(upload["commit"] == entry["commit"] and upload["tag"] == entry["tag"] for upload in uploads):
        write_json(release.record_file, {"version": 1, "uploads": [*uploads, entry]})
    release.plan_file.unlink(missing_ok=True)
    return published
