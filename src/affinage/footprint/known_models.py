"""Shapes of base models that the shipped configs name, for machines that have neither the model nor the network."""

from typing import Any

# arXiv:2310.06825, table 1; the context is that of the published config.json
MISTRAL_7B = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32_000,
    "max_position_embeddings": 32_768,
}
# arXiv:2407.21783, table 3, and section 3.2 for the vocabulary, to which 256 special tokens are added
LLAMA_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
}
# "Language Models are Unsupervised Multitask Learners" (Radford et al., 2019), table 2
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50_257}
GPT2_MEDIUM = {**GPT2, "n_embd": 1024, "n_layer": 24, "n_head": 16}
# arXiv:1910.10683, section 3.1.2 ("base"), in the form of T5 1.1, which arXiv:2210.11416 starts from: a gated
# feed-forward layer, an output layer of its own; vocabulary and context are those of the published config.json
FLAN_T5_BASE = {
    "model_type": "t5",
    "d_model": 768,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 12,
    "num_heads": 12,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "vocab_size": 32_128,
    "n_positions": 512,
    "decoder_start_token_id": 0,
}

# arXiv:2211.05100, table 3; BLOOMZ (arXiv:2211.01786) has its shape, and the vocabulary is the published config's
BLOOM_3B = {"model_type": "bloom", "hidden_size": 2560, "n_layer": 30, "n_head": 32, "vocab_size": 250_880}

SHAPES: dict[str, dict[str, Any]] = {
    "mistralai/Mistral-7B-v0.1": MISTRAL_7B,
    "mistralai/Mistral-7B-Instruct-v0.1": MISTRAL_7B,
    "mistralai/Mistral-7B-Instruct-v0.3": {**MISTRAL_7B, "vocab_size": 32_768},  # as its published config.json says
    "meta-llama/Llama-3.1-8B": LLAMA_8B,
    "meta-llama/Llama-3.1-8B-Instruct": LLAMA_8B,
    "openai-community/gpt2": GPT2,
    "openai-community/gpt2-medium": GPT2_MEDIUM,
    "google/flan-t5-base": FLAN_T5_BASE,
    "bigscience/bloomz-3b": BLOOM_3B,
}
