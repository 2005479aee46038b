"""What the snippets of a card need: how the model is loaded, what is asked, and what vLLM cannot do."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from affinage.errors import AffinageError, Problem
from affinage.publishing.card_prompt import PromptFacts
from affinage.publishing.card_results import read_json
from affinage.publishing.publication import Publication
from affinage.publishing.vllm_limits import VllmLimits, vllm_limits
from affinage.runs import Run

TO_SAMPLING_PARAMS = {"max_new_tokens": "max_tokens", "min_new_tokens": "min_tokens"}  # vLLM's names
TO_OLLAMA = {"max_new_tokens": "num_predict", "repetition_penalty": "repeat_penalty"}
SAME_IN_ALL = ("repetition_penalty", "top_k", "top_p", "temperature")


@dataclass(frozen=True)
class Use:
    """`adapter` is the content of adapter_config.json, {} for a run without; `quantization` the section of the config.

    `name` is the last part of the repository in lower case, as Ollama and vLLM want names. `gguf_files` are the files
    of a GGUF repository, with what was measured of each when it was made, {} where nothing was.
    """

    prompt: PromptFacts
    adapter: dict[str, Any]
    quantization: dict[str, Any]
    trust_remote_code: bool
    name: str
    vllm: VllmLimits
    gguf_files: dict[str, dict[str, Any]]

    @property
    def is_4bit(self) -> bool:
        return self.quantization.get("bits") == 4

    @property
    def bitsandbytes(self) -> str:
        """The quantization of the run as Python, "" where the base model was not quantized."""
        held = self.quantization
        if held.get("bits") == 8:
            return f"BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold={held.get('llm_int8_threshold', 6.0)})"
        if held.get("bits") != 4:
            return ""
        return (
            "BitsAndBytesConfig(\n"
            "    load_in_4bit=True,\n"
            f'    bnb_4bit_quant_type="{held.get("bnb_4bit_quant_type", "nf4")}",\n'
            f"    bnb_4bit_use_double_quant={held.get('bnb_4bit_use_double_quant', True)},\n"
            f"    bnb_4bit_compute_dtype={self.dtype},\n"
            ")"
        )

    @property
    def dtype(self) -> str:
        """The precision in which the run computed, as Python."""
        return (
            f"torch.{self.quantization.get('bnb_4bit_compute_dtype', 'float32')}"
            if self.quantization
            else "torch.float32"
        )

    @property
    def sampling_params(self) -> str:
        """The arguments of vLLM's SamplingParams."""
        return ", ".join(f"{key}={value}" for key, value in self._settings(TO_SAMPLING_PARAMS).items())

    @property
    def ollama_options(self) -> dict[str, Any]:
        """The settings of the generation by Ollama's names."""
        return self._settings(TO_OLLAMA)

    def _settings(self, names: Mapping[str, str]) -> dict[str, Any]:
        settings = self.prompt.settings
        found = {names.get(key, key): value for key, value in settings.items() if key in names or key in SAME_IN_ALL}
        return ({} if settings["do_sample"] else {"temperature": 0}) | found


def use_of(publication: Publication, config: Mapping[str, Any], prompt: PromptFacts) -> Use:
    """Reads what the run saved; `config` is its resolved Ludwig config.

    Raises AffinageError when a GGUF repository has no file.
    """
    run = publication.run
    adapter, files = adapter_config(run), _gguf_files(run)
    if publication.kind == "gguf" and not files:
        remedy = f"Make it with make gguf RUN={run.folder.name}"
        raise AffinageError(Problem(f"run {run.folder.name}", "has no GGUF file.", remedy=remedy))
    held = config.get("quantization") or {}
    return Use(
        prompt,
        adapter,
        held if held.get("bits") in (4, 8) else {},
        bool(config.get("trust_remote_code")),
        publication.repo.rpartition("/")[2].lower(),
        vllm_limits(adapter, _model_type(str(config.get("base_model")))),
        files,
    )


def _gguf_files(run: Run) -> dict[str, dict[str, Any]]:
    folder = run.folder / "export"
    measured = {entry.get("file"): entry.get("check") or {} for entry in read_json(folder / "gguf.json").values()}
    return {path.name: measured.get(path.name, {}) for path in sorted(folder.glob("*.gguf"))}


def adapter_config(run: Run) -> dict[str, Any]:
    """What PEFT saved beside the adapter; {} for a run that trained every weight."""
    for folder in (run.weights_folder, run.model_folder / "adapter"):
        if found := read_json(Path(folder) / "adapter_config.json"):
            return found
    return {}


def _model_type(base_model: str) -> str:
    """The architecture of the base model where it lies on this machine; "" otherwise."""
    try:
        return str(AutoConfig.from_pretrained(base_model, local_files_only=True).model_type)
    except (OSError, ValueError):
        return ""
