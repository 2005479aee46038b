"""Shows what judging looks like where no Ollama server is: simple rules on this machine stand in for the model.

.venv/bin/python evaluate/judge_demo.py --run last

Everything it writes says DEMO: it compares words with the reference and judges nothing.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from affinage.console import run_script, stderr
from affinage.paths import RESULTS


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a run's id or folder, or last, the newest one")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    return parser.parse_known_args(argv)


def main(argv: list[str] | None = None) -> int:
    arguments, others = parse(argv)
    from affinage.judging.demo_server import DEMO_JUDGE, demo_judge

    stderr.print("[bold white on red] DEMO [/] rules stand in for a language model; no number says anything about one")
    script = Path(__file__).with_name("judge.py")
    with demo_judge() as server:
        asked = ["--run", arguments.run, "--results", str(arguments.results)]
        server_options = ["--host", server.url, "--judge", DEMO_JUDGE]
        return subprocess.run([sys.executable, str(script), *asked, *others, *server_options], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(run_script(main))
