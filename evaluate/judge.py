"""Lets a language model judge the answers of a run: a score for each, or which of two is better.

.venv/bin/python evaluate/judge.py --run last --judge llama3.1:8b
.venv/bin/python evaluate/judge.py --run last --mode pairwise --limit 50

Writes verdicts.jsonl, summary.json and histogram.png into judge/<mode>-<judge>/ beside the predictions (with --limit
into a folder of its own), and the result into metrics.json. Answers are kept: the same command again goes on where it
stopped. Exit code 1 when too few items ended in a verdict.
"""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from affinage.console import next_command, quiet_libraries, run_script, stderr, stdout
from affinage.paths import RESULTS, display

if TYPE_CHECKING:
    from affinage.judging.run import Judging
    from affinage.judging.settings import JudgeSettings
    from affinage.ollama_chat import Chat
    from affinage.runs import Run

HINTS = {
    "overflow": "raise judge.options.num_ctx in the suite",
    "length": "raise judge.options.num_predict in the suite",
    "broken_json": "take a larger judge, or a server that keeps to a JSON schema",
    "wrong_type": "take a larger judge, or a server that keeps to a JSON schema",
    "timeout": "raise judge.timeout_s in the suite; the same command asks these items again",
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a run's id or folder, or last, the newest one")
    parser.add_argument("--judge", action="append", help="a model on the server; twice or more for a panel")
    parser.add_argument("--suite", default="", help="a name in evaluate/suites/ (default: the task's)")
    parser.add_argument("--mode", choices=("score", "rubric", "pairwise"), help="default: the suite's, else score")
    parser.add_argument("--host", default="", help="the server (default: the suite's, OLLAMA_HOST, this machine)")
    parser.add_argument("--concurrency", type=_positive, help="questions at a time (default: the suite's, else 1)")
    parser.add_argument("--limit", type=_positive, help="judge that many rows, evenly spread")
    parser.add_argument("--pull", action="store_true", help="get the model when the server has not got it")
    parser.add_argument("--retry-failed", action="store_true", help="ask again what ended without a verdict")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where run folders are (default: results/)")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a whole number of at least 1")
    return number


def main(argv: list[str] | None = None) -> int:
    arguments = parse(argv)
    quiet_libraries()
    from affinage.judging.folders import ANSWERS, folder_of
    from affinage.judging.in_metrics import record
    from affinage.judging.panel import panel_of, write_panel
    from affinage.judging.run import judge
    from affinage.runs import held, newest_or_named

    run = newest_or_named(arguments.run, arguments.results)
    judging = prepare(arguments, run)
    path = judging.predictions.path
    judged = []
    for model in judging.settings.model:
        folder = folder_of(path, judging.form.mode, model)
        cache = folder / ANSWERS
        stderr.print(f"[dim]answers are kept in {shown(cache)}: an interrupted run goes on where it stopped[/]")
        with (
            held(path.with_name(f".{folder.name}.lock"), display(folder)),
            open_chat(arguments, judging.settings, model, cache) as chat,
        ):
            show_judge(chat, arguments.pull)
            judged.append(judge(chat, judging))
        record(path)
        show(judged[-1].summary)
        stdout.print(f"\nVerdicts, summary and histogram: {shown(judged[-1].folder)}")
    if len(judged) > 1:
        panel = panel_of(judged, judging)
        show_panel(panel)
        stdout.print(f"\nPanel: {shown(write_panel(path, panel))}")
        record(path)
    next_command(f"make compare RUNS={shlex.quote(run.folder.name)}")
    return int(any(one.summary["coverage"] < one.summary["min_coverage"] for one in judged))


def prepare(arguments: argparse.Namespace, run: "Run") -> "Judging":
    """What to judge, with the options of the command line in the place of the suite's."""
    from affinage.judging.forms import form_of
    from affinage.judging.run import Judging
    from affinage.judging.settings import settings_of
    from affinage.model_types import refuse_encoder
    from affinage.scoring import load_suite, predictions_of, read_predictions

    refuse_encoder(run, "be judged: a label is right or wrong")
    suite = load_suite(run.manifest["task"], arguments.suite)
    given = {
        "model": arguments.judge and list(dict.fromkeys(arguments.judge)),
        "mode": arguments.mode,
        "concurrency": arguments.concurrency,
    }
    settings = settings_of(suite).model_copy(update={name: value for name, value in given.items() if value})
    path = predictions_of(run, suite.name)
    base_model = str(run.manifest.get("base_model", {}).get("id", ""))
    form = form_of(settings, settings.mode)
    return Judging(read_predictions(path), suite, settings, form, arguments.limit, base_model)


def open_chat(arguments: argparse.Namespace, settings: "JudgeSettings", model: str, cache: Path) -> "Chat":
    from affinage.answer_cache import AnswerCache
    from affinage.judging.openai_chat import OpenAIChat
    from affinage.ollama_chat import Chat

    url, endpoint = arguments.host or settings.endpoint.url, settings.endpoint
    answers = AnswerCache(cache, retry=arguments.retry_failed)
    common: dict[str, Any] = {"think": settings.think, "cache": answers, "timeout_s": settings.timeout_s}
    if endpoint.kind == "openai":
        return OpenAIChat(url, model, settings.options, api_key_env=endpoint.api_key_env, **common)
    return Chat(url, model, settings.options, **common)


def show_judge(chat: "Chat", pull: bool) -> None:
    model = chat.preflight(pull)
    digest = f"digest {model.digest[:12]}" if model.digest else "no digest"
    facts = ", ".join(filter(None, (model.parameter_size, model.quantization, digest)))
    stdout.print(f"Judge: [bold]{escape(model.name)}[/] ({facts}) on {chat.server.url}")


def shown(path: Path) -> str:
    return escape(display(path))


def show(summary: dict[str, Any]) -> None:
    from affinage.judging import tables

    if summary["demo"]:
        stdout.print("\n[bold white on red] DEMO [/] simple rules judged, no language model")
    parts = [tables.controls_table(summary)]
    if summary["mode"] == "pairwise":
        parts.append(tables.duels_table(summary))
    else:
        parts += [tables.systems_table(summary)]
        parts += [tables.criteria_table(summary)] if summary["weights"] else []
        parts += [tables.differences_table(summary)] if summary["differences"] else []
    for part in parts:
        stdout.print()
        stdout.print(part)
    stability = summary["stability"]
    if stability["asked"]:
        stdout.print(f"\nStable: {stability['same']} of {stability['asked']} said the same with another seed.")
    for system, statuses in summary["statuses"].items():
        if failed := tables.failures(statuses):
            stdout.print(f"[yellow]without a verdict[/] ({system}): {failed}")
    for status, hint in HINTS.items():
        if any(status in statuses for statuses in summary["statuses"].values()):
            stdout.print(f"  {status}: {hint}")
    for warning in summary["warnings"]:
        stdout.print(f"[yellow]warning:[/] {escape(warning)}")


def show_panel(panel: dict[str, Any]) -> None:
    from affinage.judging import tables

    stdout.print("\n[bold]Panel[/]: the mean of the judges, on items that all of them judged")
    stdout.print(tables.panel_table(panel))
    stdout.print(tables.agreement_table(panel))


if __name__ == "__main__":
    raise SystemExit(run_script(main))
