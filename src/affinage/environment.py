"""What a run or a bug report must say about the machine: versions, commit, hardware, which tokens are set."""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from affinage import __version__
from affinage.paths import ROOT

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "ludwig",
    "huggingface_hub",
    "ollama",
    "pyyaml",
    "tokenizers",
    "datasets",
)
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "COMET_API_KEY", "WANDB_API_KEY")
OLLAMA_DEFAULT = "http://127.0.0.1:11434"


def collect() -> dict[str, Any]:
    """Everything about this environment as JSON-able values; sizes are bytes, tokens are masked."""
    return {
        "affinage": __version__,
        "git": git_state(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(),
        **hardware(),
        "disk_free_bytes": shutil.disk_usage(ROOT).free,
        "tokens": tokens(),
        "ollama": ollama_server(),
    }


def versions() -> dict[str, str]:
    """Installed version of each package that can change a result; imports none of them."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_state() -> dict[str, Any]:
    """The project's commit and whether files differ from it; both None outside a git checkout."""
    top = _output_of("git", "-C", str(ROOT), "rev-parse", "--show-toplevel")
    # A copy of the project inside another repository must not report that one's commit.
    if not top or Path(top).resolve() != ROOT:
        return {"commit": None, "dirty": None}
    changes = _output_of("git", "-C", str(ROOT), "status", "--porcelain")
    return {
        "commit": _output_of("git", "-C", str(ROOT), "rev-parse", "--verify", "HEAD"),
        "dirty": None if changes is None else bool(changes),
    }


def hardware() -> dict[str, Any]:
    """Processor, memory and devices torch can use; imports torch."""
    import psutil

    memory = psutil.virtual_memory()
    return {
        "cpu": _cpu_name(),
        "cpu_cores": psutil.cpu_count(logical=False),
        "cpu_threads": os.cpu_count(),
        "memory_bytes": {"total": memory.total, "free": memory.available},
        "driver": _output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        **_torch_devices(),
    }


def mask(token: str) -> str:
    """The token as it may be shown: at most its last four characters and its length."""
    token = token.strip()
    if len(token) < 12:
        return "set"
    prefix = "hf_" if token.startswith("hf_") else ""
    return f"{prefix}…{token[-4:]} ({len(token)} characters)"


def tokens() -> dict[str, str | None]:
    """Each place a token can come from, masked, or None where there is none."""
    found = {name: os.environ.get(name, "").strip() for name in TOKEN_VARIABLES}
    found["huggingface_hub token file"] = _hub_token_file()
    return {name: mask(token) if token else None for name, token in found.items()}


def without_credentials(url: str) -> str:
    """The address without user, password, query or fragment."""
    url = url.strip()
    scheme = next((known for known in ("http://", "https://") if url.startswith(known)), "")
    # The last @, because a password typed without quoting may hold one, or a slash.
    host = url.removeprefix(scheme).rpartition("@")[2]
    return scheme + host.partition("?")[0].partition("#")[0]


def ollama_server() -> dict[str, Any]:
    """Address of the Ollama server, whether it answers within a second, and how many models it holds."""
    models = _ollama_models()
    host = without_credentials(os.environ.get("OLLAMA_HOST", "")) or OLLAMA_DEFAULT
    return {"host": host, "answers": models is not None, "models": models}


def _ollama_models() -> int | None:
    import httpx

    # Messages are dropped on purpose: they can quote a password that breaks the address.
    try:
        # Already the import reads OLLAMA_HOST and refuses what it cannot parse.
        import ollama
    except ValueError:
        return None
    try:
        return len(ollama.Client(timeout=1).list().models)
    except (ConnectionError, ValueError, ollama.ResponseError, httpx.HTTPError, httpx.InvalidURL):
        return None


def _hub_token_file() -> str:
    from huggingface_hub import constants

    try:
        return Path(constants.HF_TOKEN_PATH).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _torch_devices() -> dict[str, Any]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return {"devices": [], "cuda": None, "torch_error": str(error)}
    devices: list[dict[str, Any]] = []
    if torch.cuda.is_available():
        devices += [_cuda_device(index) for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append({"type": "mps", "memory_bytes": {"total": torch.mps.recommended_max_memory()}})
    return {"devices": devices or [{"type": "cpu"}], "cuda": torch.version.cuda, "torch_error": None}


def _cuda_device(index: int) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(index)
    memory: dict[str, int | None] = {"total": properties.total_memory, "free": None}
    # A GPU that another process fills or holds alone still has a name to report.
    with contextlib.suppress(RuntimeError):
        memory["free"] = torch.cuda.mem_get_info(index)[0]
    capability = f"{properties.major}.{properties.minor}"
    return {"type": "cuda", "name": properties.name, "capability": capability, "memory_bytes": memory}


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    brand = _output_of("sysctl", "-n", "machdep.cpu.brand_string") if sys.platform == "darwin" else None
    return brand or platform.processor() or platform.machine()


def _output_of(*command: str) -> str | None:
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return finished.stdout.strip()
