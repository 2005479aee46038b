"""Shows what a config would train, before a minute is spent: steps, token lengths, one row, memory, warnings.

.venv/bin/python tools/check.py --config ludwig_configs/voix-passive/petit-llama-qlora.yaml
"""

import argparse
import os
import shlex
from pathlib import Path

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.paths import ROOT, display, full_dataset
from affinage.reports import dropped_sentences

GIB = 2**30


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="a YAML file in ludwig_configs/<task>/")
    parser.add_argument("--dataset", default="", help="a file or folder of rows (default: datasets/<task>/)")
    parser.add_argument("--set", default="", help='overrides, such as "trainer.epochs=1 adapter.r=32"')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    config, dataset = arguments.config.resolve(), full_dataset(arguments.dataset)
    os.chdir(ROOT)  # shipped configs name models/petit-llama relative to the project
    quiet_libraries()
    stderr.print(f"[dim]{display(config)}: loading Ludwig (about 10 s)[/]")
    from affinage import training
    from affinage.preview import preview

    plan = training.plan(config, dataset, arguments.set)
    seen = preview(plan)
    show_settings(seen.settings)
    show_lengths(seen.splits, plan.dropped)
    for sentence in dropped_sentences(plan.dropped):
        stdout.print(f"[yellow]{sentence}[/]")
    show_sample(seen.sample)
    show_curve(seen.curve)
    show_memory(seen.memory)
    for warning in seen.warnings:
        stdout.print(f"[yellow]warning:[/] {warning}")
    next_command(train_command(config, arguments))


def train_command(config: Path, arguments: argparse.Namespace) -> str:
    given = {"DATASET": arguments.dataset, "SET": arguments.set}
    return " ".join(
        [
            f"make train CONFIG={display(config)}",
            *(f"{key}={shlex.quote(value)}" for key, value in given.items() if value),
        ]
    )


def show_settings(settings: dict[str, str]) -> None:
    from rich.text import Text

    for name, value in settings.items():
        stdout.print(Text(f"{name:<13}", style="bold") + Text(value, style="not bold"))


def show_lengths(splits: dict, dropped: dict[str, int]) -> None:
    import numpy as np
    from rich.table import Table

    table = Table(title="\nTokens per row (answers with their end token)", title_justify="left")
    for heading in ("split", "rows", "no answer", "part", "p50", "p95", "max", "rows cut"):
        table.add_column(heading, justify="left" if heading in ("split", "part") else "right")
    for name, split in splits.items():
        parts = {"prompt": split.prompt, "answer": split.answer, "both": split.prompt + split.answer}
        parts = parts if split.answer.any() else {"text": split.prompt}
        for place, (part, lengths) in enumerate(parts.items(), 1):
            first = [name, f"{len(lengths):,}", f"{dropped[name]:,}"] if place == 1 else ["", "", ""]
            numbers = [f"{value:.0f}" for value in (*np.percentile(lengths, (50, 95)), lengths.max())]
            table.add_row(
                *first, part, *numbers, f"{split.cut:,}" if place == len(parts) else "", end_section=place == len(parts)
            )
    stdout.print(table)


def show_sample(sample: list[tuple[str, bool]]) -> None:
    from rich.text import Text

    stdout.print(
        "\n[bold]The first training row[/]; [bold green]⟦what stands here⟧[/] is trained on, the rest is only read"
    )
    for text, trained in sample:
        text = text.replace("\n", "⏎\n")
        stdout.print(Text(f"⟦{text}⟧", "bold green") if trained else Text(text, "dim"), end="")
    stdout.print()


def show_curve(curve) -> None:
    if curve is None:
        stdout.print("\n[bold]Learning rate[/]: Ludwig chooses it at the start of the run")
        return
    rates = f"first {curve.first:.3g}, peak {curve.peak:.3g}, last {curve.last:.3g}"
    stdout.print(f"\n[bold]Learning rate[/]: {rates}\n{curve.blocks}")


def show_memory(memory) -> None:
    from affinage.footprint.units import USABLE

    if memory is None:
        return
    where = "of memory" if memory.device == "cpu" else f"on the {memory.device} device"
    stdout.print(
        f"\n[bold]Memory[/], an estimate for the longest rows: {size(memory.total)} beyond what Python and its "
        f"libraries hold; {size(memory.free)} {where} are free now"
    )
    for name, value in memory.items.items():
        stdout.print(f"  {name:<24}{size(value):>10}")
    usable = USABLE.get(memory.device, USABLE["cuda"])
    if memory.total > usable * memory.free:
        advice = "lower trainer.batch_size or quantize the base model"
        stdout.print(f"[yellow]warning:[/] more than {usable:.0%} of what is free: {advice}")


def size(n: int) -> str:
    return f"{n / GIB:.2f} GiB" if n >= GIB / 10 else f"{n / 2**20:.1f} MiB"


if __name__ == "__main__":
    raise SystemExit(run_script(main))
