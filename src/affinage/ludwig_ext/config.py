"""Ludwig's LLM config class with the defaults and the round trip that fine-tuning needs."""

from collections.abc import Iterable, Iterator
from typing import Any

from ludwig.config_validation.checks import get_config_check_registry
from ludwig.constants import AUTO, TEXT
from ludwig.schema import utils as schema_utils
from ludwig.schema.llms.generation import LLMGenerationConfig, LLMGenerationConfigField
from ludwig.schema.llms.peft import MergeAdaptersConfigField, NamedAdaptersConfig, NamedAdaptersConfigField
from ludwig.schema.model_types.llm import LLMModelConfig

from affinage.errors import Problem, raise_all

# Ludwig accepts these initialisations and trains with another one, or needs data it never computes.
UNPERFORMED_INITS = ("corda", "eva", "loftq")
PREFERENCE_TRAINERS = ("dpo", "kto", "orpo")
TRAINERS = ("finetune", *PREFERENCE_TRAINERS)
UNPERFORMED_TRAINER_KEYS = (
    "bucketing_field",
    "compile",
    "contrastive_pretrain_epochs",
    "enable_profiling",
    "increase_batch_size_on_plateau",
    "loss_balancing",
    "modality_dropout",
    "model_soup",
    "regularization_lambda",
)


def unperformed(trainer: Any, keys: Iterable[str], why: str) -> Iterator[Problem]:
    """What is wrong with a trainer section that sets `keys`, which nothing performs, or the optimizer lbfgs."""
    fields = type(trainer).model_fields
    for key in keys:
        value, default = getattr(trainer, key), fields[key].default
        if value != default:
            yield Problem(f"trainer.{key}", f"{value!r} {why}", repr(default), "Remove the key.")
    if trainer.optimizer.type == "lbfgs":
        yield Problem("trainer.optimizer.type", "'lbfgs' cannot train on batches.", remedy="Use adamw or adam.")


def sequences_per_row(resolved: Any) -> int:
    """How many sequences a training row of a resolved config puts through the model: two for a pair of answers."""
    return 2 if resolved.trainer.type in ("dpo", "orpo") else 1


def let_preference_trainers_have_adapters() -> None:
    """Fault: a check of Ludwig's refuses an adapter for every trainer but "finetune"; safe to call again."""
    registry = get_config_check_registry()
    refusing = next((c for c in registry._registry if c.__name__ == "check_llm_finetuning_trainer_config"), None)
    if refusing is None:
        return
    registry._registry.remove(refusing)

    def check_adapter_is_trained(config: Any) -> None:
        # grpo is refused below, with its reason
        if getattr(config.trainer, "type", None) not in (*TRAINERS, "grpo"):
            refusing(config)

    registry.register(check_adapter_is_trained)


class _NullableMergeField(MergeAdaptersConfigField):
    def _jsonschema_type_mapping(self):
        return {"oneOf": [{"type": "null"}, super()._jsonschema_type_mapping()]}


class _NamedAdapters(NamedAdaptersConfig):
    merge: object | None = _NullableMergeField().get_default_field()


class _NullableAdaptersField(NamedAdaptersConfigField):
    """Fault: a saved config holds `adapters: null`, which the stock schema refuses, so no model loads again."""

    def _jsonschema_type_mapping(self):
        schema = schema_utils.unload_jsonschema_from_config_class(_NamedAdapters, title="NamedAdapters")
        return {"oneOf": [{"type": "null"}, schema]}


class _GreedyGeneration(LLMGenerationConfig):
    """Fault: the stock default samples at temperature 0.1, so the same prompt gives different answers."""

    do_sample: bool | None = schema_utils.Boolean(
        default=False, description="Whether to sample; greedy decoding otherwise."
    )


class _GreedyGenerationField(LLMGenerationConfigField):
    def __init__(self):
        super(LLMGenerationConfigField, self).__init__(_GreedyGeneration)

    def _jsonschema_type_mapping(self):
        return schema_utils.unload_jsonschema_from_config_class(_GreedyGeneration)


class AffinageLLMConfig(LLMModelConfig):
    """An LLM config that can be saved and loaded again, generates greedily and keeps the limits it was given."""

    adapters: NamedAdaptersConfig | None = _NullableAdaptersField().get_default_field()
    generation: LLMGenerationConfig = _GreedyGenerationField().get_default_field()

    def __post_init__(self):
        given = self.generation.max_new_tokens if "max_new_tokens" in self.generation.model_fields_set else None
        super().__post_init__()
        if given is not None:  # fault: the stock class takes a given 32, its default, for "not given"
            self.generation.max_new_tokens = given
        if self.output_features[0].type == TEXT:
            self.output_features[0].decoder.max_new_tokens = self.generation.max_new_tokens
        self._refuse_what_is_not_performed()

    def _refuse_what_is_not_performed(self) -> None:
        """Raises one AffinageError for all settings that would be accepted and then have no effect."""
        raise_all([*self._initialisation_problems(), *self._trainer_problems()])

    def _initialisation_problems(self) -> Iterator[Problem]:
        init = getattr(self.adapter, "init_lora_weights", "default")
        if init in UNPERFORMED_INITS:
            yield Problem(
                "adapter.init_lora_weights",
                f"'{init}' is accepted by Ludwig, but the initialisation is never computed.",
                "default, gaussian, olora, orthogonal, pissa",
                "Remove the key or choose one of these.",
            )
        if init == "pissa" and self.quantization is not None:
            yield Problem(
                "adapter.init_lora_weights",
                "'pissa' needs the base weights in full precision, but quantization is on.",
                remedy="Remove the quantization section or choose another initialisation.",
            )

    def _trainer_problems(self) -> Iterator[Problem]:
        if self.trainer.type == "grpo":
            yield Problem(
                "trainer.type",
                "'grpo' needs a reward for answers that the model makes while it trains, and nothing here gives one.",
                ", ".join(TRAINERS),
                "Make preferences of a judge's verdicts (make preferences), and train on them with dpo, kto or orpo.",
            )
        if self.trainer.type not in TRAINERS:
            return
        if self.trainer.type in PREFERENCE_TRAINERS:
            yield from self._preference_problems()
        why = "has no effect on the fine-tuning of a language model."
        yield from unperformed(self.trainer, UNPERFORMED_TRAINER_KEYS, why)

    def _preference_problems(self) -> Iterator[Problem]:
        kind, trainer = self.trainer.type, self.trainer
        if getattr(trainer, f"{kind}_beta") <= 0:
            yield Problem(f"trainer.{kind}_beta", f"{getattr(trainer, f'{kind}_beta')} is not above 0.", "0.1 or so")
        if kind == "dpo" and trainer.dpo_loss_type == "ipo" and trainer.dpo_label_smoothing:
            yield Problem("trainer.dpo_label_smoothing", "it has no effect on the loss 'ipo'.", "0", "Remove the key.")
        if AUTO in (trainer.batch_size, trainer.eval_batch_size):
            found = f"'auto' is looked for with single answers, and '{kind}' learns from two."
            yield Problem("trainer.batch_size and trainer.eval_batch_size", found, "a whole number")
        if self.preprocessing.sample_ratio != 1 or self.preprocessing.sample_size is not None:
            yield Problem(
                "preprocessing.sample_ratio and preprocessing.sample_size",
                "Ludwig draws rows after the rejected answers were put beside them.",
                remedy="Remove them, and draw the rows beforehand (make data N=).",
            )
        if trainer.rejected_column == self.output_features[0].column:
            found = f"'{trainer.rejected_column}' is the column of the chosen answers as well."
            yield Problem("trainer.rejected_column", found)
