"""A run that was published is loaded back from the Hub by its id, in each way people load one: the same answers."""

import json
import runpy
from pathlib import Path

import pytest
import torch
import yaml

from affinage.runs import all_runs

helper = runpy.run_path(str(Path(__file__).with_name("published_runs.py")))
HubServer, REPO, BASE = (helper[name] for name in ("HubServer", "REPO", "BASE"))
FOUR_BITS = {"bits": 4, "bnb_4bit_compute_dtype": "float32"}
WORDS, NOUNS = "le un la ce mon ton".split(), "chat jardin soleil livre pomme mer".split()


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def published(hub, tmp_path_factory, tiny_model):
    """A tiny QLoRA run, trained, its answers to the test rows, and its upload; the base model is there as well."""
    from affinage import subjects, training
    from affinage.predictions import Request, predict

    folder = tmp_path_factory.mktemp("published")
    rows = [
        {"id": f"r{i}", "instruction": "copie", "input": text, "output": text.upper(), "split": (i >= 20) + (i >= 24)}
        for i, text in enumerate(f"{word} {noun}" for word in WORDS for noun in NOUNS)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = folder / "copie" / "tiny.yaml"
    config.parent.mkdir()
    content = {
        "model_type": "llm",
        "base_model": tiny_model("llama", "plain"),
        "quantization": FOUR_BITS,
        "adapter": {"type": "lora", "dropout": 0.0},
        "prompt": {"template": "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"},
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "preprocessing": {"split": {"type": "fixed", "column": "split"}},
        "generation": {"max_new_tokens": 16},
        "trainer": {"type": "finetune", "epochs": 4, "batch_size": 4, "learning_rate": 0.02},
    }
    config.write_text(yaml.safe_dump(content))
    training.train(training.plan(config, str(folder / "rows.jsonl")), folder / "results")
    (run,) = all_runs(folder / "results")
    answers = predict(subjects.open_run(run), Request(), folder / "answers")
    helper["add_base"](hub, content["base_model"])
    with pytest.MonkeyPatch.context() as monkeypatch:
        hub.use(monkeypatch, folder / "home")
        helper["upload"](*helper["options"](run))
    return run, config, [json.loads(line) for line in answers.read_text().splitlines()]


@pytest.fixture
def online(hub, published, monkeypatch, tmp_path):
    """This process uses the Hub on loopback, with an empty cache."""
    hub.use(monkeypatch, tmp_path / "home")


def four_bits():
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )


def answered(model, tokenizer, record):
    """The greedy answer of a model of transformers to the prompt of a record."""
    ids = tokenizer(record["prompt"], return_tensors="pt").input_ids
    with torch.no_grad():
        found = model.eval().generate(ids, max_new_tokens=16, do_sample=False, pad_token_id=2)[0, ids.shape[1] :]
    return tokenizer.decode(found, skip_special_tokens=True)


def messages(record):
    return [{"role": "system", "content": record["instruction"]}, {"role": "user", "content": record["input"]}]


@pytest.mark.slow
def test_the_run_learned_something_so_that_equal_answers_mean_something(published):
    _, _, records = published
    assert len(records) == 12 and all(record["base"] != record["tuned"] for record in records)
    assert len({record["tuned"] for record in records}) > 1


@pytest.mark.slow
def test_the_adapter_on_its_base_model_answers_as_the_run(online, published):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(BASE, quantization_config=four_bits(), dtype=torch.float32)
    model, tokenizer = PeftModel.from_pretrained(base, REPO), AutoTokenizer.from_pretrained(REPO)
    assert [answered(model, tokenizer, record) for record in published[2]] == [r["tuned"] for r in published[2]]


@pytest.mark.slow
def test_the_adapter_alone_finds_its_base_model_and_answers_as_the_run(online, published):
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    model = AutoPeftModelForCausalLM.from_pretrained(REPO, quantization_config=four_bits(), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(REPO)
    for record in published[2]:
        assert answered(model, tokenizer, record) == record["tuned"]
        asked = tokenizer.apply_chat_template(messages(record), tokenize=False)
        assert tokenizer(asked, add_special_tokens=False).input_ids == tokenizer(record["prompt"]).input_ids


@pytest.mark.slow
def test_a_pipeline_with_the_tokenizer_of_the_repository_answers_messages_as_the_run(online, published):
    from transformers import pipeline

    loading = {"quantization_config": four_bits(), "dtype": torch.float32}
    ask = pipeline("text-generation", model=REPO, tokenizer=REPO, model_kwargs=loading)
    for record in published[2]:
        said = ask(messages(record), max_new_tokens=16, do_sample=False, return_full_text=False)
        assert said[0]["generated_text"] == record["tuned"]


@pytest.mark.slow
def test_an_adapter_is_evaluated_by_its_id_on_the_hub(hub, online, published, tmp_path):
    from affinage import subjects
    from affinage.predictions import Request, predict

    run, config, records = published
    hub.requests.clear()
    rows = run.manifest["data"]["dataset"]
    named = config.with_name("hub.yaml")
    named.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"base_model": BASE}))
    subject = subjects.open_adapter(REPO, named, rows, tmp_path / "results")
    assert subject.name == "jeanne--tiny-copie"
    assert hub.asked("/adapter_model.safetensors") and hub.asked(f"/{BASE}/resolve/")
    found = [json.loads(line) for line in predict(subject, Request(), tmp_path / "out").read_text().splitlines()]
    assert [(r["id"], r["base"], r["tuned"]) for r in found] == [(r["id"], r["base"], r["tuned"]) for r in records]


@pytest.mark.slow
@pytest.mark.parametrize("repo", ["jeanne/none", "user/tiny"])
def test_an_id_that_holds_no_adapter_is_said(online, published, repo):
    from affinage import subjects
    from affinage.errors import AffinageError

    with pytest.raises(AffinageError, match="no adapter could be loaded"):
        subjects.open_adapter(repo, published[1])
