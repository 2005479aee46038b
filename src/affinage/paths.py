"""Where things are: the project root and the folders below it."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "ludwig_configs"
DATASETS = ROOT / "datasets"
SUITES = ROOT / "evaluate" / "suites"
RESULTS = ROOT / "results"
MODELS = ROOT / "models"


def user_cache() -> Path:
    """Affinage's folder below XDG_CACHE_HOME or ~/.cache. Raises RuntimeError for a user without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "affinage"


def full_dataset(dataset: str) -> str:
    """A DATASET argument that still means the same from another folder; addresses such as ludwig://name stay."""
    return str(Path(dataset).resolve()) if dataset and "://" not in dataset else dataset


def display(path: Path) -> str:
    """The path as a person would type it: relative to the working folder when below it."""
    path = Path(path)
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)
