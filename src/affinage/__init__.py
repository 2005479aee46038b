"""Affinage fine-tunes language models with Ludwig from YAML and shows what changed."""

__version__ = "0.1.0"
