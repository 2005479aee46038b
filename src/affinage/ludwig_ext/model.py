"""Ludwig's LLM with right prompts, right losses, quick attention and folders that load anywhere."""

import math
import shutil
from pathlib import Path
from typing import Any

import torch
from ludwig.constants import COMBINED, LOSS
from ludwig.globals import MODEL_WEIGHTS_FILE_NAME
from ludwig.models.llm import LLM
from ludwig.utils.llm_utils import load_pretrained_from_config

from affinage import generation
from affinage.ludwig_ext import seq2seq
from affinage.ludwig_ext.batches import SpecialTokens, build_rows, collate
from affinage.ludwig_ext.config import PREFERENCE_TRAINERS
from affinage.ludwig_ext.loss import answer_nll

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "README.md")


def linear_modules(model: Any) -> list[str]:
    """Last parts of the names of all linear layers but the output layer, as PEFT's target_modules wants them."""
    head = model.get_output_embeddings()
    kinds = ("Linear", "Linear4bit", "Linear8bitLt", "Conv1D")
    return sorted(
        {
            name.rsplit(".", 1)[-1]
            for name, module in model.named_modules()
            if type(module).__name__ in kinds and module is not head
        }
    )


def use_quick_attention(model: Any) -> None:
    """Fault: Ludwig forces eager attention on quantized models; scaled dot product attention gives the same result."""
    if model.config._attn_implementation == "eager" and model._supports_sdpa:
        model.set_attn_implementation("sdpa")


def keep_4bit_weights_as_they_are(model: Any) -> None:
    """Fault: on a CPU with AVX512-BF16, bitsandbytes repacks 4-bit weights at the first evaluation for a kernel
    without a backward pass, so that whatever is trained afterwards lacks the gradients through those layers.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def keep_frozen_weights_small(model: Any) -> None:
    """Stores in bfloat16 what an adapter leaves as it is: embeddings, norms and the layers that are not quantized.

    Fault: Ludwig keeps them in float32, which for a vocabulary of 128,000 is more than a 4-bit model of 8 B weighs.
    """
    for parameter in model.parameters():
        if not parameter.requires_grad and parameter.dtype == torch.float32:
            parameter.data = parameter.data.to(torch.bfloat16)


def computes_in_bfloat16(config: Any) -> bool:
    """Whether a resolved config asks for it with LoRA, the adapter whose layers convert what they are given."""
    quantized = getattr(config.quantization, "bnb_4bit_compute_dtype", None) == "bfloat16"
    return getattr(config.adapter, "type", None) == "lora" and (quantized or config.trainer.use_mixed_precision)


class AnswerLLM(LLM):
    """Answers the faults of the stock class in attention, targets, generation, evaluation and saving.

    The base model is a causal language model or, as its own config says, an encoder-decoder (`seq2seq`).
    `nll` and `answer_token_count` add up over an evaluation: mean loss = nll / answer_token_count.
    """

    model: Any
    _adapter_initialized: bool

    def __init__(self, config_obj: Any, *args: Any, **kwargs: Any) -> None:
        seq2seq.refuse(config_obj)
        self.encoder_decoder = seq2seq.has_encoder(config_obj)
        super().__init__(config_obj, *args, **kwargs)
        use_quick_attention(self.model)
        keep_4bit_weights_as_they_are(self.model)
        self.special = SpecialTokens.of(self.tokenizer, self.encoder_decoder)
        self._reset_evaluation()

    def load_base(self) -> Any:
        """The base model, loaded again as the config says, without anything that training changed."""
        model = load_pretrained_from_config(self.config_obj, model_config=self.model_config)
        use_quick_attention(model)
        keep_4bit_weights_as_they_are(model)
        return model.to(self.curr_device)

    def initialize_adapter(self) -> None:
        """Faults: PEFT's keyword `all-linear` does not get through Ludwig, so it is expanded here; Ludwig gives no
        adapter to an encoder-decoder, nor to the trainers that learn from preferences.
        """
        adapter = self.config_obj.adapter
        if adapter and not self._adapter_initialized and getattr(adapter, "target_modules", None) == ["all-linear"]:
            adapter.target_modules = linear_modules(self.model)
        passed_over = self.encoder_decoder or self.config_obj.trainer.type in PREFERENCE_TRAINERS
        if passed_over and adapter and not self._adapter_initialized:
            self.model = seq2seq.with_adapter(self.model, self.config_obj)
            self._adapter_initialized = True
        super().initialize_adapter()

    def prepare_for_training(self) -> None:
        super().prepare_for_training()
        if computes_in_bfloat16(self.config_obj):
            keep_frozen_weights_small(self.model)

    def _set_generation_config(self, new_generation_config_dict: dict[str, Any]) -> None:
        self.generation = generation.generation_config(new_generation_config_dict, self.tokenizer)
        if self.encoder_decoder:
            self.generation.decoder_start_token_id = generation.decoder_start(self.model_config)
        self.max_new_tokens = self.generation.max_new_tokens
        self.max_input_length = self.context_len - 1

    def generate(self, inputs: Any, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Generates for a whole batch; faults: prompts were cut at an inner EOS, one row ran at a time."""
        input_ids, _ = self._unpack_inputs(inputs)
        prompts = [self.special.prompt(row) for row in input_ids.tolist()]
        output = generation.run(self.model, prompts, self.generation, self.context_len, scores=True)
        width = output.sequences.shape[1] - len(output.scores)
        scores = [tuple(step[i] for step in output.scores) for i in range(len(prompts))]
        self._evaluated_prompts = input_ids
        before = [1 if self.encoder_decoder else len(p) for p in prompts]  # a decoder begins with its start token
        return self.output_feature_decoder.decoder_obj.forward(
            [sequence[width - n :] for sequence, n in zip(output.sequences, before, strict=True)],
            before,
            self.max_new_tokens,
            generation_scores=scores,
        )

    def batch_nll(self, prompts: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Summed -log p of the answer tokens of padded id matrices, and how many there are."""
        rows = build_rows(prompts.tolist(), answers.tolist(), self.special, self.global_max_sequence_length)
        if not rows.rows:
            return torch.zeros(()), 0
        batch = collate(rows.rows, self.special.pad).to(self.curr_device)
        return answer_nll(self.model, batch), batch.answer_tokens

    def update_metrics(self, targets: dict[str, torch.Tensor], predictions: dict[str, Any]) -> None:
        """Fault: generated text is compared with the target by position, which gives a loss of inf."""
        with torch.no_grad():
            nll, tokens = self.batch_nll(self._evaluated_prompts, next(iter(targets.values())))
        self.nll += float(nll)
        self.answer_token_count += tokens

    def get_metrics(self) -> dict[str, dict[str, float]]:
        """Mean loss per answer token and its exponential; fault: the stock perplexity is the vocabulary size."""
        return loss_metrics(next(iter(self.output_features)), self.nll, self.answer_token_count)

    def reset_metrics(self) -> None:
        super().reset_metrics()
        self._reset_evaluation()

    def _reset_evaluation(self) -> None:
        self.nll, self.answer_token_count = 0.0, 0

    def save(self, save_path: str) -> None:
        """Saves the weights and, beside them, the tokenizer; fault: the stock folder has none."""
        super().save(save_path)
        self.tokenizer.save_pretrained(Path(save_path) / MODEL_WEIGHTS_FILE_NAME)

    def save_base_model(self, save_path: str) -> None:
        """Saves the merged model alone and moves the adapter to `adapter/`; fault: together, LoRA is applied twice."""
        super().save_base_model(save_path)
        weights, adapter = Path(save_path) / MODEL_WEIGHTS_FILE_NAME, Path(save_path) / "adapter"
        adapter.mkdir(exist_ok=True)
        for name in ADAPTER_FILES:
            if (weights / name).exists():
                shutil.move(weights / name, adapter / name)


def loss_metrics(feature: str, nll: float, tokens: int) -> dict[str, dict[str, float]]:
    """Ludwig's metric layout with the mean loss per answer token (nats) and the perplexity exp(loss)."""
    loss = nll / tokens if tokens else math.nan
    return {feature: {LOSS: loss, "perplexity": perplexity(loss)}, COMBINED: {LOSS: loss}}


def perplexity(loss: float) -> float:
    """exp(loss), and infinity where that is beyond a float."""
    return math.exp(loss) if loss < 700 else math.inf


def parameter_counts(model: Any) -> tuple[int, int]:
    """Trainable parameters and all of them; PEFT knows how many a packed 4-bit weight holds."""
    if hasattr(model, "get_nb_trainable_parameters"):
        return model.get_nb_trainable_parameters()
    return model.num_parameters(only_trainable=True), model.num_parameters()
