"""Shows one run on one screen: what ran, on what, and what came out.

.venv/bin/python tools/show_run.py --run last
"""

import argparse
from pathlib import Path

from affinage.console import next_command, run_script, stdout
from affinage.model_types import baseline_name
from affinage.paths import RESULTS, display
from affinage.reports import preference_sentence, run_facts, scores_table
from affinage.runs import newest_or_named


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="last", help="a run's id or folder, or last, the newest one (default)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    arguments = parser.parse_args(argv)
    run = newest_or_named(arguments.run, arguments.results)
    stdout.print(run_facts(run))
    metrics = run.manifest.get("metrics")
    if metrics:
        stdout.print(scores_table(metrics["scores"], metrics["rows_in_split"], baseline_name(run.manifest)))
        if sentence := preference_sentence(metrics):
            stdout.print(sentence)
    picture = run.folder / "plots" / "loss.png"
    if picture.exists():
        stdout.print(f"Loss curve: {display(picture)}")
    ended_early = run.status not in ("finished", "running")
    next_command(f"make train RESUME={run.folder.name}" if ended_early else "make list")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
