"""Ludwig's LLM config class with the defaults and the round trip that fine-tuning needs."""

from collections.abc import Iterator

from ludwig.constants import TEXT
from ludwig.schema import utils as schema_utils
from ludwig.schema.llms.generation import LLMGenerationConfig, LLMGenerationConfigField
from ludwig.schema.llms.peft import MergeAdaptersConfigField, NamedAdaptersConfig, NamedAdaptersConfigField
from ludwig.schema.model_types.llm import LLMModelConfig

from affinage.errors import Problem, raise_all

# Ludwig accepts these initialisations and trains with another one, or needs data it never computes.
UNPERFORMED_INITS = ("corda", "eva", "loftq")
UNPERFORMED_TRAINERS = ("dpo", "grpo", "kto", "orpo")
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
        if self.trainer.type in UNPERFORMED_TRAINERS:
            yield Problem(
                "trainer.type",
                f"'{self.trainer.type}' would train like 'finetune': Ludwig never computes its loss.",
                "finetune",
            )
        if self.trainer.type != "finetune":
            return
        fields = type(self.trainer).model_fields
        for key in UNPERFORMED_TRAINER_KEYS:
            value, default = getattr(self.trainer, key), fields[key].default
            if value != default:
                yield Problem(
                    f"trainer.{key}",
                    f"{value!r} has no effect on the fine-tuning of a language model.",
                    repr(default),
                    "Remove the key.",
                )
        if self.trainer.optimizer.type == "lbfgs":
            yield Problem("trainer.optimizer.type", "'lbfgs' cannot train on batches.", remedy="Use adamw or adam.")
