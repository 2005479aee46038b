"""Writes datasets/sentiment, French film reviews, and its card; the same seed gives the same bytes.

python tools/make_film_reviews.py
"""

import argparse
from pathlib import Path

from affinage.console import next_command, run_script, stdout
from affinage.paths import DATASETS, display


def main(argv: list[str] | None = None) -> int:
    """Writes sentiment.jsonl and README.md into the output folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, default=DATASETS / "sentiment")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    from affinage.cinema_demo.dataset import write_reviews

    path, rows = write_reviews(arguments.output_dir, arguments.seed)
    stdout.print(f"{display(path)}: {rows} reviews")
    next_command("make train CONFIG=ludwig_configs/sentiment/petit-llama-lora.yaml")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
