"""Measures memory and seconds per step of a config on this machine, by batch size and bits of the base weights.

make bench CONFIG=ludwig_configs/alpaca/mistral-7b-qlora.yaml BATCHES=1,2,4,16 BITS=4,8,16
.venv/bin/python tools/bench.py --config ludwig_configs/voix-passive/petit-llama-qlora.yaml --batches 1,2,4 --bits 4,32
"""

import argparse
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from tqdm import tqdm

from affinage import environment
from affinage.console import next_command, progress_bar_options, quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.footprint.units import unit_for
from affinage.paths import RESULTS, ROOT, display

if TYPE_CHECKING:
    from affinage.footprint.bench import Result

BITS = (4, 8, 16, 32)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="a YAML file in ludwig_configs/<task>/")
    parser.add_argument("--set", default="", help='overrides, such as "base_model=results/tiny-models/quizz-t5"')
    parser.add_argument("--batches", default="1,2,4,16", help="rows in a batch (default: 1,2,4,16)")
    parser.add_argument("--bits", default="4,8,16", help="of the base weights: 4, 8, 16, 32 (default: 4,8,16)")
    parser.add_argument("--steps", type=int, default=5, help="timed in each cell; the first warms up (default: 5)")
    parser.add_argument("--length", type=int, default=512, help="tokens of a row, half of them learnt (default: 512)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where bench/ goes (default: results/)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    batches, bits = numbers("BATCHES", arguments.batches), numbers("BITS", arguments.bits, BITS)
    check_length(arguments)
    config_path, results = arguments.config.resolve(), arguments.results.resolve()
    os.chdir(ROOT)  # shipped configs name models/petit-llama relative to the project
    quiet_libraries()
    stderr.print(f"[dim]{display(config_path)}: every cell loads Ludwig anew (about 10 s)[/]")
    from affinage.configs import read_config, task_and_name
    from affinage.footprint import bench, fitting
    from affinage.runs import write_json

    config = fitting.with_overrides(read_config(config_path), arguments.set, display(config_path))
    task, name = task_and_name(config_path)
    fitting.check(config_path, config)
    cells = [bench.Cell(n, batch, arguments.length, arguments.steps) for n in bits for batch in batches]
    found = []
    with tqdm(total=len(cells), desc="measuring", unit="cell", **progress_bar_options()) as bar:
        for result in bench.measure_cells(config, cells):
            found.append(result)
            bar.update()
    folder = results / "bench" / task / name / datetime.now().strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    machine = {"git": environment.git_state(), "packages": environment.versions(), **environment.hardware()}
    about = {"config": display(config_path), "set": arguments.set}
    about |= {"tokens": arguments.length, "answer_tokens": arguments.length // 2}
    write_json(folder / "bench.json", {**about, "results": bench.as_json(found), "environment": machine})
    bench.draw(found, arguments.length, folder / "bench.png")
    show(found, arguments.length)
    stdout.print(f"{display(folder / 'bench.json')}\n{display(folder / 'bench.png')}")
    next_command(f"make fit CONFIG={display(config_path)}")


def numbers(where: str, text: str, allowed: tuple[int, ...] = ()) -> list[int]:
    """The positive numbers in "1,2,4". Raises AffinageError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    wrong = [p for p in parts if not p.isdecimal() or int(p) < 1 or (allowed and int(p) not in allowed)]
    if wrong:
        which = ", ".join(map(str, allowed)) or "numbers from 1 on, such as 1,2,4"
        raise AffinageError(Problem(where, f"'{wrong[0]}' is not one of them.", which))
    return [int(part) for part in parts]


def check_length(arguments: argparse.Namespace) -> None:
    if arguments.length < 8 or arguments.steps < 2:
        raise AffinageError(Problem("LENGTH and STEPS", "too small.", "LENGTH from 8 and STEPS from 2 on"))


def show(found: list["Result"], tokens: int) -> None:
    from rich.table import Table

    from affinage.footprint.bench import median

    name, unit = unit_for(max(one.peak or 0 for one in found))
    table = Table(title=f"One training step on rows of {tokens} tokens; memory in {name}, seconds are medians")
    for heading in ("bits", "batch", "memory", "estimate", "seconds", "from", "to", "tokens/s"):
        table.add_column(heading, justify="right")
    for i, one in enumerate(found):
        estimate = amount(one.estimate, unit) if one.estimate else ""
        first = [str(one.bits), str(one.batch)]
        if one.peak is None:
            table.add_row(*first, one.refused.partition(":")[0], estimate)
            stdout.print(f"{one.bits} bits, batch {one.batch}: {escape(one.refused)}")
        else:
            steps, middle = one.seconds[1:] or one.seconds, median(one.seconds)
            times = [f"{value:.3g}" for value in (middle, min(steps), max(steps))]
            speed = f"{one.batch * tokens / middle:,.0f}"
            table.add_row(*first, amount(one.peak, unit), estimate, *times, speed)
        if i + 1 < len(found) and found[i + 1].bits != one.bits:
            table.add_section()
    stdout.print(table)


def amount(size: int, unit: int) -> str:
    return f"{size / unit:,.2f}" if unit == 2**30 else f"{size / unit:,.1f}"


if __name__ == "__main__":
    raise SystemExit(run_script(main))
