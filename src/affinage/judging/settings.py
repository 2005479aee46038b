"""The `judge:` section of a suite: which model judges, how it is asked, and when its work does not count."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from affinage.errors import AffinageError, Problem
from affinage.ollama_chat import Options
from affinage.paths import SUITES, display
from affinage.scoring.suite import Suite
from affinage.scoring.suite_file import BOUNDS, TYPES, line_of

Mode = Literal["score", "rubric", "pairwise"]
Name = Annotated[str, Field(min_length=1, pattern=r"^[\w.-]+$")]
Text = Annotated[str, Field(min_length=1)]
RESERVED = ("reasoning", "verdict")
WANTED = TYPES | {
    "string_pattern_mismatch": "letters, digits, and the signs _ . -",
    "string_too_short": "a text that is not empty",
    "too_short": "one or more",
}


def _listed(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _weighed(given: Any) -> Any:
    """Criteria in a list have the weight 1 each."""
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        return given
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} stands there twice.")
    return dict.fromkeys(given, 1.0)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Endpoint(_Section):
    """Where the judge is: an Ollama server (without `url` the one of OLLAMA_HOST), or one that speaks OpenAI's API.

    `api_key_env` names the environment variable that holds the key; a key itself never stands in a file.
    """

    kind: Literal["ollama", "openai"] = "ollama"
    url: str = ""
    api_key_env: str = Field(default="", pattern=r"^[A-Za-z_]\w*$|^$")

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.kind == "openai" and not self.url:
            raise ValueError("kind openai needs a url such as http://127.0.0.1:8000/v1.")
        if self.kind == "ollama" and self.api_key_env:
            raise ValueError("an Ollama server reads OLLAMA_API_KEY; api_key_env belongs to kind openai.")
        return self


class JudgeSettings(_Section):
    """How a suite's answers are judged. Several models are a panel; `criteria` may give weights.

    `stability` is how many questions are asked again with another seed, `min_coverage` (0..1) the part of the items
    that must end in a score, and with `controls: strict` a judge that fails one of them is not asked any further.
    """

    model: Annotated[list[Text], BeforeValidator(_listed)] = Field(default=["llama3.1:8b"], min_length=1)
    mode: Mode = "score"
    rubric: Name = "note-0-100"
    comparison: Name = "comparaison"
    criteria: Annotated[dict[Name, Annotated[float, Field(gt=0)]], BeforeValidator(_weighed)] = Field(
        default=dict.fromkeys(("exactitude", "completude", "consigne", "clarte"), 1.0), min_length=1
    )
    options: Options = Options()
    think: Literal[False, True, "low", "medium", "high"] = False
    concurrency: int = Field(default=1, ge=1)
    timeout_s: float = Field(default=600.0, gt=0)
    min_coverage: float = Field(default=0.98, ge=0, le=1)
    controls: Literal["warn", "strict"] = "warn"
    stability: int = Field(default=10, ge=0)
    endpoint: Endpoint = Endpoint()

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name in RESERVED:
            if name in self.criteria:
                raise ValueError(f"a criterion cannot be called '{name}', which every answer has.")
        if len(self.model) > len(set(self.model)):
            raise ValueError("a panel names each of its models once.")
        return self


def settings_of(suite: Suite, folder: Path = SUITES) -> JudgeSettings:
    """The settings in a suite's `judge:` section, or the defaults.

    Raises AffinageError with everything that is wrong there, and on which line.
    """
    try:
        return JudgeSettings.model_validate(suite.judge or {})
    except ValidationError as error:
        path = folder / f"{suite.name}.yaml"
        root = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader) if path.is_file() else None
        problems = [(line_of(root, ("judge", *fault["loc"])), _words(fault)) for fault in error.errors()]
        where = display(path)
        in_order = sorted(problems, key=lambda problem: problem[0])
        raise AffinageError(*(Problem(f"{where}:{line}", *words) for line, words in in_order)) from error


def _words(fault: Any) -> tuple[str, str, str]:
    """What was found, what is allowed and what to do, for one of pydantic's errors."""
    kind, given, place = fault["type"], fault.get("input"), fault["loc"]
    key = ".".join(["judge", *(str(part + 1) if isinstance(part, int) else part for part in place)])
    if kind == "extra_forbidden":
        sections: dict[str, type[BaseModel]] = {"options": Options, "endpoint": Endpoint}
        model = sections.get(str(place[0]), JudgeSettings) if len(place) > 1 else JudgeSettings
        known = list(model.model_fields)
        return f"unknown key '{key}'.", ", ".join(known), _did_you_mean(str(place[-1]), known)
    if kind == "value_error":
        return f"'{key}': {fault['ctx']['error']}", "", ""
    if place and place[-1] == "api_key_env":  # somebody may have put the key itself there: it is not shown
        return f"'{key}' is no name of an environment variable.", "a name such as JUDGE_API_KEY", ""
    found = f"'{key}' is {str(given).lower() if isinstance(given, bool) else repr(given)}."
    if kind == "literal_error":
        words = [word.strip("'") for word in fault["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return found, ", ".join(words), _did_you_mean(str(given), words)
    if kind in BOUNDS:
        name, word = BOUNDS[kind]
        return found, f"{word} {fault['ctx'][name]:g}", ""
    return found, WANTED.get(kind, fault["msg"]), ""


def _did_you_mean(given: str, known: list[str]) -> str:
    close = difflib.get_close_matches(given.lower(), known, 1)
    return f"Did you mean '{close[0]}'?" if close else ""
