"""Every YAML in ludwig_configs, as shipped: its header, its keys, and one step on a stand-in of its architecture."""

import re
import tempfile
from pathlib import Path

import pytest
import yaml

from affinage.paths import CONFIGS, ROOT

EVERY = sorted(CONFIGS.rglob("*.yaml"))
# Of language models; those of encoders are trained in test_encoder_runs.
SHIPPED = [path for path in EVERY if "\nmodel_type: ecd\n" not in path.read_text(encoding="utf-8")]
EXPECTED = {
    "voix-passive/petit-llama-qlora",
    "voix-passive/petit-llama-lora",
    "voix-passive/petit-llama-full",
    "alpaca/mistral-7b-qlora",
    "alpaca/llama-3.1-8b-qlora",
    "alpaca/gpt2-lora",
    "quizz/petit-llama-lora",
    "quizz/flan-t5-base-lora",
    "quizz/mistral-7b-instruct-qlora",
    "archives-demo/llama-3.1-8b-qlora",
    "medquad/gpt2-medium-full",
    "medquad/gpt2-medium-lora",
    "sentiment/bloomz-3b-lora-8bit",
    "sentiment/petit-llama-lora",
    "sentiment/bert-base",
    "sentiment/sentence-bert",
    "extraction/bloomz-3b-lora-8bit",
    "extraction/petit-llama-lora",
    "alignment/llama-3.1-8b-dpo-qlora",
    "alignment/llama-3.1-8b-kto-qlora",
    "alignment/mistral-7b-orpo-qlora",
    "alignment/petit-llama-dpo-lora",
    "alignment/petit-llama-orpo-lora",
}
STAND_INS = {
    "models/petit-llama": ("llama", "plain"),
    "mistralai/Mistral-7B-v0.1": ("mistral", "bos"),
    "mistralai/Mistral-7B-Instruct-v0.3": ("mistral", "bos"),
    "meta-llama/Llama-3.1-8B": ("llama", "bos"),
    "meta-llama/Llama-3.1-8B-Instruct": ("llama", "bos"),
    "openai-community/gpt2": ("gpt2", "no_pad"),
    "openai-community/gpt2-medium": ("gpt2", "no_pad"),
    "bigscience/bloomz-3b": ("bloom", "plain"),
}
OF_CAUSAL = [path for path in SHIPPED if yaml.safe_load(path.read_text(encoding="utf-8"))["base_model"] in STAND_INS]


@pytest.fixture(scope="session")
def stand_in(tiny_model, sentences, tmp_path_factory):
    """The folder of a tiny model of a base model's architecture; those of encoder-decoders are made here."""
    from affinage.tiny_models import make_tiny_model

    made = {"google/flan-t5-base": tmp_path_factory.mktemp("t5") / "tiny"}

    def folder(base_model):
        if base_model not in made:
            return tiny_model(*STAND_INS[base_model])
        if not made[base_model].exists():
            texts = ["### Instruction: Copie la phrase. ### Input: ### Response:", *sentences(20)["output"]]
            make_tiny_model("t5", texts * 20, made[base_model])
        return str(made[base_model])

    return folder


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS).with_suffix(""))


def header(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))])


def test_the_configs_that_should_ship_do():
    assert {name(path) for path in EVERY} >= EXPECTED


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_the_header_says_what_how_and_at_what_cost(path):
    text = header(path)
    assert re.search(r"^# Run: +make train", text, re.MULTILINE)
    assert re.search(r"^# Memory and time: .*(measured|MB|GB)", text, re.MULTILINE)
    assert re.search(r"^# Values: ", text, re.MULTILINE)
    if "make train CONFIG=" in text:
        assert f"CONFIG={path.relative_to(ROOT)}" in text


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_holds_only_keys_that_ludwig_knows(path, affinage, stand_in):
    from ludwig.schema.model_types.base import ModelConfig

    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    resolved = ModelConfig.from_dict(config | {"base_model": stand_in(config["base_model"])}).to_dict()

    def unknown(given, known, where=""):
        if isinstance(given, dict):
            for key, value in given.items():
                yield from unknown(value, known[key], f"{where}.{key}") if key in known else [f"{where}.{key}"]

    assert not list(unknown({k: v for k, v in config.items() if not k.endswith("_features")}, resolved))


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_takes_a_step_on_a_stand_in_and_answers_its_test_rows(path, affinage, stand_in, sentences):
    from affinage import training

    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    base_model = stand_in(config["base_model"])
    with tempfile.TemporaryDirectory() as folder:
        rows = sentences(160)
        rows["split"] = [0] * 120 + [1] * 20 + [2] * 20
        rows["instruction"], rows["label"], rows["rejected"] = "Copie la phrase.", "copie", rows["input"] + " non"
        data = Path(folder) / "rows.jsonl"
        rows.to_json(data, orient="records", lines=True)
        overrides = f"base_model={base_model} trainer.train_steps=1 generation.max_new_tokens=8"
        outcome = training.train(training.plan(path, str(data), overrides), Path(folder) / "results")
        assert outcome.run.manifest["training"]["steps"] == 1
        assert outcome.scores["all"]["tuned"]["n"] > 0
        latest = outcome.run.model_folder / "training_checkpoints" / "latest.pt"
        assert latest.stat().st_size < 2_000_000


def full_size_checkpoint(config: dict, hidden: int, intermediate: int, layers: int, kv: int) -> float:
    """Bytes of a LoRA checkpoint at full size: float32 weights and two moments of Adam."""
    shapes = {
        "q_proj": (hidden, hidden),
        "k_proj": (hidden, kv),
        "v_proj": (hidden, kv),
        "o_proj": (hidden, hidden),
        "gate_proj": (hidden, intermediate),
        "up_proj": (hidden, intermediate),
        "down_proj": (intermediate, hidden),
    }
    modules = config["adapter"].get("target_modules", ["q_proj", "v_proj"])
    modules = list(shapes) if modules == ["all-linear"] else modules
    return 12 * layers * config["adapter"]["r"] * sum(sum(shapes[module]) for module in modules)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        ("alpaca/mistral-7b-qlora", {"hidden": 4096, "intermediate": 14336, "layers": 32, "kv": 1024}),
        ("alpaca/llama-3.1-8b-qlora", {"hidden": 4096, "intermediate": 14336, "layers": 32, "kv": 1024}),
        ("archives-demo/llama-3.1-8b-qlora", {"hidden": 4096, "intermediate": 14336, "layers": 32, "kv": 1024}),
        ("voix-passive/petit-llama-qlora", {"hidden": 192, "intermediate": 320, "layers": 5, "kv": 192}),
    ],
)
def test_checkpoints_stay_small_at_full_size(config, shape):
    settings = yaml.safe_load((CONFIGS / f"{config}.yaml").read_text(encoding="utf-8"))
    limit = 1_000_000 if "petit" in config else 200_000_000
    assert full_size_checkpoint(settings, **shape) < limit


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_the_template_uses_the_alpaca_columns_and_ends_on_a_line_of_its_own(path):
    template = yaml.safe_load(path.read_text(encoding="utf-8"))["prompt"]["template"]
    assert re.findall(r"{(\w+)}", template) == ["instruction", "input"]
    assert template.endswith(":\n")
