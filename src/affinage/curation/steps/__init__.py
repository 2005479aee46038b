"""Steps in which a language model cuts, labels and augments data, and those that pick from what it made."""
