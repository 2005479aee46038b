"""Files of a cache that are whole or not there: a checksum before the content, and room made by what was used last."""

import contextlib
import hashlib
import os
import tempfile
import time
from pathlib import Path

LEFT_BEHIND_SECONDS = 3600  # an unfinished file this old belongs to a process that was killed
SHA256_BYTES = 32


def read_checked(path: Path) -> memoryview | None:
    """The content that `write_checked` wrote; None when there is no file, or none that is whole, which is removed."""
    try:
        content = memoryview(path.read_bytes())
        if hashlib.sha256(content[SHA256_BYTES:]).digest() != content[:SHA256_BYTES]:
            path.unlink()
            return None
        os.utime(path)  # the least recently used go first
    except OSError:
        return None
    return content[SHA256_BYTES:]


def write_checked(path: Path, content: bytes, limit_bytes: int) -> None:
    """Writes the file under a temporary name, renames it, and deletes the least recently used beyond the limit.

    The folder is made when it is not there, for its owner alone. Raises OSError when no file can be written.
    """
    place = path.parent
    place.mkdir(mode=0o700, parents=True, exist_ok=True)  # what is cached can tell what it was made from
    descriptor, unfinished = tempfile.mkstemp(suffix=".part", dir=place)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    with contextlib.suppress(FileNotFoundError):  # another process makes room too
        _make_room(place, limit_bytes)


def _make_room(place: Path, limit_bytes: int) -> None:
    """Deletes what killed processes left, then the least recently used files, until the rest fits the limit."""
    files = [(path.stat(), path) for path in place.iterdir()]
    total, now = 0, time.time()
    for status, path in sorted(files, key=lambda file: file[0].st_mtime, reverse=True):
        total += status.st_size
        left_behind = path.suffix == ".part" and now - status.st_mtime > LEFT_BEHIND_SECONDS
        if left_behind or total > limit_bytes:
            path.unlink()
