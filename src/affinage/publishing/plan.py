"""The plan of an upload: every file with size, hash and action, written beside the folder and kept to afterwards."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import display
from affinage.publishing.repository import MADE_BY_HUB, Entry, Repository, compared, entries, kinds_of
from affinage.publishing.target import Done, Target
from affinage.runs import write_json

VERSION = 1
SUFFIXES = {"a whole model": "-merged", "GGUF files": "-GGUF"}
TO_SEND = ("new", "changed", "delete")


@dataclass(frozen=True)
class Plan:
    """What goes where. `head` is the commit of the repository when it was planned, None when there was none yet.

    `options` are what a person said of the content, such as its licence: with others, it is another plan. `sources`
    are size and time of change of each file that the folder was made from.
    """

    target: Target
    title: str
    files: list[Entry]
    head: str | None
    notices: list[str] = field(default_factory=list)
    made: str = ""
    options: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def local(self) -> list[Entry]:
        """The files of the folder."""
        return [entry for entry in self.files if entry.action not in ("left", "delete")]

    @property
    def digest(self) -> str:
        """Hash of the content of the folder: the same files give the same one."""
        lines = sorted(f"{entry.path} {entry.sha256}\n" for entry in self.local)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def message(self) -> str:
        """First line of the commit; it tells one content from another."""
        return f"{self.title} ({self.digest[:12]})"

    def to_send(self, there: Repository | None, folder: Path) -> list[Entry]:
        """What is still to be done, for the repository as it is now."""
        mine = [entry.path for entry in self.files if entry.action == "delete"]
        return [entry for entry in compared(self.local, folder, there, mine) if entry.action in TO_SEND]


def make_plan(
    folder: Path,
    target: Target,
    title: str,
    there: Repository | None,
    mine: Sequence[str] = (),
    notices: Sequence[str] = (),
) -> Plan:
    """The plan for a folder and a repository as they are; `mine` are files that earlier uploads put there.

    Raises AffinageError for a repository that is in the way of it.
    """
    files = compared(entries(folder), folder, there, mine)
    said = list(notices)
    if there is not None:
        sending = any(entry.action in TO_SEND for entry in files)
        raise_all([*_conflicts(target, there, sending), *_another_kind(target, there, files)])
        if there.private and not target.private:
            said.append(f"{target.repo} is private and stays so; its page on the Hub has the setting.")
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return Plan(target, title, files, there.head if there else None, said, made)


def _conflicts(target: Target, there: Repository, sending: bool) -> list[Problem]:
    problems = []
    if target.private and not there.private:
        remedy = "Make it private in its settings, or say PUBLIC=1."
        problems.append(Problem(target.url, "is public, and PUBLIC=1 was not given.", remedy=remedy))
    tagged = there.tags.get(target.tag)
    if tagged and (sending or tagged != there.head):
        found = f"{target.repo} has that tag already, at the commit {tagged[:12]}."
        problems.append(Problem(f"TAG {target.tag}", found, remedy="Choose another, or delete it on the Hub."))
    return problems


def _another_kind(target: Target, there: Repository, files: Iterable[Entry]) -> list[Problem]:
    """Adapters, whole models and GGUF files get in each other's way in one repository."""
    here = kinds_of(entry.path for entry in files if entry.action not in ("left", "delete"))
    other = kinds_of(there.files)
    if not here or not other or here & other:
        return []
    remedy = f"Name another repository, such as {target.repo}{SUFFIXES.get(min(here), '-adapter')}."
    found = f"holds {' and '.join(sorted(other))}, and what is published here is {' and '.join(sorted(here))}."
    return [Problem(target.url, found, remedy=remedy)]


def refuse_changes(plan: Plan, folder: Path, there: Repository | None, done: Done) -> None:
    """Raises AffinageError when folder or repository are not as they were when the plan was made.

    A repository or a branch that an interrupted upload has made, and that is empty or as main was, is no change.
    """
    again = "Look at it, and make the plan again with make upload-plan."
    now, then = ({entry.path: entry.sha256 for entry in files} for files in (entries(folder), plan.local))
    problems = _conflicts(plan.target, there, bool(plan.to_send(there, folder))) if there else []
    if now != then:
        changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        found = f"changed since the plan was made: {', '.join(changed)}. {done}"
        problems.append(Problem(display(folder), found, remedy=again))
    if plan.head is not None and (there is None or there.head != plan.head):
        found = f"changed since the plan was made: {there.head[:12] if there else 'it is gone'}. {done}"
        problems.append(Problem(plan.target.url, found, remedy=again))
    if plan.head is None and there is not None and set(there.files) - set(MADE_BY_HUB):
        found = f"was made and filled since the plan was made. {done}"
        problems.append(Problem(plan.target.url, found, remedy=again))
    raise_all(problems)


def write_plan(plan: Plan, path: Path) -> None:
    """Writes plan.json; it names no folder of the machine."""
    write_json(path, {"version": VERSION, **asdict(plan), "digest": plan.digest})


def read_plan(path: Path) -> Plan | None:
    """The plan in a file, None when there is none. Raises AffinageError for a file that is none of ours."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        files = [Entry(**entry) for entry in content["files"]]
        target = Target(**content["target"])
        kept = {name: content[name] for name in ("title", "head", "notices", "made", "options", "sources")}
        return Plan(target=target, files=files, **kept)
    except (ValueError, KeyError, TypeError) as error:
        remedy = "Make it again with make upload-plan."
        raise AffinageError(Problem(display(path), f"is no plan: {error}.", remedy=remedy)) from error
