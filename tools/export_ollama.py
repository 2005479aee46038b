"""Makes an Ollama model of a run, with the prompt of training, and compares its answers with the run's own.

.venv/bin/python tools/export_ollama.py --run last --name voix-passive
.venv/bin/python tools/export_ollama.py --run last --quant f16 --system "Mets la phrase à la voix passive."

Without a server it writes the files and prints the two commands that do the rest.
"""

import argparse
import os
from pathlib import Path

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, ROOT, display
from affinage.runs import newest_or_named

SHOWN = 300  # characters of an answer


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a run's id or folder, or last, the newest one")
    parser.add_argument("--name", default="", help="of the model in Ollama (default: task and config of the run)")
    parser.add_argument("--quant", default="q8_0", help="f16, q8_0 or q4_k_m (default: q8_0)")
    parser.add_argument("--system", default="", help="a text that fills the first column of every prompt")
    parser.add_argument("--licence", default="", help="the licence's name or text, or a file that holds it")
    parser.add_argument("--pre-tokenizer", default="", help="llama.cpp's name for a tokenizer that it does not know")
    parser.add_argument("--host", default="", help="the server's address (default: OLLAMA_HOST, else this machine)")
    parser.add_argument("--replace", action="store_true", help="put the model in the place of one of that name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    results, licence = arguments.results.resolve(), licence_text(arguments.licence)
    os.chdir(ROOT)
    quiet_libraries()
    run = newest_or_named(arguments.run, results)
    stderr.print(f"[dim]{display(run.folder)}: loading (about 10 s)[/]")
    from affinage.export import modelfile, ollama_model

    name = modelfile.model_name(arguments.name or f"{run.manifest['task']}-{run.manifest['config']}")
    running = ollama_model.running_server(arguments.host)
    quantization = arguments.quant.lower()
    export = ollama_model.prepare(run, name, quantization, arguments.system, licence, arguments.pre_tokenizer)
    stdout.print(f"Weights:   {display(export.weights)}\nModelfile: {display(export.modelfile)}")
    for note in export.instructions.notes:
        stdout.print(f"[yellow]note:[/] {note}")
    if running is None:
        show_commands(export, ollama_model.record(export))
        return
    server, version = running
    digest = ollama_model.create(server, export, arguments.replace)
    stdout.print(f"Created {name} on {server.url} (Ollama {version}, digest {digest[:12]}).")
    created = {"url": server.url, "ollama": version, "digest": digest}
    ollama_model.record(export, created)
    trials = ollama_model.compare(server, export)
    path = ollama_model.record(export, created, trials)
    show_agreement(export, trials)
    stdout.print(f"Kept in {display(path)}")
    next_command(f"ollama run {name}")


def licence_text(given: str) -> str:
    """What was given, or what stands in the file of that name."""
    try:
        if given and len(given) < 500 and Path(given).is_file():
            return Path(given).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise AffinageError(Problem(given, f"cannot be read: {error}.")) from error
    return given


def show_commands(export, path: Path) -> None:
    stdout.print(f"No Ollama server answers, so nothing was created and nothing was tested ({display(path)}).")
    stdout.print("With one running, these two commands do the rest, or this one again:", end="")
    next_command(f"ollama create {export.name} -f {display(export.modelfile)}\n      ollama run {export.name}")


def show_agreement(export, trials) -> None:
    from rich.markup import escape

    from affinage.export.ollama_model import agreement

    if not trials:
        stdout.print("[yellow]Nothing was compared:[/] the run has no answers to a test split.")
    for how, found in agreement(trials).items():
        what = "rendered prompts" if how == "raw" else "prompts through the chat TEMPLATE"
        stdout.print(f"{what}: {found['equal']} of {found['n']} answers are the run's own")
    if export.instructions.parameters["temperature"] != 0:
        stdout.print("[yellow]note:[/] this run draws its answers at random, so that they differ each time")
    for trial in trials:
        if not trial.same_tokens:
            tokens = f"{trial.ollama_prompt_tokens} tokens in Ollama, {trial.prompt_tokens} in training"
            stdout.print(f"[yellow]warning:[/] prompt {escape(trial.id or '?')} ({trial.how}) has {tokens}")
        if not trial.equal:
            stdout.print(f"  {trial.how:<5}run:    {escape(repr(trial.run_answer[:SHOWN]))}")
            stdout.print(f"       Ollama: {escape(repr(trial.ollama_answer[:SHOWN]))}")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
