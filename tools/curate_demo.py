"""Shows what curation does where no Ollama server is: rules that know the made-up mailbox stand in for the model.

.venv/bin/python tools/curate_demo.py

All that it writes goes to results/curated-demo/, apart from the rows of a real model, and is made anew each time.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from affinage.console import run_script, stderr
from affinage.paths import RESULTS

TASK = "archives-demo"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="curated-demo/ is made in this folder (default: results/)"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    place = parse(argv).results / "curated-demo"
    from affinage.archives_demo.careful_reader import DEMO_READER, CarefulReader
    from affinage.demo_server import DemoServer

    stderr.print("[bold white on red] DEMO [/] rules stand in for a language model; they know this one mailbox")
    shutil.rmtree(place / "data", ignore_errors=True)  # kept answers, of rules that may have changed since
    script = Path(__file__).with_name("curate.py")
    with DemoServer(DEMO_READER, CarefulReader()) as server:
        words = ["--task", TASK, "--host", server.url, "--model", DEMO_READER, "--replace"]
        words += ["--output", str(place / TASK), "--results", str(place)]
        return subprocess.run([sys.executable, str(script), *words], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(run_script(main))
