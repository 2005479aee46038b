"""Ludwig's settings for fine-tuning, with the two for packing that it keeps for trainers that do not train."""

from ludwig.schema.trainer import FineTuneTrainerConfig, LLMTrainerConfig

_packing, _at_most = (LLMTrainerConfig.model_fields[n] for n in ("packing", "packing_max_sequences_per_pack"))


class PackingTrainerConfig(FineTuneTrainerConfig):
    """Fault: `packing` is documented for language models, but no trainer that trains one knows the key."""

    packing: bool = _packing
    packing_max_sequences_per_pack: int = _at_most
