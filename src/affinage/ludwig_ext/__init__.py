"""Remedies for faults of Ludwig 0.17, each a subclass registered through Ludwig's own registries.

`register()` makes Ludwig use them. Every remedy names the fault it answers and has a test that fails on
stock Ludwig, so that it can be deleted once Ludwig mends it.
"""


def register() -> None:
    """Registers the config, tokenizer, encoder, model and trainers of Affinage with Ludwig; safe to call again."""
    from ludwig.config_validation.validation import get_schema
    from ludwig.encoders.registry import get_encoder_registry
    from ludwig.models.registry import model_type_registry
    from ludwig.schema.model_types.base import model_type_schema_registry
    from ludwig.schema.trainer import register_llm_trainer_schema
    from ludwig.trainers.registry import get_llm_trainers_registry, get_trainers_registry
    from ludwig.utils.tokenizers import tokenizer_registry

    from affinage.ludwig_ext.config import AffinageLLMConfig, let_preference_trainers_have_adapters
    from affinage.ludwig_ext.encoder_trainer import EncoderTrainer
    from affinage.ludwig_ext.encoders import PaddedAutoTransformer, PaddedBERT
    from affinage.ludwig_ext.model import AnswerLLM
    from affinage.ludwig_ext.optimizers import leave_out_removed_settings
    from affinage.ludwig_ext.preference_trainer import DPOTrainer, KTOTrainer, ORPOTrainer
    from affinage.ludwig_ext.tokenizer import PromptTokenizer
    from affinage.ludwig_ext.trainer import AnswerTrainer
    from affinage.ludwig_ext.trainer_config import PackingTrainerConfig

    register_llm_trainer_schema("finetune")(PackingTrainerConfig)
    model_type_schema_registry["llm"] = AffinageLLMConfig
    model_type_registry["llm"] = AnswerLLM
    trainers = {"finetune": AnswerTrainer, "dpo": DPOTrainer, "kto": KTOTrainer, "orpo": ORPOTrainer}
    get_llm_trainers_registry().update(trainers)
    get_trainers_registry()["ecd"] = EncoderTrainer
    get_encoder_registry()["text"].update({"auto_transformer": PaddedAutoTransformer, "bert": PaddedBERT})
    tokenizer_registry["hf_tokenizer"] = PromptTokenizer
    leave_out_removed_settings()
    let_preference_trainers_have_adapters()
    get_schema.cache_clear()  # a schema built before this call would be the stock one
