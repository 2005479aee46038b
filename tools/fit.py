"""Says which batches of a config fit the memory there is, or a card of a given size, and how long training takes.

make fit CONFIG=ludwig_configs/alpaca/mistral-7b-qlora.yaml MEMORY=16GB
.venv/bin/python tools/fit.py --config ludwig_configs/voix-passive/petit-llama-qlora.yaml --measure
"""

import argparse
import os
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from tqdm import tqdm

from affinage.console import next_command, progress_bar_options, quiet_libraries, run_script, stderr, stdout
from affinage.footprint.units import USABLE, parse_memory, unit_for
from affinage.paths import ROOT, display, full_dataset

if TYPE_CHECKING:
    from affinage.footprint.fitting import Need, Question

GIB = 2**30
COLUMNS = {  # headings, and the items of the estimate that stand below them
    "weights": "weights",
    "adapter": "adapter",
    "optimizer": "optimizer state",
    "gradients": "gradients",
    "activations": "activations",
    "logits": "logits of answers",
    "evaluation": "evaluation",
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="a YAML file in ludwig_configs/<task>/")
    parser.add_argument("--dataset", default="", help="a file or folder of rows (default: datasets/<task>/)")
    parser.add_argument("--set", default="", help='overrides, such as "trainer.batch_size=4 adapter.r=32"')
    parser.add_argument("--memory", default="", help="a card to ask about, such as 16GB (default: this machine)")
    parser.add_argument("--length", type=int, help="tokens of a row, instead of the most the config allows")
    parser.add_argument("--measure", action="store_true", help="take 20 real steps and say how long training takes")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    given = parse_memory(arguments.memory) if arguments.memory else None
    config, dataset = arguments.config.resolve(), full_dataset(arguments.dataset)
    os.chdir(ROOT)  # shipped configs name models/petit-llama relative to the project
    quiet_libraries()
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # without a network, huggingface_hub tells of every try
    stderr.print(f"[dim]{display(config)}: loading Ludwig (about 10 s)[/]")
    from ludwig.utils.torch_utils import get_torch_device

    from affinage.footprint import fitting
    from affinage.footprint.needs import Footprint
    from affinage.memory_estimate import memory_of

    device = "cuda" if given else get_torch_device()
    memory = given or memory_of(device)
    with fitting.question(config, dataset, arguments.set) as asked:
        rows = fitting.lengths(asked, arguments.length)
        footprint = Footprint(asked.resolved, device)
        total = len(rows) * len(fitting.BATCHES)
        found = list(tqdm(fitting.needs(footprint, rows), "counting", total, unit="batch", **progress_bar_options()))
        show_needs(found, memory * USABLE[device])
        place = f"a card of {arguments.memory}" if given else "this GPU" if device == "cuda" else "this machine"
        counted = f"{place}: {memory / GIB:.1f} GiB, of which {USABLE[device]:.0%} are counted on"
        show_largest(fitting.largest(found, memory * USABLE[device]), counted, fitting.BATCHES[-1])
        loading = footprint.loading()
        if loading > GIB:
            stdout.print(f"[bold]Loading[/] the weights takes {loading / GIB:.1f} GiB of main memory, before training")
        for note in asked.notes:
            stdout.print(f"[yellow]note:[/] {escape(note)}")
        show_hours(asked, arguments.measure)
    next_command(f"make check CONFIG={display(config)}")


def show_needs(found: list["Need"], usable: float) -> None:
    from rich import box
    from rich.table import Table

    name, unit = unit_for(max(need.total for need in found))
    digits = 2 if name == "GiB" else 1
    title = f"\nMemory of training in {name}, for batches of rows of one length"
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 0))
    for heading in ("rows of", "tokens", "batch", *COLUMNS, "work", "total", "fits"):
        table.add_column(heading, justify="left" if heading == "rows of" else "right", no_wrap=True)
    for i, need in enumerate(found):
        first = i == 0 or found[i - 1].length != need.length
        sizes = [need.items.get(item, 0) for item in COLUMNS.values()]
        table.add_row(
            *((need.length, f"{need.batch.tokens:,}") if first else ("", "")),
            str(need.batch.rows),
            *(f"{size / unit:,.{digits}f}" for size in (*sizes, need.total - sum(sizes), need.total)),
            "yes" if need.total <= usable else "[red]no[/]",
            end_section=i + 1 == len(found) or found[i + 1].length != need.length,
        )
    stdout.print(table)
    if any("evaluation" in need.items for need in found):
        stdout.print("Where there is an amount for the evaluation, that takes more than a training step does.")


def show_largest(largest: dict[str, int], counted: str, most: int) -> None:
    said = [f"{n if n < most else f'{n} or more' if n else 'none'} ({length})" for length, n in largest.items()]
    stdout.print(f"\n[bold]Largest batch[/] that fits: {', '.join(said)}\n({counted})")


def show_hours(asked: "Question", measured: bool) -> None:
    from affinage.footprint import fitting

    steps = fitting.planned_steps(asked)
    planned = f"{steps:,} steps" if steps else "an unknown number of steps"
    if not measured:
        stdout.print(f"[bold]Time[/]: unknown, not measured ({planned}); --measure takes 20 of them on this machine")
        return
    seconds = fitting.measure_steps(asked).seconds
    mean, hours = statistics.mean(seconds), (steps or 0) * statistics.mean(seconds) / 3600
    stdout.print(
        f"[bold]Time[/]: {duration(hours)} for {planned} at {mean:.3g} s a step on this machine (n = {len(seconds)}, "
        f"{min(seconds):.3g} to {max(seconds):.3g} s), without evaluations and the answers to the test rows"
    )


def duration(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.0f} minutes" if hours * 60 >= 2 else f"{hours * 3600:.0f} seconds"


if __name__ == "__main__":
    raise SystemExit(run_script(main))
