"""The model behind the pages: chosen by the command line, opened once for the process and all its visitors."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from affinage import reviews
from affinage.errors import AffinageError, Problem, raise_all
from affinage.model_types import refuse_encoder
from affinage.paths import RESULTS
from affinage.runs import Run, newest_or_named
from affinage.speakers.speech import Converser

TINY = 100_000_000  # parameters below which no model converses
EXAMPLES = 4


@dataclass(frozen=True)
class Choice:
    """What the command line names: a run, or an adapter with its config, or a model with an endpoint or in Ollama."""

    run: str = ""
    adapter: str = ""
    config: str = ""
    dataset: str = ""
    model: str = ""
    url: str = ""
    results: str = str(RESULTS)

    def to_json(self) -> str:
        """The choice as the pages' script gets it."""
        return json.dumps(asdict(self))

    def check(self) -> None:
        """Raises AffinageError with everything that can be known to be wrong before a model is loaded."""
        named = [name for name in ("run", "adapter", "model") if getattr(self, name)]
        problems = list[Problem | str]()
        if len(named) != 1:
            allowed = "a run, an adapter with --config, or a model"
            problems.append(Problem("the model", f"{len(named)} were named: {', '.join(named) or 'none'}.", allowed))
        if self.adapter and not self.config:
            problems.append(Problem("--adapter", "needs the YAML that names its base model.", remedy="Add CONFIG=."))
        if self.url and not self.model:
            problems.append(Problem("--url", "needs the name of a model at that address.", remedy="Add MODEL=."))
        raise_all(problems)
        if self.run:
            _with_weights(newest_or_named(self.run, Path(self.results)))


@dataclass(frozen=True)
class Example:
    """A question of the test split: an instruction (may be empty) and a text."""

    instruction: str
    question: str


@dataclass(frozen=True)
class Opened:
    """Who answers, by side, and what the pages tell of it.

    `parameters` is None and `sent_to` an address where the model is another machine's. Thumbs go to `reviews`.
    """

    name: str
    speakers: Mapping[str, Converser]
    reviews: Path
    parameters: int | None = None
    sent_to: str = ""
    examples: Sequence[Example] = field(default=())

    @property
    def is_tiny(self) -> bool:
        """Whether the model is too small to converse, whatever it was tuned on."""
        return self.parameters is not None and self.parameters < TINY


@lru_cache(maxsize=1)
def open_choice(choice: Choice) -> Opened:
    """Loads what was chosen, once. Raises AffinageError when it is not there."""
    results = Path(choice.results)
    if choice.model:
        return _remote(choice, results)
    from affinage.answering import SIDES, Answerer
    from affinage.speakers.local import LocalSpeaker
    from affinage.subjects import open_adapter

    if choice.run:
        run = newest_or_named(choice.run, results)
        answerer, folder, name = Answerer.of_run(run), run.folder, f"{run.manifest['config']} {run.folder.name}"
    else:
        subject = open_adapter(choice.adapter, Path(choice.config), choice.dataset, results)
        answerer, folder, name = Answerer(subject.llm, subject.config), subject.folder, subject.name
    speakers = {side: LocalSpeaker(answerer, side, f"{name}, {side}") for side in SIDES}
    return Opened(
        name=name,
        speakers=speakers,
        reviews=folder / reviews.FILE,
        parameters=answerer.parameters,
        examples=_examples(folder, speakers["tuned"]),
    )


def _with_weights(run: Run) -> None:
    refuse_encoder(run, "answer in words")
    if not any(run.weights_folder.glob("*.safetensors")):
        remedy = f"Finish it with make train RESUME={run.folder.name}, or name another run."
        raise AffinageError(
            Problem(f"run {run.folder.name}", f"left no model behind (status: {run.status}).", remedy=remedy)
        )


def _remote(choice: Choice, results: Path) -> Opened:
    from affinage.speakers.remote import ollama_speaker, openai_speaker

    speaker = openai_speaker(choice.model, choice.url) if choice.url else ollama_speaker(choice.model)
    folder = results / "models" / "".join(sign if sign.isalnum() or sign in "-._" else "-" for sign in choice.model)
    sent_to = speaker.host if speaker.leaves_the_machine else ""
    return Opened(speaker.name, {"model": speaker}, folder / reviews.FILE, sent_to=sent_to)


def _examples(folder: Path, speaker: Any) -> list[Example]:
    """A few rows of the test split, evenly spread, as they can be asked in the page, each with another instruction."""
    path = folder / "predictions.jsonl"
    if not path.is_file():
        return []
    found: dict[str, Example] = {}
    for row in _rows(path):
        texts = [row.get("instruction") or "", row.get("input") or ""]
        asked = Example(*texts) if all(texts) else Example("", texts[0] or texts[1])
        if asked.question and _prompt(speaker, asked) == row.get("prompt"):
            found.setdefault(asked.instruction or asked.question, asked)
        if len(found) == EXAMPLES:
            break
    return list(found.values())


def _prompt(speaker: Any, asked: Example) -> str:
    from affinage.app.conversation import messages_of

    return speaker.prompt(messages_of([], "tuned", asked.instruction, asked.question))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # a line half written when the run was stopped
            continue
        if isinstance(row, dict):
            yield row
