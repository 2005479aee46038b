"""The passages that are nearest to a question in meaning: a sentence-transformers model on this machine, and FAISS."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from affinage.checked_files import read_checked, write_checked
from affinage.documents.passages import Passage
from affinage.documents.retrieval import FOUND, Found, above
from affinage.errors import AffinageError, Problem
from affinage.paths import display, user_cache

FORMAT = 1  # of the cached files; another number makes all older ones useless
LIMIT_BYTES = 2**30
VECTOR_THRESHOLD = 0.4  # cosine; every model has a scale of its own, see docs/app.md
PACKAGES = ("faiss-cpu", "sentence-transformers", "transformers")
MARK = "modules.json"  # every sentence-transformers model has this file
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embedder:
    """A loaded model: its name, SHA-256 over all its files, and the model of sentence-transformers."""

    name: str
    identity: str
    model: Any

    def questions(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of length 1, float32 (texts, dimensions), with the model's own prompt for questions, if any."""
        return self._vectors(self.model.encode_query, texts)

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of length 1, float32 (texts, dimensions), with the model's own prompt for documents, if any."""
        return self._vectors(self.model.encode_document, texts)

    def _vectors(self, encode: Any, texts: Sequence[str]) -> np.ndarray:
        found = encode(list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)
        return np.ascontiguousarray(found, dtype=np.float32)


def models_here() -> dict[str, Path]:
    """The folders of the sentence-transformers models in the Hugging Face cache, by name; nothing is downloaded."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return {}
    newest = {
        repository.repo_id: max(repository.revisions, key=lambda revision: revision.last_modified).snapshot_path
        for repository in repositories
        if repository.repo_type == "model" and repository.revisions
    }
    return {name: folder for name, folder in sorted(newest.items()) if (folder / MARK).is_file()}


def load(folder: Path) -> Embedder:
    """The model in a folder. Raises AffinageError when there is none, or one that runs code of its own."""
    if not (folder / MARK).is_file():
        found = f"no sentence-transformers model: there is no {MARK}."
        raise AffinageError(Problem(display(folder), found, remedy="Name the folder of one, or search by words."))
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, ImportError, KeyError) as error:
        found = f"the model cannot be loaded: {str(error).strip().splitlines()[0]}"
        raise AffinageError(Problem(display(folder), found, remedy="Download it again, or search by words.")) from error
    return Embedder(folder.name, _hash_of(folder), model)


class VectorIndex:
    """Inner products of vectors of length 1, which are cosines, over all passages (exact, no approximation).

    The vectors are kept on disk under a hash of the passages and the model; the texts are not.
    """

    threshold = VECTOR_THRESHOLD

    def __init__(self, passages: Sequence[Passage], embedder: Embedder) -> None:
        self.passages, self._embedder = passages, embedder
        self._index = _index_of([passage.searched for passage in passages], embedder) if passages else None

    def search(self, question: str, k: int = FOUND, threshold: float | None = None) -> list[Found]:
        """See `retrieval.Index`; the score is the cosine, 0 where it is negative."""
        if self._index is None or not question.strip():
            return []
        scores, places = self._index.search(self._embedder.questions([question]), min(k, len(self.passages)))
        scored = zip(places[0].tolist(), scores[0].tolist(), strict=True)
        found = [Found(self.passages[i], min(max(score, 0.0), 1.0)) for i, score in scored]
        return above(found, self.threshold if threshold is None else threshold)


def cache_folder() -> Path:
    """Where the vectors are kept. Raises RuntimeError for a user without a home."""
    return user_cache() / "passages"


def _index_of(texts: Sequence[str], embedder: Embedder) -> Any:
    import faiss

    try:
        path = cache_folder() / f"{_key(texts, embedder.identity)}.faiss"
    except RuntimeError:
        return _built(embedder.passages(texts))
    kept = read_checked(path)
    if kept is not None:
        return faiss.deserialize_index(np.frombuffer(kept, dtype=np.uint8))
    index = _built(embedder.passages(texts))
    try:
        write_checked(path, faiss.serialize_index(index).tobytes(), LIMIT_BYTES)
    except OSError as error:
        log.warning("vectors cannot be kept for the next time: %s", error)
    return index


def _built(vectors: np.ndarray) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def _key(texts: Sequence[str], identity: str) -> str:
    described = {
        "format": FORMAT,
        "packages": {name: version(name) for name in PACKAGES},
        "model": identity,
        "texts": [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in texts],
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _hash_of(folder: Path) -> str:
    """SHA-256, in hexadecimal, of the names and contents of all files below a folder."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return whole.hexdigest()
