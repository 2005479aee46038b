"""Looks at a dataset without changing it: leaks, duplicates, personal data, left-overs, token lengths; writes one page.

.venv/bin/python tools/check_data.py --task voix-passive --config ludwig_configs/voix-passive/petit-llama-qlora.yaml

Exit code: 0 when the dataset has no error (warnings and notes may remain), 1 when it has one, 2 when it cannot be read.
"""

import argparse
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import CONFIGS, RESULTS, ROOT, display

if TYPE_CHECKING:
    from rich.table import Table

    from affinage.curation.checkup import Checkup

COLORS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", required=True, help="the dataset is datasets/<task>/; also names the page's folder")
    parser.add_argument("--dataset", default="", help="a file or folder of rows, or ludwig://name, instead")
    parser.add_argument("--config", type=Path, help="a YAML file whose splits, prompts, tokenizer and limits to use")
    parser.add_argument("--near", type=float, default=0.8, help="Jaccard index of near duplicates, 0..1 (default: 0.8)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the page goes to <results>/data/<task>/")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    refuse_unusable(arguments)
    dataset, results = arguments.dataset, arguments.results.resolve()
    if dataset and "://" not in dataset:
        dataset = display_from_root(Path(dataset))
    config = arguments.config.resolve() if arguments.config else None
    os.chdir(ROOT)  # shipped configs name models/petit-llama relative to the project
    if config:
        quiet_libraries()
        stderr.print(f"[dim]{display(config)}: loading Ludwig (about 10 s)[/]")
    from affinage.curation.checkup import check_dataset
    from affinage.curation.checkup_page import write_checkup

    checkup = check_dataset(arguments.task, dataset, config, arguments.near)
    page = write_checkup(checkup, results)
    show(checkup)
    stdout.print(f"\nPage: {display(page)}", markup=False)
    next_command(what_next(checkup, config, arguments))
    return 1 if checkup.of("error") else 0


def refuse_unusable(arguments: argparse.Namespace) -> None:
    """Raises AffinageError for a task that names no folder of its own, or a threshold that is none."""
    problems = []
    if not re.fullmatch(r"[\w][\w.-]*", arguments.task):
        problems.append(Problem(f"TASK {arguments.task}", "is no name of a folder.", "letters, digits, - _ and ."))
    if not 0 < arguments.near <= 1:
        problems.append(Problem(f"NEAR {arguments.near}", "is no Jaccard index.", "above 0 and at most 1, such as 0.8"))
    if problems:
        raise AffinageError(*problems)


def display_from_root(path: Path) -> str:
    path = path.resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def show(checkup: "Checkup") -> None:
    from rich.text import Text

    stdout.print(splits_table(checkup))
    stdout.print()
    for remark in checkup.remarks:
        stdout.print(Text(f"{remark.severity}: ", COLORS[remark.severity]) + Text(remark.text, "default"))
        stdout.print(Text(f"    {remark.remedy}", "dim"))
    numbers = {severity: len(checkup.of(severity)) for severity in COLORS}
    counts = ", ".join(f"{n} {severity}{'' if n == 1 else 's'}" for severity, n in numbers.items())
    stdout.print(f"[bold]{counts}[/]" if checkup.remarks else "[bold green]Nothing to mend.[/]")


def splits_table(checkup: "Checkup") -> "Table":
    from rich.table import Table
    from rich.text import Text

    unit = checkup.lengths.unit
    table = Table(title=Text(f"{checkup.dataset}, lengths in {unit}"), title_justify="left")
    table.add_column("split")
    headings = ("rows", "same row\nagain", "nearly the\nsame", "prompt\np50 / p95 / max", "answer\np50 / p95 / max")
    for heading in (*headings, "rows\ncut"):
        table.add_column(heading, justify="right")
    for split, n in checkup.rows.items():
        found = (n, checkup.duplicates.exact[split], checkup.duplicates.near[split])
        summaries = [checkup.lengths.parts[part].summary.get(split, {}) for part in ("prompt", "answer")]
        lengths = [" / ".join(f"{s[key]:,}" for key in ("p50", "p95", "max")) if s else "-" for s in summaries]
        cuts = checkup.truncation.splits.get(split) if checkup.truncation else None
        table.add_row(split, *(f"{value:,}" for value in found), *lengths, f"{cuts.cut:,}" if cuts else "-")
    return table


def what_next(checkup: "Checkup", config: Path | None, arguments: argparse.Namespace) -> str:
    """Mend what is an error, look closer with a config when there is one, else go on."""
    given = f" DATASET={shlex.quote(arguments.dataset)}" if arguments.dataset else ""
    source = shlex.quote(arguments.dataset or f"datasets/{arguments.task}")
    faults = {remark.about for remark in checkup.of("error")}
    if faults == {"truncation"} and config and checkup.truncation:
        longest = min(checkup.truncation.keep_all, checkup.truncation.context)
        limit = f'SET="preprocessing.global_max_sequence_length={longest}"'
        return f"make check CONFIG={display(config)}{given} {limit}"
    if faults:
        mask = " PII=mask" if "personal-data" in faults else ""
        return f"make data SOURCE={source} TASK={arguments.task}-clean{mask}"
    if config:
        return f"make check CONFIG={display(config)}{given}"
    configs = sorted((CONFIGS / arguments.task).glob("*.yaml"))
    if configs:
        return f"make check-data TASK={arguments.task} CONFIG={display(configs[0])}{given}"
    if "all" in checkup.rows or Path(arguments.dataset).is_file():
        return f"make data SOURCE={source} TASK={arguments.task}-split"
    return f"make card TASK={arguments.task}{given}"


if __name__ == "__main__":
    raise SystemExit(run_script(main))
