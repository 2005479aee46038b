"""What an evaluation measures and how answers are asked for: the content of evaluate/suites/<name>.yaml."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from affinage.scoring.catalogue import SECTION_METRICS, TEXT_METRICS, TextMetric
from affinage.scoring.texts import Language, label_key

Text = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    """Strict, so that "10" is no number, and closed, so that a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Rouge(_Section):
    """How a text becomes the words that ROUGE counts; `original` is the tokenizer of rouge-score itself."""

    tokenizer: Literal["unicode", "original"] = "unicode"
    language: Language = "fr"
    stemmer: Literal["none", "snowball", "porter"] = "none"
    fold_accents: bool = False

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.tokenizer == "original" and (self.stemmer == "snowball" or self.fold_accents):
            raise ValueError("the original tokenizer keeps a to z and 0 to 9 alone: it takes stemmer none or porter.")
        if self.tokenizer == "unicode" and self.stemmer == "porter":
            raise ValueError("the Porter stemmer belongs to the original tokenizer. Write 'stemmer: snowball'.")
        return self


class Asking(_Section):
    """How answers are generated; None leaves what the run's own config says."""

    max_new_tokens: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=32, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0)
    no_repeat_ngram_size: int | None = Field(default=None, ge=0)
    num_beams: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _sampling(self) -> Self:
        idle = [name for name in ("top_k", "top_p") if getattr(self, name) is not None and not self.temperature]
        if idle:
            raise ValueError(f"{' and '.join(idle)} count only when the temperature is above 0.")
        return self


class Classification(_Section):
    """Answers that name one of several labels; `map` gives other spellings of them."""

    labels: list[Text] = Field(min_length=2)
    map: dict[str, str] = Field(default_factory=dict)
    find: Literal["exact", "contained"] = "exact"

    @model_validator(mode="after")
    def _labels_apart(self) -> Self:
        seen: dict[str, str] = {}
        for label in self.labels:
            if label_key(label) in seen:
                raise ValueError(f"'{seen[label_key(label)]}' and '{label}' are the same label.")
            seen[label_key(label)] = label
        for spelling, label in self.map.items():
            if label not in self.labels:
                raise ValueError(f"'{spelling}' is mapped to '{label}', which is none of {', '.join(self.labels)}.")
            if seen.get(label_key(spelling), label) != label:
                raise ValueError(f"'{spelling}' is mapped to '{label}' and is another label itself.")
        return self


class Extraction(_Section):
    """Answers that are JSON objects; `fields` are compared with those of the reference, "a.b" inside "a"."""

    fields: list[Text] = Field(min_length=1)
    strip_fence: bool = False

    @field_validator("fields")
    @classmethod
    def _once(cls, fields: list[str]) -> list[str]:
        twice = sorted({name for name in fields if fields.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands there twice.")
        return fields


class BertScore(_Section):
    """The encoder that BERTScore compares with: a folder or a Hub id; the last layer unless `num_layers` says."""

    model: Text
    num_layers: int | None = Field(default=None, ge=1)
    max_length: int = Field(default=512, ge=8)
    batch_size: int = Field(default=32, ge=1)


class Bootstrap(_Section):
    """Resamples, their seed, and the confidence of the intervals that they give."""

    n: int = Field(default=2000, ge=100, le=100_000)
    seed: int = Field(default=0, ge=0)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)


def _default_metrics(given: Any) -> Any:
    return list(TEXT_METRICS) if given == "default" else given


class Suite(_Section):
    """One suite. Classification, extraction and BERTScore are measured when their section is there."""

    metrics: Annotated[list[TextMetric], BeforeValidator(_default_metrics)] = Field(
        default_factory=lambda: list(TEXT_METRICS), min_length=1, validate_default=True
    )
    exact_match: Literal["strict", "loose"] = "strict"
    rouge: Rouge = Rouge()
    asking: Asking = Field(default=Asking(), alias="generation")
    fewshot: int = Field(default=0, ge=0)
    split: Literal["train", "validation", "test"] = "test"
    classification: Classification | None = None
    extraction: Extraction | None = None
    bert_score: BertScore | None = None
    bootstrap: Bootstrap = Bootstrap()
    judge: dict[str, Any] | None = None
    _name: str = PrivateAttr("default")

    @property
    def name(self) -> str:
        """The name of its file, or "default" without one; the folder of predictions and metrics is called that."""
        return self._name

    def named(self, name: str) -> Self:
        """The same suite under another name."""
        suite = self.model_copy()
        suite._name = name
        return suite

    @property
    def batch_size(self) -> int:
        """Rows answered at a time."""
        return self.asking.batch_size

    @property
    def generation(self) -> dict[str, Any]:
        """Settings for generation by their names in transformers; what the suite leaves open is not among them."""
        given = self.asking.model_dump(exclude_none=True, exclude={"batch_size", "temperature"})
        sampling = {"temperature": self.asking.temperature} if self.asking.temperature else {}
        return given | {"do_sample": bool(sampling)} | sampling

    @property
    def all_metrics(self) -> list[str]:
        """The metrics in the order in which they are shown, those of the sections last."""
        sections = (names for section, names in SECTION_METRICS.items() if getattr(self, section) is not None)
        return [name for name in TEXT_METRICS if name in self.metrics] + [n for names in sections for n in names]
