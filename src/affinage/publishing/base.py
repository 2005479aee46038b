"""The base model as other people will find it: on the Hub, open to them, with the weights that were trained on."""

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import ModelInfo

from affinage.errors import AffinageError, Problem, raise_all
from affinage.publishing.publication import Publication
from affinage.publishing.target import Done, Target, explained


def look_at_base(api: HfApi, publication: Publication) -> list[str]:
    """What people should know of the base model on the Hub.

    Raises AffinageError when it is not there, when the token may not use it, or when its weights are not those that
    the run was trained on.
    """
    target = Target(publication.base)
    with explained(target, Done()):
        info = _info(api, publication)
    raise_all(_other_weights(info, publication))
    found = []
    if info.gated:
        found.append(f"{publication.base} is gated: people must ask for access to it before they can load this.")
    if info.private:
        found.append(f"{publication.base} is private: nobody else can load this.")
    return found


def _info(api: HfApi, publication: Publication) -> ModelInfo:
    where, remedy = f"BASE {publication.base}", "Name another with BASE=. Nothing was published."
    try:
        return api.model_info(publication.base, revision=publication.base_revision, files_metadata=True)
    except GatedRepoError as error:
        found = "is gated, and your token has no access to it."
        remedy = "Ask for access on its page. Nothing was published."
        raise AffinageError(Problem(where, found, remedy=remedy)) from error
    except RevisionNotFoundError as error:
        found = f"no longer has the commit {publication.base_revision} that the run was trained on."
        raise AffinageError(Problem(where, found, remedy=remedy)) from error
    except RepositoryNotFoundError as error:
        found = "is not on the Hub, or your token may not see it."
        raise AffinageError(Problem(where, found, remedy=remedy)) from error


def _other_weights(info: ModelInfo, publication: Publication) -> list[Problem]:
    """Weights of a local base model that bear the same name on the Hub, and are others."""
    here = publication.run.manifest["base_model"].get("files", {})
    there = {file.rfilename: file.lfs.sha256 for file in info.siblings or [] if file.lfs is not None}
    wrong = sorted(name for name in here.keys() & there.keys() if here[name] != there[name])
    found = f"has other weights than the run was trained on: {', '.join(wrong)}."
    remedy = "Name the base model that it was. Nothing was published."
    return [Problem(f"BASE {publication.base}", found, remedy=remedy)] if wrong else []
