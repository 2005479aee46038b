"""Makes a tiny random model, to rehearse a recipe on any machine without a download.

.venv/bin/python tools/make_tiny_model.py --architecture gpt2 --task medquad

The tokenizer is trained on the rows of the task; the weights are random, so its answers mean nothing before training.
"""

import argparse
import os
from pathlib import Path

from affinage.console import quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, ROOT, display

ARCHITECTURES = ("bert", "bloom", "gpt2", "llama", "mistral", "t5")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", required=True, help=", ".join(ARCHITECTURES))
    parser.add_argument("--task", required=True, help="the tokenizer is trained on the rows of datasets/<task>/")
    parser.add_argument("--dataset", default="", help="a file or a folder of rows instead")
    parser.add_argument("--seed", type=int, default=42, help="of the random weights (default: 42)")
    parser.add_argument("--output", type=Path, help="folder (default: results/tiny-models/<task>-<architecture>)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    output = (arguments.output or RESULTS / "tiny-models" / f"{arguments.task}-{arguments.architecture}").resolve()
    dataset = str(Path(arguments.dataset).resolve()) if arguments.dataset else ""
    os.chdir(ROOT)
    quiet_libraries()
    if arguments.architecture not in ARCHITECTURES:
        found = f"'{arguments.architecture}' is none of those that can be made."
        raise AffinageError(Problem("--architecture (ARCHITECTURE)", found, ", ".join(ARCHITECTURES)))
    stderr.print("[dim]loading transformers (about 5 s)[/]")
    from affinage.tiny_models import make_tiny_model, texts_of

    output.parent.mkdir(parents=True, exist_ok=True)
    texts = texts_of(arguments.task, dataset)
    parameters = make_tiny_model(arguments.architecture, texts, output, arguments.seed)
    stdout.print(f"{display(output)}: {arguments.architecture} with random weights, {parameters:,} parameters")
    stdout.print(f'\nUse it with SET="base_model={display(output)}"')
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
