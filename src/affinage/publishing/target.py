"""Where on the Hub a folder goes, and what is said when something is in the way."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError
from huggingface_hub.utils import HFValidationError, validate_repo_id

from affinage.errors import AffinageError, Problem

REFERENCE = re.compile(r"(?!.*(?:\.\.|//|@\{|\.lock$|/$|\.$))[\w][\w./-]*")  # what git takes for a branch or a tag


@dataclass(frozen=True)
class Target:
    """One revision of one repository; `repo_type` is "model" or "dataset"."""

    repo: str
    repo_type: str = "model"
    private: bool = True
    revision: str = "main"
    create_pr: bool = False
    tag: str = ""

    @property
    def url(self) -> str:
        return f"{constants.ENDPOINT}/{'datasets/' if self.repo_type == 'dataset' else ''}{self.repo}"


@dataclass
class Done:
    """What an upload has changed on the Hub so far, and how to go on, for its error messages."""

    steps: list[str] = field(default_factory=list)
    uncertain: str = ""
    again: str = "Then run the same command again: it goes on where it stopped."

    def __str__(self) -> str:
        if self.uncertain:
            return self.uncertain
        return f"Done so far: {', '.join(self.steps)}." if self.steps else "Nothing was published."


def target_problems(target: Target) -> list[Problem]:
    """What is wrong with the names that were given, before anything is asked over the network."""
    problems = _repo_problems(target.repo, target.repo_type)
    for name, value in (("REVISION", target.revision), ("TAG", target.tag)):
        if value and not REFERENCE.fullmatch(value):
            problems.append(Problem(f"{name} {value}", "is no name of a branch or a tag.", "such as main or v1.0"))
    if target.create_pr and target.revision != "main":
        found = f"a pull request goes to main, not to {target.revision}."
        problems.append(Problem("PR and REVISION", found, remedy="Give one of the two."))
    if target.create_pr and target.tag:
        found = "a pull request cannot be tagged before it is merged."
        problems.append(Problem("PR and TAG", found, remedy="Give one of the two."))
    return problems


def _repo_problems(repo: str, repo_type: str) -> list[Problem]:
    where, allowed = f"REPO {repo}", "user/name or organisation/name"
    if "://" in repo:
        meant = "/".join(repo.rstrip("/").split("/")[-2:])
        return [Problem(where, "is an address.", allowed, f"Did you mean {meant}?")]
    kind, _, name = repo.partition("/")
    if kind in ("datasets", "spaces", "models") and "/" in name:
        if kind == f"{repo_type}s":
            return [Problem(where, "has one part too many.", allowed, f"Did you mean {name}?")]
        found = f"names a {kind[:-1]}, and what is published here is a {repo_type}."
        return [Problem(where, found, allowed, "Name another repository.")]
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        return [Problem(where, f"is no id of a repository: {str(error).splitlines()[0]}", allowed)]
    return [] if "/" in repo else [Problem(where, "has no user or organisation before it.", allowed)]


@contextmanager
def explained(target: Target, done: Done) -> Iterator[None]:
    """Inside, whatever the Hub or the network answers becomes one AffinageError that says what was published."""
    try:
        yield
    except AffinageError:
        raise
    except (HfHubHTTPError, httpx2.HTTPError, OfflineModeIsEnabled, RuntimeError, ValueError) as error:
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
        if (said := _said(cause, target)) is None:
            raise
        found, remedy = said
        if _perhaps_committed(cause):
            done.uncertain = "It is not known whether the commit arrived."
        raise AffinageError(Problem(target.url, f"{found} {done}", remedy=f"{remedy} {done.again}")) from error


def _perhaps_committed(error: BaseException) -> bool:
    """Whether what failed was the answer to a commit, which the Hub may have made nevertheless."""
    if isinstance(error, HfHubHTTPError):
        request = error.response.request if error.response.status_code >= 500 else None
    else:
        request = getattr(error, "_request", None)
    return request is not None and "/commit/" in request.url.path


def _said(error: BaseException, target: Target) -> tuple[str, str] | None:
    """What happened and what to do; None for what is a bug of ours."""
    if isinstance(error, HfHubHTTPError):
        return _status(error, target)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE=1 forbids to go online.", "Unset HF_HUB_OFFLINE."
    if isinstance(error, httpx2.HTTPError):
        reason = str(error).strip() or type(error).__name__
        return f"the Hub could not be reached ({reason}).", "Check the network, and HF_ENDPOINT if it is set."
    if isinstance(error, json.JSONDecodeError):
        return "what answered is not the Hub (no JSON).", "Check the proxy, and HF_ENDPOINT if it is set."
    if isinstance(error, ValueError) and ("README.md" in str(error) or "LFS" in str(error)):
        return f"the Hub refused it: {' '.join(str(error).split())}.", "Mend that."
    return None


def _status(error: HfHubHTTPError, target: Target) -> tuple[str, str]:
    status = error.response.status_code
    said = f" ({error.server_message})" if error.server_message else ""
    owner = target.repo.partition("/")[0]
    if isinstance(error, GatedRepoError):
        return f"the repository is gated{said}.", "Ask for access on its page, with the account of your token."
    if isinstance(error, RepositoryNotFoundError) and status != 401:
        return f"the repository is not there, or the token may not see it{said}.", "Check the name and the token."
    answers = {
        400: (f"the Hub refused the request{said}.", "Mend that."),
        401: (f"the Hub does not accept the token{said}.", "Set HF_TOKEN to a token of yours that is valid."),
        403: (
            f"the token may not write there{said}.",
            f"Use a token with the permission to write, of a member of {owner}.",
        ),
        404: (f"the Hub does not find it{said}.", f"Check that {owner} exists on the Hub, and REVISION."),
        409: (f"something else is going on in the repository{said}.", "Wait a minute."),
        412: (f"somebody else changed the repository meanwhile{said}.", "Look at it, and make the plan again."),
        413: (f"the Hub finds it too large{said}.", "Check the size that your account may store."),
        429: (f"the Hub asks to slow down{said}.", "Wait some minutes."),
    }
    if status in answers:
        return answers[status]
    if status >= 500:
        return f"the Hub is in trouble (HTTP {status}){said}.", "Wait some minutes."
    return f"the Hub answered HTTP {status}{said}.", "Mend that."
