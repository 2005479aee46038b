"""Merges a run's adapter into its base model in full precision, as a plain transformers folder.

.venv/bin/python tools/merge.py --run last
.venv/bin/python tools/merge.py --run 20261120-133526 --dtype bfloat16
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.paths import RESULTS, ROOT, display
from affinage.runs import newest_or_named


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="last", help="its id or its folder (default: the newest)")
    parser.add_argument(
        "--dtype", default="float32", help="float32 (default), or bfloat16, which needs half the memory"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    return parser.parse_args(argv)


def show(folder: Path, made: dict[str, Any]) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    stdout.print(f"Merged model: {display(folder)} ({made['dtype']}, {size:,.1f} MB, {made['seconds']:.0f} s)")
    n = made["prompts"]
    if made["from_adapter"] is None:
        stdout.print("The run trained every weight: nothing was merged, the model is written as it is.")
    else:
        found = f"largest difference of a logit {made['from_adapter']:.2g} (allowed {made['tolerance']:g})"
        stdout.print(f"Equal to the adapter on {made['base_model']} in {made['dtype']}: {found}, {n} prompts.")
    trained = f"{made['from_trained']:.2g} in a logit, same next token on {made['same_next_token']} of {n} prompts"
    stdout.print(f"From the model that was trained ({made['trained_in']}) it differs by up to {trained}.")
    if "bit" in made["trained_in"]:
        stdout.print(
            "That is real: the run was trained on a rounded base, and the merged model stands on the exact one."
        )
    for note in made["notes"]:
        stdout.print(f"[yellow]{note}[/]")


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    results = arguments.results.resolve()
    os.chdir(ROOT)
    quiet_libraries()
    run = newest_or_named(arguments.run, results)
    stderr.print(f"[dim]{display(run.folder)}: loading Ludwig (about 10 s)[/]")
    from affinage.export.merging import merge, record_of

    folder = merge(run, arguments.dtype)
    show(folder, json.loads(record_of(folder).read_text(encoding="utf-8")))
    next_command(f"make gguf RUN={run.folder.name} QUANT=q8_0")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
