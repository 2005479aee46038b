"""What a judge is asked in each mode, the JSON schema of its answer, and how that answer is read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affinage.control_tokens import ControlTokens
from affinage.errors import AffinageError, Problem, raise_all
from affinage.judging.prompts import messages
from affinage.judging.rubrics import RUBRICS, Kind, Rubric, load_rubric
from affinage.judging.settings import JudgeSettings, Mode
from affinage.ollama_batch import Question
from affinage.ollama_replies import Reply, Schema

CANNOT_JUDGE = "cannot_judge"  # the one status that is the judge's own and not of `affinage.ollama_replies.Status`
REASONING = {"type": "string", "maxLength": 600}
ABLE = {"enum": ["judged", CANNOT_JUDGE]}
CLOSING: dict[Mode, str] = {
    "score": "Judge the answer by the rubric at the top, against the reference if there is one: first your reasoning "
    "in two or three sentences, then the verdict, then a whole number from 0 to 100 as the score.",
    "rubric": "Judge the answer by each criterion at the top, against the reference if there is one: first your "
    "reasoning in a few sentences, then the verdict, then a level from 1 to 5 for each criterion.",
    "pairwise": "Compare the two answers by what is said at the top, against the reference if there is one: first your "
    "reasoning in two or three sentences, then the verdict, then A or B for the better answer, or tie. The order in "
    "which they stand means nothing.",
}
UNABLE = f" Write {CANNOT_JUDGE} as the verdict only when the task cannot be understood."
KINDS: dict[Mode, Kind] = {"score": "score", "rubric": "criterion", "pairwise": "comparison"}


@dataclass(frozen=True)
class Case:
    """What was asked and the reference answer to it."""

    instruction: str
    input: str
    reference: str

    def fields(self, answers: Sequence[str]) -> dict[str, str]:
        """The case with one answer, or two called A and B, by the names that a judge sees; without its empty parts."""
        names = ["ANSWER"] if len(answers) == 1 else ["ANSWER A", "ANSWER B"]
        given = {"INSTRUCTION": self.instruction, "INPUT": self.input, "REFERENCE": self.reference}
        return {name: text for name, text in given.items() if text} | dict(zip(names, answers, strict=True))


@dataclass(frozen=True)
class Form:
    """One mode with its rubrics; `weights` are those of the criteria, empty in the other modes.

    `tokens` are what no judge, and above all not the one that is asked, may see in the data.
    """

    mode: Mode
    text: str
    schema: Schema
    weights: Mapping[str, float] = field(default_factory=dict)
    rubrics: Mapping[str, str] = field(default_factory=dict)
    tokens: ControlTokens = field(default_factory=ControlTokens)

    def question(self, case: Case, answers: Sequence[str]) -> Question:
        """The question about one answer, or about two in the order A, B."""
        closing = CLOSING[self.mode] + UNABLE
        fields = case.fields(answers)
        return Question(messages(self.text, fields, closing, self.schema, self.tokens), self.schema)

    def read(self, reply: Reply) -> dict[str, Any]:
        """What the reply says: `status`, `score` (0..100, None unless the status is "ok") and `reason`.

        Criteria come with their levels in `criteria`; in pairwise `choice` is "A", "B" or "tie" instead of a score.
        """
        if not reply.ok:
            return {"status": str(reply.status), "score": None, "reason": "", "detail": reply.detail}
        value, read = reply.value, {"status": "ok", "score": None, "reason": reply.value["reasoning"], "detail": ""}
        if value["verdict"] == CANNOT_JUDGE:
            return read | {"status": CANNOT_JUDGE}
        if self.mode == "pairwise":
            return read | {"choice": value["better"]}
        if self.mode == "score":
            return read | {"score": value["score"]}
        levels = {name: value[name] for name in self.weights}
        return read | {"score": self.score_of(levels), "criteria": levels}

    def score_of(self, levels: Mapping[str, int]) -> float:
        """The weighted mean of levels 1..5, stretched to 0..100."""
        total = sum(self.weights.values())
        return round(sum(weight * (levels[name] - 1) * 25 for name, weight in self.weights.items()) / total, 6)


def form_of(settings: JudgeSettings, mode: Mode, folder: Path = RUBRICS) -> Form:
    """The form for a mode with the rubrics of the settings. Raises AffinageError for one that is missing or wrong."""
    weights = dict(settings.criteria) if mode == "rubric" else {}
    names = list(weights) or [settings.rubric if mode == "score" else settings.comparison]
    rubrics, problems = list[Rubric](), list[Problem | str]()
    for name in names:
        try:
            rubrics.append(load_rubric(name, KINDS[mode], folder))
        except AffinageError as error:
            problems += error.problems
    raise_all(problems)
    text = "\n\n".join(_described(rubric, mode) for rubric in rubrics)
    return Form(mode, text, _schema(mode, weights), weights, {rubric.name: rubric.sha256 for rubric in rubrics})


def _described(rubric: Rubric, mode: Mode) -> str:
    key = f"{json.dumps(rubric.name)}: " if mode == "rubric" else ""
    return key + rubric.described()


def _schema(mode: Mode, criteria: Mapping[str, float]) -> Schema:
    """The reasoning comes first, so that it is written before the score and not to defend it."""
    found: dict[str, Any] = {"reasoning": REASONING, "verdict": ABLE}
    if mode == "pairwise":
        found["better"] = {"enum": ["A", "B", "tie"]}
    elif mode == "score":
        found["score"] = {"type": "integer", "minimum": 0, "maximum": 100}
    else:
        found |= {name: {"type": "integer", "minimum": 1, "maximum": 5} for name in criteria}
    return {"type": "object", "properties": found, "required": list(found), "additionalProperties": False}
