"""Opens the application in a browser, on this machine alone: chat, documents, summaries, runs.

.venv/bin/python tools/app.py --run last
.venv/bin/python tools/app.py --adapter user/name --config ludwig_configs/alpaca/mistral-7b-qlora.yaml
.venv/bin/python tools/app.py --model llama3.1:8b
.venv/bin/python tools/app.py --model my-model --url http://127.0.0.1:8000/v1

A model in Ollama is looked for at OLLAMA_HOST; the key for an endpoint is that in OPENAI_API_KEY. Ctrl-C ends.
"""

import argparse
import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.errors import AffinageError, Problem
from affinage.paths import RESULTS, ROOT, display, full_dataset

if TYPE_CHECKING:
    from affinage.app.opened import Opened


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", default="", help="a run's id or folder, or last, the newest one")
    what.add_argument("--adapter", default="", help="a PEFT folder, or an id on the Hugging Face Hub; needs --config")
    what.add_argument("--model", default="", help="a model in Ollama or, with --url, at an endpoint like OpenAI's")
    parser.add_argument("--config", default="", help="with --adapter: the YAML that names base model, prompt and data")
    parser.add_argument("--dataset", default="", help="with --adapter: other rows than those of the config's task")
    parser.add_argument("--url", default="", help="with --model: where it is, such as http://127.0.0.1:8000/v1")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; anything but this machine is a risk")
    parser.add_argument("--port", type=int, default=8501, help="0 takes one that is free (default: 8501)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.port < 2**16:
        raise AffinageError(Problem("--port", f"{arguments.port} is no port.", "0 to 65535"))
    return arguments


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    quiet_libraries()
    stderr.print("[dim]loading the model (about 15 s)[/]")
    from affinage.app.opened import Choice, open_choice

    adapter, run = arguments.adapter, arguments.run
    choice = Choice(
        run=str(Path(run).resolve()) if Path(run, "run.json").is_file() else run,
        adapter=str(Path(adapter).resolve()) if adapter and Path(adapter).is_dir() else adapter,
        config=arguments.config and str(Path(arguments.config).resolve()),
        dataset=full_dataset(arguments.dataset),
        model=arguments.model,
        url=arguments.url,
        results=str(arguments.results.resolve()),
    )
    os.chdir(ROOT)
    choice.check()
    import uvicorn

    from affinage.app.server import create_app
    from affinage.serving import LOOPBACK, open_socket

    with open_socket(arguments.host, arguments.port) as listening:
        opened = open_choice(choice)
        local_only = arguments.host in LOOPBACK
        app = create_app(choice, local_only)
        show(arguments.host, listening.getsockname()[1], opened, local_only)
        settings = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        uvicorn.Server(settings).run(sockets=[listening])


def show(host: str, port: int, opened: "Opened", local_only: bool) -> None:
    if not local_only:
        stderr.print(
            f"[yellow]warning:[/] on {host}, whoever reaches this machine may use the model and see the runs: "
            "there is no password."
        )
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    stdout.print(f"{opened.name}: open {url} in a browser; Ctrl-C ends.", markup=False)
    stdout.print(f"Thumbs that people give are kept in {display(opened.reviews)}.", markup=False)
    next_command(f"make data SOURCE={display(opened.reviews)} TASK=my-task")
    if local_only and sys.stdout.isatty() and (os.environ.get("DISPLAY") or sys.platform in ("darwin", "win32")):
        webbrowser.open(url)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
