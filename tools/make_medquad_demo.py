"""Writes the XML files of medquad-demo and their card; the same seed gives the same bytes.

.venv/bin/python tools/make_medquad_demo.py
"""

import argparse
from pathlib import Path

from affinage.console import next_command, run_script, stdout
from affinage.paths import DATASETS, display


def main(argv: list[str] | None = None) -> None:
    """Writes documents/ and README.md into the output folder; rows that `make data` put there are left alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, default=DATASETS / "medquad-demo")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    from affinage.medquad_demo.dataset import write_sample

    path, documents = write_sample(arguments.output_dir, arguments.seed)
    stdout.print(f"{display(path)}: {documents} documents")
    next_command(f"make data SOURCE={display(path)} TASK=medquad-demo FORMAT=medquad BY=group REPLACE=1")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
