"""What a repository on the Hub holds now, and how a folder differs from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils.sha import git_hash
from tqdm import tqdm

from affinage.console import progress_bar_options
from affinage.data import sha256
from affinage.publishing.target import Target

MADE_BY_HUB = (".gitattributes",)


@dataclass(frozen=True)
class Entry:
    """One file of a plan: `action` is "new", "changed", "same", "delete", or "left" for what only the Hub has."""

    path: str
    size: int
    sha256: str
    action: str = "new"


@dataclass(frozen=True)
class Repository:
    """A revision as it is on the Hub; `head` is its commit, and `branch` whether it is there under that name yet."""

    head: str
    private: bool
    branch: bool
    files: Mapping[str, RepoSibling]
    tags: Mapping[str, str]


def look_up(api: HfApi, target: Target) -> Repository | None:
    """The repository, None when it is not there; a branch that is not there yet looks as main does."""
    try:
        info, branch = _info(api, target)
    except RepositoryNotFoundError as error:
        if error.response.status_code == 401:
            raise
        return None
    tags = {}
    if target.tag:
        refs = api.list_repo_refs(target.repo, repo_type=target.repo_type)
        tags = {tag.name: tag.target_commit for tag in refs.tags}
    files = {file.rfilename: file for file in info.siblings or []}
    return Repository(str(info.sha), bool(info.private), branch, files, tags)


def _info(api: HfApi, target: Target) -> tuple[Any, bool]:
    def ask(revision: str | None) -> Any:
        return api.repo_info(target.repo, revision=revision, repo_type=target.repo_type, files_metadata=True)

    if target.revision == "main":
        return ask(None), True
    try:
        return ask(target.revision), True
    except RevisionNotFoundError:
        return ask(None), False


def entries(folder: Path) -> list[Entry]:
    """Every file of a folder, by its path with slashes."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files = tqdm(found, "hashing files", unit=" files", delay=1, **progress_bar_options())
    return [Entry(path.relative_to(folder).as_posix(), path.stat().st_size, sha256(path)) for path in files]


def compared(local: Iterable[Entry], folder: Path, there: Repository | None, mine: Iterable[str] = ()) -> list[Entry]:
    """The entries with what has to be done for each, and what only the Hub has.

    Of that, files in `mine` (earlier uploads of ours) are to be deleted, and others are left as they are.
    """
    remote = there.files if there else {}
    found = [replace(entry, action=_action(entry, folder, remote.get(entry.path))) for entry in local]
    only_there = [name for name in remote if name not in {entry.path for entry in found} | set(MADE_BY_HUB)]
    return found + [
        Entry(name, remote[name].size or 0, _sha(remote[name]), "delete" if name in set(mine) else "left")
        for name in sorted(only_there)
    ]


def _action(entry: Entry, folder: Path, there: RepoSibling | None) -> str:
    if there is None:
        return "new"
    if there.lfs is not None:
        return "same" if there.lfs.sha256 == entry.sha256 else "changed"
    same = there.size == entry.size and there.blob_id == git_hash((folder / entry.path).read_bytes())
    return "same" if same else "changed"


def _sha(file: RepoSibling) -> str:
    return file.lfs.sha256 if file.lfs is not None else ""


def kinds_of(names: Iterable[str]) -> set[str]:
    """What a repository with these files holds: "an adapter", "a whole model", "GGUF files", or nothing of these."""
    known = set(names)
    kinds = {"an adapter": "adapter_config.json" in known, "a whole model": "config.json" in known}
    kinds["GGUF files"] = any(name.endswith(".gguf") for name in known)
    return {kind for kind, there in kinds.items() if there}
