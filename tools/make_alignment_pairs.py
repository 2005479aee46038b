"""Writes the alignment dataset and its card; the same seed gives the same bytes.

python tools/make_alignment_pairs.py
"""

import argparse
from pathlib import Path

from affinage.console import next_command, run_script, stdout
from affinage.paths import DATASETS, display


def main(argv: list[str] | None = None) -> int:
    """Writes alignment.jsonl and README.md into the output folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, default=DATASETS / "alignment")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    from affinage.voix_passive.pairs_dataset import write_pairs

    path = write_pairs(arguments.output_dir, arguments.seed)
    stdout.print(f"{display(path)}: {path.read_text(encoding='utf-8').count(chr(10))} rows")
    next_command("make train CONFIG=ludwig_configs/alignment/petit-llama-dpo-lora.yaml")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
