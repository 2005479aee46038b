"""llama.cpp in a cache of the user: the library, compiled once, and the sources of its own model converter."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from affinage.errors import AffinageError, Problem
from affinage.paths import ROOT, display, user_cache

LOCK = ROOT / "tools" / "llama-cpp.lock"
PACKAGE = "llama-cpp-python"
# Code for any processor of the kind, and no image or sound models.
BUILD_OPTIONS = "-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF"
CONVERTER = "convert_hf_to_gguf.py"
CONVERTER_PARTS = (CONVERTER, "conversion", "gguf-py", "LICENSE")
COMPILERS = ("c++", "g++", "clang++", "cl")
LAST_LINES = 15  # of a build that failed


@dataclass(frozen=True)
class LlamaCpp:
    """`source` holds the converter, `library` the package llama_cpp with the compiled library in it."""

    source: Path
    library: Path
    version: str


def find() -> LlamaCpp:
    """What `install` left, with the converter of LLAMA_CPP_DIR if that is set.

    Raises AffinageError with the command to type when there is none, or when LLAMA_CPP_DIR holds no converter.
    """
    folder = cache_folder()
    checkout = os.environ.get("LLAMA_CPP_DIR", "")
    source = Path(checkout).expanduser() if checkout else folder / "source"
    if checkout and not (source / CONVERTER).is_file():
        raise AffinageError(Problem("LLAMA_CPP_DIR", f"{checkout} holds no {CONVERTER}.", "a checkout of llama.cpp"))
    if not (folder / "library").is_dir() or not (source / CONVERTER).is_file():
        raise AffinageError(
            Problem(
                "llama.cpp",
                f"is not in {display(folder)} yet.",
                remedy="Type make llama-cpp (about ten minutes, needs a C++ compiler).",
            )
        )
    return LlamaCpp(source, folder / "library", pinned_version())


def cache_folder(lock: Path = LOCK) -> Path:
    """Where this version for this Python is kept, below XDG_CACHE_HOME or ~/.cache."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return user_cache() / "llama-cpp" / f"{pinned_version(lock)}-{python}"


def pinned_version(lock: Path = LOCK) -> str:
    """The version that the lock names."""
    found = re.search(r"^[\w-]+==([\w.]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{lock} pins no version")
    return found[1]


def install(say: Callable[[str], None], wheel: Path | None = None, lock: Path = LOCK) -> LlamaCpp:
    """Gets the pinned source, compiles it, and moves converter and library into the cache; does nothing when there.

    `say` is told what takes long; `wheel` is a compiled package to take instead of compiling. Raises AffinageError
    when there is no C++ compiler, when the source cannot be had, or, with its last lines, when the build fails.
    """
    folder = cache_folder(lock)
    found = LlamaCpp(folder / "source", folder / "library", pinned_version(lock))
    if found.source.is_dir() and found.library.is_dir():
        return found
    if wheel is None:
        _check_compiler()
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".making-") as temporary:
        work = Path(temporary)
        archive = _download(work, lock)
        _take_converter(archive, work / "source")
        if wheel is None:
            say("Compiling llama.cpp: about ten minutes on two cores.")
            wheel = _compile(archive, work)
        _pip("the library", "install", "--no-deps", "--target", str(work / "library"), str(wheel))
        _move(work / "source", found.source)
        _move(work / "library", found.library)
    return found


def _check_compiler() -> None:
    named = os.environ.get("CXX", "")
    if shutil.which(named.split()[0]) if named.strip() else any(map(shutil.which, COMPILERS)):
        return
    where, found = ("CXX", f"'{named}' is no program.") if named else ("C++ compiler", "none on PATH.")
    remedy = "Install one (Debian, Ubuntu: apt install g++; macOS: xcode-select --install), or name it with CXX=."
    raise AffinageError(Problem(where, found, ", ".join(COMPILERS), remedy))


def _download(work: Path, lock: Path) -> Path:
    """The source archive whose hash the lock holds."""
    options = ("--no-deps", "--no-binary", PACKAGE, "--require-hashes", "--dest", str(work), "--requirement", str(lock))
    _pip("the source", "download", *options)
    return next(work.glob("*.tar.gz"))


def _take_converter(archive: Path, target: Path) -> None:
    """Unpacks the converter out of the archive: the rest, ten times its size, is not needed once compiled."""
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = Path(member.name).parts
            if parts[1:3] == ("vendor", "llama.cpp") and len(parts) > 3 and parts[3] in CONVERTER_PARTS:
                member.name = str(Path(*parts[3:]))
                tar.extract(member, target, filter="data")


def _compile(archive: Path, work: Path) -> Path:
    environment = {"CMAKE_ARGS": os.environ.get("CMAKE_ARGS", BUILD_OPTIONS)}
    _pip("the build", "wheel", "--no-deps", "--wheel-dir", str(work / "wheel"), str(archive), environment=environment)
    return next((work / "wheel").glob("*.whl"))


def _pip(what: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "--quiet", "--disable-pip-version-check", *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (environment or {}), check=False)
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        lines = "\n  ".join(said[-LAST_LINES:])
        raise AffinageError(
            Problem("llama.cpp", f"{what} failed; pip said last:\n  {lines}\n", remedy="Mend that and repeat.")
        )


def _move(made: Path, place: Path) -> None:
    """Puts a finished folder into place; what another process put there in the meantime is as good."""
    if not place.is_dir():
        made.rename(place)
