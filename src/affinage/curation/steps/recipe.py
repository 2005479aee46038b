"""datasets/<task>/curate.yaml: which steps make a dataset out of raw data, with which model and prompts."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from affinage.curation.balancing import RULES, Balance
from affinage.curation.cleaning import CleaningRules
from affinage.curation.options import read_ratios
from affinage.curation.rows import TEXTS
from affinage.curation.steps.expressions import parse, unknown_column, unknown_columns
from affinage.curation.steps.templates import placeholders
from affinage.ollama_chat import Options

BEFORE_THE_SPLIT = ("segment", "label", "filter")
PROVENANCE = ("source", "parent_id", "synthetic")


class Strict(BaseModel):
    """A section of the file: no key that is not known, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _regex(text: str) -> str:
    try:
        re.compile(text, re.MULTILINE)
    except re.error as error:
        raise ValueError(f"'{text}' is no regular expression: {error}.") from error
    return text


def _expression(text: str) -> str:
    parse(text)
    return text


def _rule(text: Any) -> Balance:
    try:
        return Balance.parse(str(text))
    except ValueError as error:
        raise ValueError(f"{error} Allowed: {RULES}.") from error


Regex = Annotated[str, AfterValidator(_regex)]
Expression = Annotated[str, AfterValidator(_expression)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Step(Strict):
    """What every step has: its kind, and a name for counts and columns."""

    step: str
    name: str = Field(default="", pattern=r"^\w*$")

    def model_post_init(self, context: Any) -> None:
        self.name = self.name or self.step


class ModelStep(Step):
    """A step in which a language model answers: its prompt, and how the answers are drawn."""

    system: str = ""
    prompt: str = ""
    prompt_file: str = ""
    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int | None = None
    num_predict: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_prompt(self) -> "ModelStep":
        if bool(self.prompt.strip()) == bool(self.prompt_file):
            raise ValueError("give either 'prompt' or 'prompt_file', a file beside this one.")
        return self


class Segment(ModelStep):
    """Cuts raw text into conversations and these into rows of one question and its answer.

    `conversation_start` is a regular expression that matches where a conversation begins; without one the model tells
    them apart. `min_copied` is the part of a row's characters that must stand in the raw text (0 to allow rewriting).
    """

    step: Literal["segment"]
    conversation_start: Regex = ""
    max_chars: int = Field(default=12000, ge=200)
    capture: dict[str, Regex] = {}
    min_copied: Fraction = 0.8


class Label(ModelStep):
    """Gives each row one of `labels`: a list, or a mapping from each label to what it means.

    With `votes`, the model is asked that often with other seeds, and `min_agreement` answers must be the same.
    """

    step: Literal["label"]
    column: str = Field(default="label", pattern=r"^\w+$")
    labels: list[str] | dict[str, str] = Field(min_length=2)
    votes: int = Field(default=1, ge=1, le=15)
    min_agreement: int = Field(default=1, ge=1)
    keep_unlabelled: bool = False

    @model_validator(mode="after")
    def _votes_can_differ(self) -> "Label":
        if self.min_agreement > self.votes:
            raise ValueError(f"min_agreement {self.min_agreement} of {self.votes} votes can never be reached.")
        if self.votes > 1 and "temperature" not in self.model_fields_set:
            self.temperature = 0.7
        if self.votes > 1 and self.temperature == 0:
            raise ValueError("at temperature 0 every vote is the same: raise the temperature, or take one vote.")
        if len(set(self.labels)) < len(self.labels) or not all(label.strip() for label in self.labels):
            raise ValueError("a label is empty or stands there twice.")
        return self


class Filter(Step):
    """Keeps the rows for which an expression on their columns holds."""

    step: Literal["filter"]
    keep: Expression


class Rebalance(Step):
    """Evens out the labels of the training rows."""

    step: Literal["rebalance"]
    rule: Annotated[Balance, BeforeValidator(_rule)]
    seed: int = 42


class Augment(ModelStep):
    """Adds to each training row that `where` holds for `n_per_row` synthetic ones, with the columns in `rewrites` new.

    A copy too like its parent (`max_like_parent`) or any validation or test row (`max_like_held_out`), by the Jaccard
    index of character 5-grams, is rejected.
    """

    step: Literal["augment"]
    n_per_row: int = Field(default=1, ge=1, le=20)
    rewrites: list[Literal["instruction", "input", "output"]] = Field(default=["instruction"], min_length=1)
    where: Expression = "True"
    temperature: float = Field(default=0.8, gt=0, le=2)
    max_like_parent: Fraction = 0.9
    max_like_held_out: Fraction = 0.8


AnyStep = Annotated[Segment | Label | Filter | Rebalance | Augment, Field(discriminator="step")]


class SplitRules(Strict):
    """How rows are split; groups stay whole unless `by` is row."""

    ratios: Annotated[dict[str, float], BeforeValidator(read_ratios)] = read_ratios("0.8/0.1/0.1")
    by: Literal["group", "row"] = "group"
    stratify: Literal["label"] | None = None
    seed: int = 42


class Recipe(Strict):
    """The whole file. `source` is a file or a folder beside it."""

    source: str
    format: str = "auto"
    columns: dict[str, str] = {}
    model: str
    think: bool | Literal["low", "medium", "high"] = False
    options: Options = Options()
    concurrency: int = Field(default=1, ge=1, le=64)
    steps: list[AnyStep] = Field(min_length=1)
    clean: CleaningRules = CleaningRules()
    personal_data: Literal["report", "mask", "drop", "error"] = "report"
    split: SplitRules = SplitRules()
    on_leak: Literal["error", "drop_from_train", "warn"] = "drop_from_train"

    def options_of(self, step: ModelStep, seed_offset: int = 0) -> Options:
        """How the answers of one step are drawn."""
        seed = (self.options.seed if step.seed is None else step.seed) + seed_offset
        changed: dict[str, Any] = {"temperature": step.temperature, "seed": seed}
        if step.num_predict is not None:
            changed["num_predict"] = step.num_predict
        return self.options.model_copy(update=changed)


Fault = tuple[tuple[str | int, ...], str]  # keys and list indices from the top of the file down, and what is wrong


def order_faults(recipe: Recipe) -> list[Fault]:
    """What is wrong with the order and the names of the steps."""
    found: list[Fault] = []
    late = ""
    for i, step in enumerate(recipe.steps):
        if isinstance(step, Segment) and i:
            found.append((("steps", i), "segment cuts raw text, so it can only be the first step."))
        if step.step in BEFORE_THE_SPLIT and late:
            found.append((("steps", i), f"{step.step} works before the split, so it cannot follow {late}."))
        late = late or ("" if step.step in BEFORE_THE_SPLIT else step.step)
        if step.name in {other.name for other in recipe.steps[:i]}:
            found.append((("steps", i), f"a second step called '{step.name}': give one of them a name of its own."))
    return found


def column_faults(recipe: Recipe, columns: Iterable[str]) -> list[Fault]:
    """Each name in a prompt or an expression that will be no column by then.

    `columns` are those of the source's rows. Raw text has none of its own.
    """
    known = {*TEXTS, "id", "group", *PROVENANCE, *columns}
    found: list[Fault] = []
    for i, step in enumerate(recipe.steps):
        extra = {"segment": {"text"}, "label": {"labels"}}.get(step.step, set())
        if isinstance(step, ModelStep):
            allowed = extra if isinstance(step, Segment) else known | extra
            where = ("steps", i, "prompt_file" if step.prompt_file else "prompt")
            for name in placeholders(step.system + "\n" + step.prompt):
                if name not in allowed:
                    found.append((where, f"{{{name}}}: {unknown_column(name, allowed)}"))
        expression = step.keep if isinstance(step, Filter) else step.where if isinstance(step, Augment) else "True"
        where = ("steps", i, "keep" if isinstance(step, Filter) else "where")
        found += [(where, sentence) for sentence in unknown_columns(expression, known)]
        known |= columns_added(step)
    return found


def columns_added(step: Step) -> set[str]:
    """The columns that rows have after a step and had not before."""
    added = set(step.capture) if isinstance(step, Segment) else set()
    if isinstance(step, Label):
        added = {step.column, f"{step.name}_agreement"} if step.votes > 1 else {step.column}
    if isinstance(step, ModelStep):
        added |= {f"{step.name}_model", f"{step.name}_digest", f"{step.name}_prompt_sha256"}
    return added
