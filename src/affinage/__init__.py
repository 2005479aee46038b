"""Affinage fine-tunes language models with Ludwig from YAML and shows what changed."""

import os

__version__ = "0.1.0"

# Threads of torch that wait for a core spin otherwise, and beside another busy program a step takes six times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
