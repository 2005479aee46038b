"""What the newest run of every config measured, as a table in ludwig_configs/README.md."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from affinage import data
from affinage.comparison.answers import answers_of
from affinage.comparison.costs import DASH, duration, hardware, peak_memory
from affinage.comparison.systems import base_name
from affinage.configs import read_config, task_and_name
from affinage.errors import AffinageError, Problem, raise_all
from affinage.model_types import ECD, baseline_name
from affinage.paths import CONFIGS, RESULTS, display
from affinage.runs import USER_CONFIG, Run, all_runs
from affinage.scoring.tables import name_of, shown

START, END = "<!-- leaderboard: make leaderboard writes what stands below -->", "<!-- leaderboard: end -->"
HEADING = "## Measured"
NEW = "# ludwig_configs/\n\nOne YAML file is one experiment: `<task>/<model>-<method>.yaml`, a plain Ludwig config.\n"
METRICS = ("exact_match", "chrf")
COLUMNS = ("config", "base model", "method", "steps", "time", "peak memory", "hardware")
EXPLANATION = (
    "Each line is the newest finished run of a config as its file stands now, on the data of its task as it is now.\n"
    "Scores are those of the base model and, after the arrow, of the tuned one, on `rows` rows of the test split."
)


class Measured(NamedTuple):
    """A config and the run that measured it; without one, `reason` says why."""

    config: Path
    run: Run | None
    reason: str = ""


def measured_configs(configs: Path = CONFIGS, results: Path = RESULTS) -> list[Measured]:
    """Every <task>/<name>.yaml below `configs` with the newest run that measured it, in the order of their names.

    A run counts when it is finished, was given the same settings, and used the data of its task as it is now, or
    Ludwig's own. Raises AffinageError for YAML that cannot be read.
    """
    runs = all_runs(results)
    return [_measured(path, runs) for path in sorted(configs.glob("*/*.yaml"))]


def _measured(path: Path, runs: Iterable[Run]) -> Measured:
    task, name = task_and_name(path)
    own = [run for run in runs if (run.manifest["task"], run.manifest["config"]) == (task, name)]
    finished = [run for run in own if run.status == "finished"]
    if not finished:
        return Measured(path, None, f"not measured ({len(own)} unfinished)" if own else "not measured")
    config = read_config(path)
    same = [run for run in finished if read_config(run.folder / USER_CONFIG) == config]
    if not same:
        return Measured(path, None, f"not measured ({_runs(len(finished))} with other settings)")
    valid = [run for run in same if _has_data_of_now(run)]
    if not valid:
        return Measured(path, None, f"not measured ({_runs(len(same))} on other data)")
    return Measured(path, valid[0])


def _runs(n: int) -> str:
    return "1 run" if n == 1 else f"{n} runs"


def _has_data_of_now(run: Run) -> bool:
    described = run.manifest.get("data", {})
    if str(described.get("dataset", "")).startswith(data.LUDWIG):
        return True
    try:
        files = data.dataset_files(run.manifest["task"])
    except AffinageError:
        return False
    return {path.name: data.sha256(path) for path in files} == {
        file["name"]: file["sha256"] for file in described.get("files", [])
    }


def leaderboard(measured: Iterable[Measured]) -> str:
    """The table in Markdown: what runs recorded and nothing else; below it, which configs no run measured, and why.

    Raises one AffinageError that lists what is broken in the files of all runs.
    """
    lines, problems, without = list[str](), list[Problem | str](), dict[str, list[str]]()
    for entry in measured:
        if entry.run is None:
            without.setdefault(entry.reason, []).append(_link(entry.config))
            continue
        try:
            lines.append(_line(list(_cells(entry.config, entry.run))))
        except AffinageError as error:
            problems += error.problems
    raise_all(problems)
    headings = [*COLUMNS, *map(name_of, METRICS), "rows", "date", "run"]
    table = [_line(headings), _line(["---"] * len(headings)), *lines, ""] if lines else []
    below = [f"{reason.capitalize()}: {', '.join(links)}." for reason, links in without.items()]
    return "\n".join([EXPLANATION, "", *table, *below]) + "\n"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _link(config: Path) -> str:
    task, name = task_and_name(config)
    return f"[{task}/{name}]({task}/{name}.yaml)"


def _cells(config: Path, run: Run) -> Iterator[str]:
    manifest = run.manifest
    training = manifest.get("training") or {}
    yield _link(config)
    yield base_name(manifest, {})
    yield method(read_config(run.folder / "config.yaml"))
    yield f"{training['steps']:,}" if training else DASH
    yield duration(training["seconds"]) if training else DASH
    yield peak_memory(training)
    yield hardware(manifest)
    yield from _scores(run)
    yield manifest["started"].partition("T")[0]
    yield f"`{run.folder.name}`"


def _scores(run: Run) -> Iterator[str]:
    answers, _ = answers_of(run)
    systems: dict[str, Any] = answers.metrics["systems"] if answers else {}
    kinds = ("tuned",) if baseline_name(run.manifest) else ("base", "tuned")  # an encoder has no base that answers
    for metric in METRICS:
        values = [systems.get(kind, {}).get(metric, {}).get("value") for kind in kinds]
        yield " → ".join(shown(metric, value) for value in values) if systems else DASH
    yield f"{len(answers.rows):,}" if answers else DASH


def method(config: dict[str, Any]) -> str:
    """How a resolved config trains: "LoRA, r 4, base in 4 bits", or every weight."""
    if config.get("model_type") == ECD:
        return _encoder_method(config["input_features"][0]["encoder"])
    adapter, bits = config.get("adapter"), (config.get("quantization") or {}).get("bits")
    names = {"lora": "DoRA" if (adapter or {}).get("use_dora") else "LoRA", None: "every weight"}
    kind = adapter.get("type") if adapter else None
    parts = [names.get(kind, str(kind))]
    parts += [f"r {adapter['r']}"] if adapter and adapter.get("r") else []
    return ", ".join([*parts, *([f"base in {bits} bits"] if bits else [])])


def _encoder_method(encoder: dict[str, Any]) -> str:
    adapter = encoder.get("adapter")
    if adapter:
        return f"encoder with {adapter['type']} and a head"
    return "encoder and head" if encoder.get("trainable") else "head of a frozen encoder"


def train_command(config: Path) -> str:
    """The make line in the config's opening comment, which names its data too; without one, the usual line."""
    line = re.search(r"^# Run: +(make .+)$", config.read_text(encoding="utf-8"), re.MULTILINE)
    return line[1].strip() if line else f"make train CONFIG={display(config)}"


def write_leaderboard(table: str, readme: Path = CONFIGS / "README.md") -> Path:
    """Puts the table between its two markers, or under a new heading at the end of a README without them.

    Raises AffinageError for a README with one marker alone, or with the second before the first.
    """
    text = readme.read_text(encoding="utf-8") if readme.exists() else NEW
    if START not in text and END not in text:
        text = f"{text.rstrip()}\n\n{HEADING}\n\n{START}\n{END}\n"
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end) or START in after or END in after:
        found = "the markers of the table do not stand once each, in this order."
        raise AffinageError(Problem(display(readme), found, f"{START} and {END}", "Mend them, or remove both."))
    partial = readme.with_name(readme.name + ".partial")
    partial.write_text(f"{before}{START}\n\n{table}\n{END}{after}", encoding="utf-8", newline="\n")
    partial.replace(readme)
    return readme
