"""Scores answers with a language model as judge, and measures how far that judge can be trusted."""
