"""Compiles llama.cpp into a cache of the user (about ten minutes, once), for `make gguf` and `make ollama`.

.venv/bin/python tools/get_llama_cpp.py
.venv/bin/python tools/get_llama_cpp.py --wheel llama_cpp_python-0.3.36-py3-none-linux_x86_64.whl
"""

import argparse
from pathlib import Path

from affinage.console import next_command, run_script, stderr, stdout
from affinage.export import llama_cpp
from affinage.paths import display


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="a compiled package of the pinned version to take instead")
    wheel = parser.parse_args(argv).wheel
    found = llama_cpp.install(lambda text: stderr.print(f"[dim]{text}[/]"), wheel)
    stdout.print(f"llama.cpp (llama-cpp-python {found.version}): {display(found.library.parent)}")
    next_command("make gguf RUN=last QUANT=q8_0")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
