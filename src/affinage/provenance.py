"""Where a run comes from: its data, its base model, the environment it ran in, and the line that started it."""

import shlex
from pathlib import Path
from typing import Any

import pandas as pd
from transformers import AutoConfig

from affinage import environment
from affinage.data import sha256
from affinage.paths import ROOT, display

LOCK = ROOT / "requirements.lock"
WEIGHTS = ("*.safetensors", "*.bin", "*.json")


def describe_data(
    dataset: str, files: list[Path], splits: dict[str, pd.DataFrame], dropped: dict[str, int]
) -> dict[str, Any]:
    """The data as given, the SHA-256 of each file, rows per split, and those without an answer that were left out."""
    return {
        "dataset": dataset,
        "files": [{"name": path.name, "sha256": sha256(path)} for path in files],
        "rows": {name: len(rows) for name, rows in splits.items()},
        "dropped_without_answer": dropped,
    }


def describe_base_model(base_model: str, trust_remote_code: bool = False) -> dict[str, Any]:
    """The id of the base model with its revision on the Hub, or the SHA-256 of each file of a local one."""
    folder = Path(base_model)
    if folder.is_dir():
        files = sorted({path for pattern in WEIGHTS for path in folder.glob(pattern)})
        return {"id": base_model, "files": {path.name: sha256(path) for path in files}}
    config = AutoConfig.from_pretrained(base_model, trust_remote_code=trust_remote_code)
    return {"id": base_model, "revision": getattr(config, "_commit_hash", None)}


def describe_environment() -> dict[str, Any]:
    """Versions, hardware and the hash of the lock; which tokens are set and which servers answer stays out."""
    kept = {key: value for key, value in environment.collect().items() if key not in ("tokens", "ollama")}
    return kept | {"lock_sha256": sha256(LOCK) if LOCK.exists() else None}


def make_line(config: Path, dataset: str, overrides: str, workers: int = 1) -> str:
    """The command that starts the same run from the project's folder."""
    parts = ["make train", f"CONFIG={shlex.quote(display(config))}"]
    if dataset:
        parts.append(f"DATASET={shlex.quote(dataset if '://' in dataset else display(Path(dataset)))}")
    if overrides:
        parts.append(f"SET={shlex.quote(overrides)}")
    if workers > 1:
        parts.append(f"GPUS={workers}")
    return " ".join(parts)


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What changed between two manifests that can change a result, one sentence each; empty when nothing did."""
    then, today = _facts(before), _facts(now)
    return [
        f"{name}: {then.get(name)} then, {today.get(name)} now"
        for name in sorted(then.keys() | today.keys())
        if then.get(name) != today.get(name)
    ]


def _facts(manifest: dict[str, Any]) -> dict[str, Any]:
    around = manifest.get("environment", {})
    git = around.get("git") or {}
    files = manifest.get("data", {}).get("files", [])
    return {
        **{name: around.get(name) for name in ("affinage", "python", "platform", "cpu", "lock_sha256")},
        **around.get("packages", {}),
        "commit": git.get("commit"),
        "changed files": git.get("dirty"),
        "devices": [device.get("name", device.get("type")) for device in around.get("devices", [])],
        "data": {file["name"]: file["sha256"] for file in files},
        "base model": manifest.get("base_model"),
        "seed": manifest.get("seed"),
    }
