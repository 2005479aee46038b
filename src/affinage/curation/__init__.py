"""From what people have to what a model should learn from: convert, clean, split, check, describe."""
