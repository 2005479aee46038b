"""Ludwig's uploader to the Hub, with its faults mended."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoCard, get_token
from huggingface_hub.errors import RepositoryNotFoundError
from ludwig.utils.upload_utils import HuggingFaceHub

from affinage.errors import AffinageError, Problem, raise_all
from affinage.paths import display
from affinage.publishing.plan import Plan, make_plan, refuse_changes
from affinage.publishing.repository import Repository, look_up
from affinage.publishing.target import Done, Target, explained, target_problems

WEIGHTS = ("adapter_model.safetensors", "model*.safetensors", "*.gguf")
OTHER_TYPE = {"model": "dataset", "dataset": "model"}


@dataclass(frozen=True)
class Published:
    """Where an upload is: its address, the commit that holds it, and how many files that commit changed (0: none)."""

    url: str
    commit: str
    sent: int
    pull_request: str = ""
    tag: str = ""


class HubUploader(HuggingFaceHub):
    """Publishes a folder in one commit, private unless said otherwise.

    Ludwig's own class reads no HF_TOKEN, sends a token file with its line break, makes repositories public, refuses
    merged models, sends paths of the machine and the configuration in a second commit that may never come.
    """

    def login(self) -> None:
        """Takes the token from HF_TOKEN, HUGGING_FACE_HUB_TOKEN or the file that `hf auth login` writes.

        Raises AffinageError without a token, or with one that cannot be sent.
        """
        token = get_token()
        remedy = "Set HF_TOKEN to a token with the permission to write (huggingface.co/settings/tokens)."
        if not token:
            raise AffinageError(Problem("HF_TOKEN", "no token. Nothing was published.", remedy=remedy))
        if not (token.isascii() and token.isprintable()) or " " in token:
            found = "holds characters that no token has. Nothing was published."
            raise AffinageError(Problem("HF_TOKEN", found, remedy=remedy))
        self.api = HfApi(token=token)

    @staticmethod
    def _validate_upload_parameters(
        repo_id: str,
        model_path: str,
        repo_type: str | None = None,
        private: bool | None = True,
        commit_message: str | None = None,
        commit_description: str | None = None,
    ) -> None:
        """Raises AffinageError for a name that is none, or a folder without weights (a model) or a card (a dataset)."""
        folder, kind = Path(model_path), repo_type or "model"
        problems = target_problems(Target(repo_id, kind))
        needed = WEIGHTS if kind == "model" else ("README.md",)
        if not any(path.is_file() for pattern in needed for path in folder.glob(pattern)):
            found = (
                "no such folder." if not folder.is_dir() else f"holds no {'weights' if kind == 'model' else 'card'}."
            )
            problems.append(Problem(display(folder), found, ", ".join(needed), "Make it with make upload-plan."))
        raise_all(problems)

    def upload(
        self,
        repo_id: str,
        model_path: str,
        repo_type: str | None = None,
        private: bool | None = True,
        commit_message: str | None = None,
        commit_description: str | None = None,
        **kwargs: Any,
    ) -> bool:
        """As Ludwig's: plans the folder `model_path` as it is and sends it; `kwargs` are further fields of a Target."""
        self._validate_upload_parameters(repo_id, model_path, repo_type, private)
        target = Target(repo_id, repo_type or "model", private is not False, **kwargs)
        folder = Path(model_path)
        self.send(self.plan(folder, target, commit_message or f"Publish {folder.name}"), folder)
        return True

    def plan(
        self, folder: Path, target: Target, title: str, mine: Sequence[str] = (), notices: Sequence[str] = ()
    ) -> Plan:
        """Compares a folder with the repository, as `make_plan` does, and changes nothing.

        Raises AffinageError for what is in the way.
        """
        with explained(target, Done()):
            self._check_permission(target)
            check_card(folder / "README.md", target.repo_type)
            there = look_up(self.api, target)
            if there is None:
                self._refuse_another_type(target)
            return make_plan(folder, target, title, there, mine, notices)

    def _check_permission(self, target: Target) -> None:
        role = self.api.whoami().get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            remedy = "Make one with the permission to write, at huggingface.co/settings/tokens."
            raise AffinageError(Problem("HF_TOKEN", "the token may only read. Nothing was published.", remedy=remedy))

    def _refuse_another_type(self, target: Target) -> None:
        other = OTHER_TYPE[target.repo_type]
        with suppress(RepositoryNotFoundError):
            self.api.repo_info(target.repo, repo_type=other)
            found = f"is a {other} on the Hub, and what is published here is a {target.repo_type}."
            raise AffinageError(Problem(f"REPO {target.repo}", found, remedy="Name another repository."))

    def send(self, plan: Plan, folder: Path, announce: Callable[[str], None] = lambda text: None) -> Published:
        """Does what is left of a plan, in one commit, and compares what is there then with the folder.

        A plan that was done already sends nothing. Raises AffinageError when folder or repository changed since the
        plan, and for whatever goes wrong, saying what was published.
        """
        target, done = plan.target, Done()
        with explained(target, done):
            there = look_up(self.api, target)
            if target.create_pr and (made := self._own_pull_request(plan, folder)) is not None:
                return made
            left = plan.to_send(there, folder)
            if not left and there is not None and there.branch:
                self._tag(target, there, there.head, done)
                return Published(target.url, there.head, 0, tag=target.tag)
            refuse_changes(plan, folder, there, done)
            there = self._make_room(target, there, done, announce)
            announce(f"sending {len(left)} file{'s' * (len(left) != 1)} to {target.url}")
            published = self._commit(plan, folder, there, done) if left else Published(target.url, there.head, 0)
            self._verify(plan, folder, published)
            self._tag(target, there, published.commit, done)
            return Published(**asdict(published) | {"tag": target.tag})

    def _make_room(
        self, target: Target, there: Repository | None, done: Done, announce: Callable[[str], None]
    ) -> Repository:
        if there is None:
            announce(f"making {target.url}")
            self.api.create_repo(target.repo, repo_type=target.repo_type, private=target.private, exist_ok=True)
            done.steps.append(f"the {'private' if target.private else 'public'} repository was made, with no file yet")
            there = look_up(self.api, target)
            if there is None:
                raise AffinageError(Problem(target.url, f"cannot be seen after it was made. {done}"))
        if not there.branch:
            self.api.create_branch(
                target.repo, branch=target.revision, repo_type=target.repo_type, revision=there.head, exist_ok=True
            )
            done.steps.append(f"the branch {target.revision} was made, as main is")
        return there

    def _commit(self, plan: Plan, folder: Path, there: Repository, done: Done) -> Published:
        target = plan.target
        operations: list[Any] = [
            CommitOperationDelete(entry.path)
            if entry.action == "delete"
            else CommitOperationAdd(entry.path, str(folder / entry.path))
            for entry in plan.to_send(there, folder)
        ]
        info = self.api.create_commit(
            target.repo,
            operations,
            commit_message=plan.message,
            repo_type=target.repo_type,
            revision=None if target.create_pr else target.revision,
            parent_commit=there.head,
            create_pr=target.create_pr,
        )
        done.steps.append(f"the commit {info.oid[:12]} holds all files")
        return Published(target.url, info.oid, len(operations), info.pr_url or "")

    def _verify(self, plan: Plan, folder: Path, published: Published) -> None:
        """Raises AffinageError unless the commit holds every file of the folder with the same content."""
        there = look_up(self.api, Target(plan.target.repo, plan.target.repo_type, revision=published.commit))
        wrong = [entry.path for entry in plan.to_send(there, folder)]
        if wrong:
            found = f"the commit {published.commit[:12]} is there, but not as it was sent: {', '.join(wrong)}."
            raise AffinageError(Problem(plan.target.url, found, remedy="Look at it, and make the plan again."))

    def _tag(self, target: Target, there: Repository, commit: str, done: Done) -> None:
        if not target.tag or there.tags.get(target.tag) == commit:
            return
        if target.tag in there.tags:
            found = f"the tag is at another commit, {there.tags[target.tag][:12]}. {done}"
            raise AffinageError(Problem(f"TAG {target.tag}", found, remedy="Choose another, or delete it on the Hub."))
        self.api.create_tag(target.repo, tag=target.tag, revision=commit, repo_type=target.repo_type)
        done.steps.append(f"the tag {target.tag} was set")

    def _own_pull_request(self, plan: Plan, folder: Path) -> Published | None:
        """The open pull request that an earlier call made for the same content, if there is one."""
        target = plan.target
        try:
            found = list(
                self.api.get_repo_discussions(
                    target.repo, discussion_type="pull_request", discussion_status="open", repo_type=target.repo_type
                )
            )
        except RepositoryNotFoundError:
            return None
        for pull in found:
            if pull.title == plan.message:
                place = Target(target.repo, target.repo_type, revision=f"refs/pr/{pull.num}")
                there = look_up(self.api, place)
                if there is not None and not plan.to_send(there, folder):
                    return Published(target.url, there.head, 0, f"{target.url}/discussions/{pull.num}")
        return None


def check_card(card: Path, repo_type: str) -> None:
    """Raises AffinageError for a card whose metadata the Hub does not take; a folder may be without one."""
    if not card.is_file():
        return
    try:
        RepoCard(card.read_text(encoding="utf-8")).validate(repo_type)
    except (ValueError, yaml.YAMLError) as error:
        found = f"the Hub refuses its metadata: {' '.join(str(error).split())} Nothing was published."
        raise AffinageError(Problem(display(card), found, remedy="Mend that.")) from error
