"""Serves a run's model over HTTP in OpenAI's form, on this machine alone: models "base" and "tuned".

.venv/bin/python tools/serve.py --run last
.venv/bin/python tools/serve.py --run last --port 0 --host 0.0.0.0

Chat goes through the prompt of training. Answers are drawn as the run's own were unless a request says otherwise.
"""

import argparse
import os
from pathlib import Path

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, ROOT, display, full_dataset
from affinage.runs import newest_or_named


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", help="a run's id or folder, or last, the newest one")
    what.add_argument("--adapter", default="", help="a PEFT folder, or an id on the Hugging Face Hub; needs --config")
    parser.add_argument("--config", type=Path, help="with --adapter: the YAML that names base model, prompt and data")
    parser.add_argument("--dataset", default="", help="with --adapter: other rows than those of the config's task")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; anything but this machine is a risk")
    parser.add_argument("--port", type=int, default=8000, help="0 takes one that is free (default: 8000)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    arguments = parser.parse_args(argv)
    if arguments.adapter and not arguments.config:
        raise AffinageError(Problem("--adapter", "needs the YAML that names its base model.", remedy="Add CONFIG=."))
    if not 0 <= arguments.port < 2**16:
        raise AffinageError(Problem("--port", f"{arguments.port} is no port.", "0 to 65535"))
    return arguments


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    results, config = arguments.results.resolve(), arguments.config and arguments.config.resolve()
    adapter = str(Path(arguments.adapter).resolve()) if Path(arguments.adapter).is_dir() else arguments.adapter
    dataset = full_dataset(arguments.dataset)
    os.chdir(ROOT)
    quiet_libraries()
    run = newest_or_named(arguments.run, results) if arguments.run else None
    stderr.print(f"[dim]{display(run.folder) if run else adapter}: loading (about 10 s)[/]")
    import uvicorn

    from affinage.answering import Answerer
    from affinage.serving import LOOPBACK, create_app, open_socket
    from affinage.subjects import open_adapter

    with open_socket(arguments.host, arguments.port) as listening:
        if run:
            answerer = Answerer.of_run(run)
        else:
            subject = open_adapter(adapter, config, dataset, results)
            answerer = Answerer(subject.llm, subject.config)
        local_only = arguments.host in LOOPBACK
        show(arguments.host, listening.getsockname()[1], local_only)
        settings = uvicorn.Config(
            create_app(answerer, local_only), log_level="warning", lifespan="off", timeout_graceful_shutdown=2
        )
        uvicorn.Server(settings).run(sockets=[listening])


def show(host: str, port: int, local_only: bool) -> None:
    if not local_only:
        stderr.print(
            f"[yellow]warning:[/] on {host}, whoever reaches this machine may use the model: there is no password."
        )
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
    stdout.print(f"Serving base and tuned at {url} (any API key does); Ctrl-C ends.")
    next_command(f"curl {url}/models")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
