"""Writes the mailbox of archives-demo and its card; the same seed gives the same bytes.

python tools/make_archives_demo.py
"""

import argparse
from pathlib import Path

from affinage.console import next_command, run_script, stdout
from affinage.paths import DATASETS, display


def main(argv: list[str] | None = None) -> None:
    """Writes mails.txt and README.md into the output folder; curate.yaml, which people edit, is left alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, default=DATASETS / "archives-demo")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    from affinage.archives_demo.dataset import write_mailbox

    path, threads = write_mailbox(arguments.output_dir, arguments.seed)
    stdout.print(f"{display(path)}: {threads} threads")
    next_command("make curate TASK=archives-demo SAMPLE=20")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
