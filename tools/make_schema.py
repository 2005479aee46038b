"""Writes ludwig_configs/schema.json, from which an editor completes and checks the keys of a config.

python tools/make_schema.py
"""

import argparse
from pathlib import Path

from affinage.console import run_script, stdout
from affinage.paths import CONFIGS, display


def main(argv: list[str] | None = None) -> int:
    """Writes the schema of the installed Ludwig; the same version gives the same bytes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=CONFIGS / "schema.json")
    arguments = parser.parse_args(argv)
    from affinage.schema import editor_schema

    arguments.output.write_text(editor_schema(), encoding="utf-8")
    stdout.print(f"{display(arguments.output)}: {arguments.output.stat().st_size // 1000} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
