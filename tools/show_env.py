"""Shows what a bug report needs: versions, commit, devices, memory, which tokens are set (masked).

.venv/bin/python tools/show_env.py [--json]
"""

import argparse
import json
from typing import Any

from affinage.console import run_script, stdout


def size(count: int | None) -> str:
    """The bytes in GiB, to one decimal."""
    return "unknown" if count is None else f"{count / 2**30:.1f} GiB"


def device_line(device: dict[str, Any]) -> str:
    """One device as its type, name, compute capability and memory."""
    parts = [device["type"], device.get("name", "")]
    if "capability" in device:
        parts.append(f"(compute capability {device['capability']})")
    if "memory_bytes" in device:
        parts += [f"{kind} {size(count)}" for kind, count in device["memory_bytes"].items()]
    return " ".join(part for part in parts if part)


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The environment as (name, value) lines, in the order a person reads a bug report."""
    git, memory, server = found["git"], found["memory_bytes"], found["ollama"]
    commit = f"{git['commit']}{' + local changes' if git['dirty'] else ''}" if git["commit"] else "no commit known"
    lines = [
        ("affinage", f"{found['affinage']} ({commit})"),
        ("python", found["python"]),
        ("platform", found["platform"]),
        ("cpu", f"{found['cpu']}, {found['cpu_cores']} cores, {found['cpu_threads']} threads"),
        ("memory", f"{size(memory['free'])} free of {size(memory['total'])}"),
        ("disk free", size(found["disk_free_bytes"])),
        *[("device", device_line(device)) for device in found["devices"]],
        ("CUDA of torch, driver", f"{found['cuda'] or 'none'}, {found['driver'] or 'none'}"),
    ]
    if found["torch_error"]:
        lines.append(("torch", f"cannot be imported: {found['torch_error']}"))
    lines += found["packages"].items()
    lines += [(name, shown or "not set") for name, shown in found["tokens"].items()]
    answer = f"answers, {server['models']} models" if server["answers"] else "no answer"
    return [*lines, ("OLLAMA_HOST", f"{server['host']}: {answer}")]


def main(argv: list[str] | None = None) -> int:
    """Prints the environment and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args(argv)

    from rich.markup import escape

    from affinage.environment import collect

    found = collect()
    if arguments.json:
        stdout.print(json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False), markup=False)
        return 0
    lines = rows(found)
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        stdout.print(f"[bold]{name:<{width}}[/]  {escape(value)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(main))
