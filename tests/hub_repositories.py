"""What a Hub keeps and how it answers, without HTTP: repositories, commits, LFS, branches, tags and pull requests."""

import base64
import fnmatch
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_" + "LoopbackOnly" * 3
LFS = ("*.safetensors", "*.gguf", "*.png", "*.parquet")
FORMATS = {"models": "model", "datasets": "dataset", "spaces": "space"}
Answer = tuple[int, Any, dict[str, str]]


class Refused(Exception):
    """An answer that is an error, as the Hub words it."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self.answer: Answer = (status, {"error": message}, headers)


@dataclass
class Repo:
    """Branches, tags and pull requests point at commits; a commit is its whole content."""

    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: list[dict[str, Any]] = field(default_factory=list)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)
    gated: bool = False

    def commit(self, files: dict[str, bytes], title: str) -> str:
        oid = hashlib.sha1(f"{len(self.commits)} {title}".encode()).hexdigest()
        self.commits[oid] = files
        self.titles.append(title)
        return oid

    def resolve(self, revision: str) -> str:
        pulls = {f"refs/pr/{pull['num']}": pull["oid"] for pull in self.pull_requests}
        found = {**self.tags, **self.branches, **pulls}.get(revision, revision)
        if found not in self.commits:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found

    def files(self, revision: str = "main") -> dict[str, bytes]:
        return self.commits[self.resolve(revision)]


class Repositories:
    """Everything stored, and the answer to each request. The one user is `jeanne`; `role` is what TOKEN may do."""

    def __init__(self, role: str) -> None:
        self.role, self.url = role, ""
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}

    def add(self, name: str, files: dict[str, bytes], kind: str = "model", private: bool = False) -> Repo:
        repo = self.repos[kind, name] = Repo(private)
        repo.branches["main"] = repo.commit(dict(files), "initial commit")
        return repo

    def route(self, path: str, authorization: str, body: bytes) -> Answer:
        address = urlsplit(path)
        parts = [unquote(part) for part in address.path.strip("/").split("/")]
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        if parts[0] == "lfs":
            return self.store(parts, body)
        token = authorization.removeprefix("Bearer ")
        if token not in ("", TOKEN):
            raise Refused(401, "Invalid credentials in Authorization header")
        self.signed_in = bool(token)
        if parts[0] == "api" and parts[1] in FORMATS:
            return self.repository(FORMATS[parts[1]], parts[2:], asked, body)
        if parts[0] == "api":
            answers = {"whoami-v2": self.whoami, "validate-yaml": self.validate, "repos": self.create}
            if parts[1] in answers:
                return answers[parts[1]](json.loads(body or b"{}"))
            raise Refused(404, "Not found")
        kind = FORMATS[parts.pop(0)] if parts[0] in FORMATS else "model"
        if parts[2:] == ["info", "lfs", "objects", "batch"]:
            return self.batch(json.loads(body))
        if len(parts) > 4 and parts[2] == "resolve":
            return self.download(self.find(kind, "/".join(parts[:2])), parts[3], "/".join(parts[4:]))
        raise Refused(404, "Not found")

    def must_write(self) -> None:
        if not self.signed_in:
            raise Refused(401, "Invalid username or password.")
        if self.role == "read":
            raise Refused(403, "You must use a token with write permission")

    def find(self, kind: str, name: str) -> Repo:
        repo = self.repos.get((kind, name))
        if repo is None or (repo.private and not self.signed_in):
            raise Refused(404 if self.signed_in else 401, "Repository not found", "RepoNotFound")
        return repo

    def whoami(self, asked: Any) -> Answer:
        if not self.signed_in:
            raise Refused(401, "Invalid username or password.")
        return 200, {"name": "jeanne", "orgs": [], "auth": {"accessToken": {"role": self.role}}}, {}

    def validate(self, asked: dict[str, str]) -> Answer:
        """Strict where a card commonly fails: YAML that does not parse, a base model that is no id."""
        errors, metadata = [], {}
        try:
            metadata = yaml.safe_load(asked["content"].removeprefix("---\n").split("\n---")[0]) or {}
            metadata = metadata if asked["content"].startswith("---\n") else {}
        except yaml.YAMLError as error:
            errors = [{"message": str(error)}]
        base = metadata.get("base_model", "user/name")
        for name in [base] if isinstance(base, str) else base:
            if name.count("/") > 1 or name.startswith((".", "/")):
                errors.append({"message": f'"base_model" with value "{name}" is not valid.'})
        return (400 if errors else 200), {"errors": errors, "warnings": []}, {}

    def create(self, asked: dict[str, str]) -> Answer:
        self.must_write()
        name = f"{asked.get('organization') or 'jeanne'}/{asked['name']}"
        key, url = (asked.get("type", "model"), name), f"{self.url}/{name}"
        if not name.startswith("jeanne/"):
            raise Refused(403, f"You don't have the rights to create a model under the namespace of {name}")
        if key in self.repos:
            return 409, {"error": "You already created this repo", "url": url}, {}
        private = asked.get("visibility") == "private"
        self.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, key[0], private)
        return 200, {"url": url}, {}

    def repository(self, kind: str, parts: list[str], asked: dict[str, str], body: bytes) -> Answer:
        name, what = "/".join(parts[:2]), parts[2] if len(parts) > 2 else "revision"
        repo, revision = self.find(kind, name), "/".join(parts[3:]) or "main"
        if what == "revision":
            return self.about(repo, name, revision, "blobs" in asked)
        if what == "tree":
            return self.tree(repo, parts[3], "/".join(parts[4:]))
        if what == "refs":
            return 200, self.refs(repo), {}
        if what == "discussions":
            return self.discussions(repo, name)
        self.must_write()
        if what == "preupload":
            return self.modes(repo, revision, json.loads(body))
        if what == "branch":
            return self.point(repo.branches, revision, repo.resolve(json.loads(body).get("startingPoint", "main")))
        if what == "tag":
            return self.point(repo.tags, json.loads(body)["tag"], repo.resolve(revision))
        if what == "commit":
            return self.commit(repo, name, revision, "create_pr" in asked, body)
        raise Refused(404, "Not found")

    def about(self, repo: Repo, name: str, revision: str, blobs: bool) -> Answer:
        files = repo.files(revision)
        siblings = [{"rfilename": path, **(self.blob(path, files[path]) if blobs else {})} for path in sorted(files)]
        oid, gated = repo.resolve(revision), "manual" if repo.gated else False
        return 200, {"id": name, "sha": oid, "private": repo.private, "gated": gated, "siblings": siblings}, {}

    def blob(self, path: str, content: bytes) -> dict[str, Any]:
        if not in_lfs(path):
            return {"size": len(content), "blobId": git_sha(content)}
        lfs = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 134}
        pointer = f"oid sha256:{lfs['sha256']}\nsize {len(content)}\n"  # in git stands only this
        return {"size": len(content), "blobId": git_sha(pointer.encode()), "lfs": lfs}

    def tree(self, repo: Repo, revision: str, folder: str) -> Answer:
        files = {path: data for path, data in repo.files(revision).items() if path.startswith(folder)}
        if not files:
            raise Refused(404, "Not found", "EntryNotFound")
        entries = [{"type": "file", "path": path, **self.blob(path, data)} for path, data in files.items()]
        return 200, [entry | {"oid": entry["blobId"]} for entry in entries], {}

    def refs(self, repo: Repo) -> dict[str, Any]:
        def listed(names: dict[str, str], place: str) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{place}/{n}", "targetCommit": oid} for n, oid in names.items()]

        pulls = [
            {"name": str(p["num"]), "ref": f"refs/pr/{p['num']}", "targetCommit": p["oid"]} for p in repo.pull_requests
        ]
        named = {"branches": listed(repo.branches, "heads"), "tags": listed(repo.tags, "tags")}
        return named | {"converts": [], "pullRequests": pulls}

    def discussions(self, repo: Repo, name: str) -> Answer:
        about = {"createdAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"), "isPullRequest": True}
        about |= {"author": {"name": "jeanne"}, "repo": {"name": name, "type": "model"}}
        found = [about | {key: pull[key] for key in ("num", "title", "status")} for pull in repo.pull_requests]
        return 200, {"discussions": found, "count": len(found), "start": 0}, {}

    def modes(self, repo: Repo, revision: str, asked: dict[str, Any]) -> Answer:
        files = repo.files(revision)
        found = []
        for name in (file["path"] for file in asked["files"]):
            blob = self.blob(name, files[name]) if name in files else {}
            oid = blob["lfs"]["sha256"] if "lfs" in blob else blob.get("blobId")
            mode = "lfs" if in_lfs(name) else "regular"
            found.append({"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return 200, {"files": found}, {}

    def point(self, names: dict[str, str], name: str, oid: str) -> Answer:
        if name in names:
            raise Refused(409, f"Reference {name} exists already")
        names[name] = oid
        return 200, {}, {}

    def batch(self, asked: dict[str, Any]) -> Answer:
        self.must_write()
        objects = []
        for wanted in asked["objects"]:
            upload = {"href": f"{self.url}/lfs/{wanted['oid']}"}
            actions = {"actions": {"upload": upload, "verify": {"href": f"{self.url}/lfs/verify"}}}
            objects.append(wanted | ({} if wanted["oid"] in self.lfs else actions))
        return 200, {"objects": objects, "transfer": "basic"}, {}

    def store(self, parts: list[str], body: bytes) -> Answer:
        if parts[1] == "verify":
            known = json.loads(body)["oid"] in self.lfs
            return (200 if known else 404), {}, {}
        if hashlib.sha256(body).hexdigest() != parts[1]:
            raise Refused(400, "Bad digest")
        self.lfs[parts[1]] = body
        return 200, b"", {}

    def commit(self, repo: Repo, name: str, revision: str, create_pr: bool, body: bytes) -> Answer:
        header, *operations = map(json.loads, body.splitlines())
        head, title = repo.resolve(revision), header["value"]["summary"]
        if header["value"].get("parentCommit", head) != head:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repo.commits[head])
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "deletedFile":
                del files[value["path"]]
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.lfs[value["oid"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        oid, number = repo.commit(files, title), len(repo.pull_requests) + 1
        if create_pr:
            repo.pull_requests.append({"num": number, "oid": oid, "title": title, "status": "open"})
        elif revision.startswith("refs/pr/"):
            repo.pull_requests[int(revision.removeprefix("refs/pr/")) - 1]["oid"] = oid
        else:
            repo.branches[revision] = oid
        pull = f"{self.url}/{name}/discussions/{number}" if create_pr else None
        return 200, {"commitUrl": f"{self.url}/{name}/commit/{oid}", "commitOid": oid, "pullRequestUrl": pull}, {}

    def download(self, repo: Repo, revision: str, path: str) -> Answer:
        if repo.gated:
            raise Refused(403, "Access to this model is restricted", "GatedRepo")
        oid, files = repo.resolve(revision), repo.files(revision)
        if path not in files:
            raise Refused(404, "Entry not found", "EntryNotFound")
        etag = hashlib.sha256(files[path]).hexdigest() if in_lfs(path) else git_sha(files[path])
        return 200, files[path], {"X-Repo-Commit": oid, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}


def git_sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def in_lfs(path: str) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in LFS)
