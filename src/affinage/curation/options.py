"""What a person may choose when a dataset is made, checked all at once."""

import difflib
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError

from affinage.curation.balancing import RULES, Balance
from affinage.curation.cleaning import CleaningRules
from affinage.curation.manifest import name_of
from affinage.curation.splitting import ratio_fault
from affinage.data import SPLITS
from affinage.errors import AffinageError, Problem

GIVEN = "given"
TASK = r"[A-Za-z0-9][A-Za-z0-9._-]*"
# Options that are rules of cleaning under a shorter name or the same one.
RULE_OPTIONS = {
    "near": "near_duplicates",
    "exact_duplicates": "exact_duplicates",
    "languages": "languages",
    "language_action": "language_action",
    "html": "html",
    "control_characters": "control_characters",
    "special_tokens": "special_tokens_action",
    "min_output_chars": "min_output_chars",
    "max_chars": "max_chars",
    "min_words": "min_words",
    "max_words": "max_words",
}


def read_ratios(text: str) -> dict[str, float]:
    """The parts of train, validation and test written as "0.8/0.1/0.1"; raises ValueError for anything else."""
    parts = text.split("/")
    if len(parts) != len(SPLITS):
        raise ValueError(f"'{text}' is {len(parts)} part{'s' if len(parts) > 1 else ''}.")
    try:
        ratios = dict(zip(SPLITS, map(float, parts), strict=True))
    except ValueError:
        raise ValueError(f"'{text}' holds what is no number.") from None
    if fault := ratio_fault(ratios):
        raise ValueError(f"'{text}': {fault}")
    return ratios


def read_columns(text: str) -> dict[str, str]:
    """The columns written as 'instruction=question output="ma réponse"'; raises ValueError for anything else."""
    try:
        pairs = [word.partition("=") for word in shlex.split(text)]
    except ValueError:
        raise ValueError(f"'{text}' has a quotation mark without its partner.") from None
    for pair in pairs:
        if not all(pair):
            raise ValueError(f"'{''.join(pair)}' is no pair.")
    columns = {name: column for name, _, column in pairs}
    if len(columns) < len(pairs):
        raise ValueError(f"'{text}' names one of our columns twice.")
    return columns


def _text(read: Callable[[str], Any]) -> BeforeValidator:
    """Reads a text as a person types it; a value that is none is checked as it is."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


Threshold = Annotated[float, Field(gt=0, le=1)]


class Options(BaseModel):
    """How a dataset is made from a source.

    Without `split`, rows whose source says their split keep it, and the others go 0.8/0.1/0.1. `near_leaks` is the
    similarity at which questions of two splits are reported; without it that of near duplicates, else 0.8. `typed`
    holds the options as they were typed, for the manifest.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(min_length=1, description="a file, a folder, hf://user/name or ludwig://name")
    task: str = Field(pattern=f"^{TASK}$", description="letters, digits, '-', '_' and '.', such as voix-passive")
    format: str = "auto"
    columns: Annotated[dict[str, str], _text(read_columns)] = Field(
        {}, description='pairs such as instruction=question output="ma réponse"'
    )
    split: Annotated[
        dict[str, float] | Literal["given"] | None, _text(lambda text: text if text == GIVEN else read_ratios(text))
    ] = Field(None, description="parts for train, validation and test that sum to 1, such as 0.8/0.1/0.1, or given")
    by: Literal["group", "row"] = "group"
    stratify: Literal["label"] | None = None
    seed: int = Field(42, description="a whole number")
    sample: PositiveInt | None = Field(None, description="a whole number of rows, at least 1")
    near_leaks: Threshold | Literal["off"] | None = Field(None, description="a number above 0 and at most 1, or off")
    pii: Literal["report", "mask", "drop", "error"] = "report"
    on_leak: Literal["error", "drop_from_train", "warn"] = "drop_from_train"
    balance: Annotated[Balance | None, _text(Balance.parse)] = Field(None, description=RULES)
    tokenizer: str = ""
    unanswerable: str = ""
    replace: bool = False
    rules: CleaningRules = CleaningRules()
    typed: dict[str, Any] = {}

    def source_columns(self) -> dict[str, str]:
        """The columns for `open_source`, with the answer for questions that have none."""
        return self.columns | ({"unanswerable": self.unanswerable} if self.unanswerable else {})

    def leak_threshold(self) -> float | None:
        """The similarity at which two questions are a near leak; None to look for none."""
        if self.near_leaks == "off":
            return None
        return self.near_leaks or self.rules.near_duplicates or 0.8

    def to_json(self) -> dict[str, Any]:
        """Every option that changes the data, with its default where none was typed; no folder of the machine."""
        return self.model_dump(mode="json", exclude={"typed", "replace"}) | self._named()

    def command(self) -> list[str]:
        """The words that make the dataset again, as they were typed; no folder of the machine."""
        typed = {name: value for name, value in self.typed.items() if name != "replace"} | self._named()
        words = (
            (f"--{name.replace('_', '-')}", str(value)) for name, value in typed.items() if value not in ("", None)
        )
        return ["tools/prepare_data.py", *(word for pair in words for word in pair)]

    def _named(self) -> dict[str, str]:
        return {"source": name_of(self.source), "tokenizer": name_of(self.tokenizer)}


def read_options(typed: Mapping[str, Any]) -> Options:
    """The options from texts by name, as a command line gives them ({"split": "0.8/0.1/0.1", "near": "0.8"}).

    Raises AffinageError naming every option that is unknown, missing or has a value that is not allowed.
    """
    rules = {RULE_OPTIONS[name]: value for name, value in typed.items() if name in RULE_OPTIONS}
    if isinstance(rules.get("languages"), str):
        rules["languages"] = [code for code in re.split(r"[,\s]+", rules["languages"]) if code]
    others = {name: value for name, value in typed.items() if name not in RULE_OPTIONS}
    try:
        return Options.model_validate(others | {"rules": rules, "typed": dict(typed)})
    except ValidationError as error:
        found = {problem.where: problem for problem in map(_problem, reversed(error.errors()))}
        raise AffinageError(*reversed(found.values())) from None


def _problem(error: Any) -> Problem:
    """One of pydantic's findings in words; `where` is the option as typed."""
    place = error["loc"][1] if error["loc"][0] == "rules" else error["loc"][0]
    name = next((option for option, rule in RULE_OPTIONS.items() if rule == place), str(place))
    where = f"--{name.replace('_', '-')}"
    if error["type"] == "extra_forbidden":
        known = [*(set(Options.model_fields) - {"rules", "typed"}), *RULE_OPTIONS]
        close = difflib.get_close_matches(name, known, 1)
        return Problem(
            where, "no such option.", remedy=f"Did you mean --{close[0].replace('_', '-')}?" if close else ""
        )
    field = Options.model_fields.get(name)
    allowed = field.description if field else None
    if error["type"] == "missing":
        return Problem(where, "is missing.", allowed or "")
    if error["type"] == "value_error":
        return Problem(where, str(error["ctx"]["error"]).removesuffix(".") + ".", allowed or "")
    needed = error["msg"].removeprefix("Input should be ").partition(",")[0]
    needed = {"a valid boolean": "true or false", "a valid integer": "a whole number"}.get(needed, needed)
    return Problem(where, f"is '{error['input']}'.", allowed or error.get("ctx", {}).get("expected") or needed)
