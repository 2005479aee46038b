"""Writes a run as a GGUF file for llama.cpp and Ollama, and compares the file with the run.

.venv/bin/python tools/export_gguf.py --run last --quant q8_0
.venv/bin/python tools/export_gguf.py --run last --kind adapter

Exit code 0 when the file says what the run says, 1 when it does not: then its name ends in .unverified.
"""

import argparse
import logging
import os
from pathlib import Path

from rich.markup import escape

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.paths import RESULTS, ROOT, display
from affinage.runs import newest_or_named


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="last", help="its id or its folder (default: the newest)")
    parser.add_argument("--quant", default="q8_0", help="f32, f16, bf16, q8_0 (default) or q4_k_m")
    parser.add_argument(
        "--kind",
        choices=("model", "adapter"),
        default="model",
        help="adapter: the LoRA adapter alone (Llama, Mistral, GPT-2), and its base model beside it",
    )
    parser.add_argument("--pre-tokenizer", default="", help="llama.cpp's name for a tokenizer that it does not know")
    parser.add_argument("--licence", default="", help="what the file says (default: the base model's licence)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    results = arguments.results.resolve()
    os.chdir(ROOT)
    quiet_libraries()
    logging.getLogger("gguf").setLevel(logging.WARNING)
    run = newest_or_named(arguments.run, results)
    stderr.print(f"[dim]{display(run.folder)}: merging, converting and comparing (half a minute for a tiny model)[/]")
    from affinage.export.gguf_adapter import export_adapter
    from affinage.export.gguf_model import export_gguf

    options = {"pre_tokenizer": arguments.pre_tokenizer, "licence": arguments.licence}
    if arguments.kind == "adapter":
        made = export_adapter(run, **options)
    else:
        made = export_gguf(run, arguments.quant, **options)
    check = made.check
    allowed = "no bound" if check["tolerance"] is None else f"allowed {check['tolerance']:g}"
    stdout.print(f"GGUF file: {display(made.path)} ({made.path.stat().st_size / 1e6:,.1f} MB)")
    stdout.print(f"On {check['prompts']} prompts, compared with transformers ({check['reference']}):")
    stdout.print(f"  largest difference of a logit   {check['largest_difference']:.2g} ({allowed})")
    stdout.print(f"  divergence of the next token    {check['kl_divergence']:.2g} nats")
    stdout.print(f"  same next token                 {check['same_next_token']} of {check['prompts']}")
    stdout.print(f"  same greedy answer              {check['same_answers']} of {check['prompts']}")
    alike = f"{check['run_prompts_cut_alike']} of {check['run_prompts']} prompts of the run"
    stdout.print(f"Token ids of training: {alike}, {check['texts_cut_alike']} of {check['texts']} other texts.")
    if check["cut_otherwise"]:
        stdout.print(f"[yellow]cut otherwise: {escape(', '.join(map(repr, check['cut_otherwise'][:5])))}[/]")
    for note in made.notes:
        stdout.print(f"[yellow]{note}[/]")
    for fault in check["faults"]:
        stdout.print(f"[red]not verified: {fault}.[/]")
    next_command(f"make ollama RUN={run.folder.name}" if made.verified else f"make merge RUN={run.folder.name}")
    return 0 if made.verified else 1


if __name__ == "__main__":
    raise SystemExit(run_script(main))
