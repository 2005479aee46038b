"""Tiny random models of real architectures, and Ludwig trainers on them, for every test that needs one."""

import atexit
import multiprocessing
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pandas as pd
import pytest

# Tests keep out of the user's caches of rows and settings, but use the libraries' own and the compiled llama.cpp.
CACHES = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("HF_HOME", str(CACHES / "huggingface"))
os.environ.setdefault("MPLCONFIGDIR", str(CACHES / "matplotlib"))
os.environ.setdefault("UV_CACHE_DIR", str(CACHES / "uv"))
os.environ.setdefault("PIP_CACHE_DIR", str(CACHES / "pip"))
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="affinage-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)
Path(os.environ["XDG_CACHE_HOME"], "affinage").mkdir()
Path(os.environ["XDG_CACHE_HOME"], "affinage", "llama-cpp").symlink_to(CACHES / "affinage" / "llama-cpp")

# `make test` hands these down, and a make that a test runs would announce its folders on standard output.
for inherited in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
    os.environ.pop(inherited, None)

# One server forks the processes of every test of a worker; what it has loaded, they need not load again.
LOADED = ["affinage.kfold", "affinage.sweeps", "affinage.training", "affinage.judging.panel", "matplotlib.pyplot"]
multiprocessing.get_context("forkserver").set_forkserver_preload([*LOADED, "ollama"])

TEMPLATE = "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
WORDS = "le chat la souris un livre une pomme mange lit voit rouge grand petit jardin maison soleil".split()
SPECIALS = ["<s>", "</s>", "<pad>"]


def _tokenizer(kind: str):
    """`plain` has bos, eos and pad; `no_pad` has eos alone (GPT-2); `bos` puts <s> before every text (Llama)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=SPECIALS, initial_alphabet=alphabet)
    bpe.train_from_iterator([" ".join(WORDS), TEMPLATE] * 20, trainer)
    if kind == "bos":
        bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    names = {"eos_token": "</s>"}
    if kind == "no_pad":
        names["bos_token"] = "</s>"
    else:
        names |= {"bos_token": "<s>", "pad_token": "<pad>"} if kind == "plain" else {"bos_token": "<s>"}
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **names)


def _model(architecture: str):
    import transformers

    sizes: dict[str, dict[str, Any]] = {
        "llama": {"num_key_value_heads": 2, "intermediate_size": 128},
        "mistral": {"num_key_value_heads": 2, "intermediate_size": 128, "sliding_window": None},
        "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256},
        "bloom": {"n_layer": 2, "n_head": 4},
    }
    common = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 256}
    names = {"llama": "Llama", "mistral": "Mistral", "gpt2": "GPT2", "bloom": "Bloom"}
    config_class = getattr(transformers, names[architecture] + "Config")
    shared = common if architecture in ("llama", "mistral") else {"hidden_size": 64} if architecture == "bloom" else {}
    config = config_class(
        vocab_size=320, bos_token_id=0, eos_token_id=1, pad_token_id=2, **shared, **sizes[architecture]
    )
    transformers.set_seed(7)
    class_name = names[architecture] + ("LMHeadModel" if architecture == "gpt2" else "ForCausalLM")
    return getattr(transformers, class_name)(config)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Callable[..., str]:
    """A folder with a random model of about 0.1 M parameters and its tokenizer, made once per kind."""
    made: dict[tuple[str, str], str] = {}

    def make(architecture: str = "llama", tokenizer: str = "plain") -> str:
        key = (architecture, tokenizer)
        if key not in made:
            folder = tmp_path_factory.mktemp(f"{architecture}-{tokenizer}")
            _model(architecture).save_pretrained(folder)
            _tokenizer(tokenizer).save_pretrained(folder)
            made[key] = str(folder)
        return made[key]

    return make


@pytest.fixture(scope="session")
def sentences() -> Callable[[int], pd.DataFrame]:
    """Alpaca rows of very different lengths: the answer is the input in capitals."""

    def make(n: int, seed: int = 0) -> pd.DataFrame:
        draw = random.Random(seed)
        rows = [
            {"instruction": "copie", "input": " ".join(draw.choices(WORDS, k=draw.randint(1, 9)))} for _ in range(n)
        ]
        return pd.DataFrame([{**row, "output": row["input"].upper()} for row in rows])

    return make


@pytest.fixture
def llm_config(tiny_model) -> Callable[..., dict[str, Any]]:
    """A LoRA config on a tiny model; keyword arguments replace whole sections, None removes one."""

    def make(architecture: str = "llama", tokenizer: str = "plain", **sections: Any) -> dict[str, Any]:
        config: dict[str, Any] = {
            "model_type": "llm",
            "base_model": tiny_model(architecture, tokenizer),
            "input_features": [{"name": "prompt", "type": "text"}],
            "output_features": [{"name": "output", "type": "text"}],
            "prompt": {"template": TEMPLATE},
            "adapter": {"type": "lora", "dropout": 0.0},
            "generation": {"max_new_tokens": 24},
            "trainer": {"type": "finetune", "epochs": 1, "batch_size": 4, "learning_rate": 0.001},
        }
        config.update(sections)
        return {key: value for key, value in config.items() if value is not None}

    return make


def _prepare(config: dict[str, Any], data: pd.DataFrame, seed: int) -> tuple[Any, Any]:
    from ludwig.api import LudwigModel

    ludwig = LudwigModel(config, backend="local")
    splits = ludwig.preprocess(training_set=data, skip_save_processed_input=True)
    ludwig.training_set_metadata = splits.training_set_metadata
    model = LudwigModel.create_model(ludwig.config_obj, random_seed=seed)
    ludwig.config_obj.trainer.update_batch_size_grad_accum(1)
    trainer = ludwig.backend.create_trainer(model=model, config=ludwig.config_obj.trainer, random_seed=seed)
    return trainer, splits.training_set


@pytest.fixture
def prepare() -> Callable[..., tuple[Any, Any]]:
    """The trainer that the registered classes make for a config and rows, and the preprocessed rows."""
    return lambda config, data, seed=42: _prepare(config, data, seed)


@pytest.fixture
def trainer_of(affinage) -> Callable[..., Any]:
    """Affinage's trainer for a config and rows, with `rows` built and nothing trained yet."""

    def make(config: dict[str, Any], data: pd.DataFrame, seed: int = 42) -> Any:
        trainer, training_set = _prepare(config, data, seed)
        trainer.rows = trainer.build(training_set)
        return trainer

    return make


@pytest.fixture
def affinage() -> None:
    """Affinage's classes in Ludwig's registries."""
    from affinage.ludwig_ext import register

    register()


@pytest.fixture
def stock(affinage):
    """Ludwig's own classes in its registries, for the length of a test."""
    from ludwig.config_validation.validation import get_schema
    from ludwig.models.llm import LLM
    from ludwig.models.registry import model_type_registry
    from ludwig.schema.model_types.base import model_type_schema_registry
    from ludwig.schema.model_types.llm import LLMModelConfig
    from ludwig.schema.trainer import FineTuneTrainerConfig, register_llm_trainer_schema
    from ludwig.trainers.registry import get_llm_trainers_registry
    from ludwig.trainers.trainer_llm import FineTuneTrainer
    from ludwig.utils.tokenizers import HFTokenizer, tokenizer_registry

    from affinage.ludwig_ext import register

    register_llm_trainer_schema("finetune")(FineTuneTrainerConfig)
    model_type_schema_registry["llm"] = LLMModelConfig
    model_type_registry["llm"] = LLM
    get_llm_trainers_registry()["finetune"] = FineTuneTrainer
    tokenizer_registry["hf_tokenizer"] = HFTokenizer
    get_schema.cache_clear()
    yield
    register()


@pytest.fixture
def train(tmp_path) -> Callable[..., Any]:
    """Trains with the registered classes in a new folder; gives the LudwigModel, the results and the model folder.

    The first three quarters of the rows are for training, the rest for validation.
    """

    def run(config: dict[str, Any], data: pd.DataFrame, callbacks: list[Any] | None = None, **options: Any) -> Any:
        from ludwig.api import LudwigModel

        ludwig = LudwigModel(config, backend="local", callbacks=callbacks)
        n = len(data) * 3 // 4
        if "model_resume_path" not in options:
            options["output_directory"] = str(tmp_path / f"run{len(list(tmp_path.iterdir()))}")
        results = ludwig.train(
            training_set=data[:n], validation_set=data[n:], skip_save_processed_input=True, **options
        )
        return ludwig, results, Path(results.output_directory) / "model"

    return run


@pytest.fixture
def reference_nll() -> Callable[..., Any]:
    """Sum of -log p over answer tokens and EOS by plain transformers, each row alone: nothing to pad or mask."""
    import torch

    def compute(model: Any, tokenizer: Any, prompts: list[str], answers: Any, max_length: int | None = None) -> Any:
        total = torch.zeros(())
        for prompt, answer in zip(prompts, answers, strict=True):
            prompt_ids = tokenizer(prompt).input_ids
            answer_ids = [*tokenizer(answer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
            ids = torch.tensor([(prompt_ids + answer_ids)[:max_length]])
            labels = ids.clone()
            labels[0, : len(prompt_ids)] = -100
            total = total + model(input_ids=ids, labels=labels).loss * (labels != -100).sum()
        return total

    return compute


@pytest.fixture
def disk_full_after() -> Callable[[int], Any]:
    """Inside what it gives, the system lets no file grow beyond a size: a write stops halfway, as on a full disk."""
    import resource

    @contextmanager
    def limited(size_bytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of two nodes with a processor each, so that two workers or tasks run at once."""
    pytest.importorskip("ray", reason="Ray is not installed: make ray")
    from ray.cluster_utils import Cluster

    try:
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
    except Exception as error:  # such as no room in shared memory
        pytest.skip(f"Ray cannot start a cluster on this machine: {error}")
    yield nodes.address
    nodes.shutdown()
