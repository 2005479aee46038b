"""Runs of encoders with a head: trained, stopped, resumed, loaded again and evaluated like runs of language models."""

import json
import random

import pandas as pd
import pytest
import yaml

from affinage.errors import AffinageError
from affinage.paths import CONFIGS

GOOD, BAD = "brillant juste soigné subtil".split(), "plat confus pesant bâclé".split()
TRAINER = {"epochs": 6, "batch_size": 8, "learning_rate": 0.0005, "validation_metric": "loss"}


def rows(n, seed=0):
    """Reviews of one adjective or two; the split of each is fixed."""
    draw, made = random.Random(seed), []
    for i in range(n):
        label, words = ("positif", GOOD) if i % 3 else ("négatif", BAD)
        text = " et ".join(draw.choices(words, k=1 + i % 2))
        made.append({"id": f"r-{i}", "input": f"Un film {text}.", "output": label, "split": (0, 0, 0, 1, 2)[i % 5]})
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny random BERT, rows, and a config like the shipped one."""
    from affinage.tiny_models import make_tiny_model

    folder = tmp_path_factory.mktemp("encoder")
    make_tiny_model("bert", [row["input"] for row in rows(60)], folder / "bert")
    pd.DataFrame(rows(100)).to_json(folder / "rows.jsonl", orient="records", lines=True, force_ascii=False)
    (folder / "reviews").mkdir()
    config(folder)
    return folder


def config(folder, name="bert", encoder=None, trainer=None, **sections):
    """Writes a config; None removes a key."""
    encoder = {"type": "bert", "pretrained_model_name_or_path": str(folder / "bert"), "trainable": True} | (
        encoder or {}
    )
    content = {
        "model_type": "ecd",
        "input_features": [{"name": "input", "type": "text", "encoder": encoder}],
        "output_features": [{"name": "output", "type": "category"}],
        "preprocessing": {"split": {"type": "fixed", "column": "split"}},
        "trainer": TRAINER | (trainer or {}),
        **sections,
    }
    content["trainer"] = {key: value for key, value in content["trainer"].items() if value is not None}
    path = folder / "reviews" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


def planned(place, path, overrides=""):
    from affinage import training

    return training.plan(path, str(place / "rows.jsonl"), overrides)


def history(run):
    return [json.loads(line) for line in (run.folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def trained(place):
    """A finished run, and its records."""
    from affinage import training

    outcome = training.train(planned(place, place / "reviews" / "bert.yaml"), place / "results")
    return outcome.run, outcome.records


@pytest.mark.slow
def test_a_run_learns_and_says_what_it_did(trained):
    run, records = trained
    manifest, steps = run.manifest, [entry for entry in history(run) if "lr" in entry]
    assert manifest["status"] == "finished" and manifest["model_type"] == "ecd"
    assert manifest["baseline"] == {"label": "positif", "rows": 40, "of": 60}
    training = manifest["training"]
    assert [entry["step"] for entry in steps] == list(range(1, 49)) and training["steps"] == training[
        "planned_steps"
    ] == 48
    assert training["evaluations"][-1]["validation_loss"] < training["evaluations"][0]["validation_loss"]
    assert training["evaluations"][-1]["validation_accuracy"] == 1.0
    assert training["trainable_parameters"] == training["parameters"] > 300_000
    assert training["tokens"] == sum(entry["tokens"] for entry in steps) and training["peak_memory"]["resident"] > 0
    assert [record["base"] for record in records] == ["positif"] * 20
    assert {record["tuned"] for record in records} == {"positif", "négatif"}
    scores = manifest["metrics"]["scores"]["all"]
    assert scores["tuned"]["exact_match"] == 1.0 and 0.5 < scores["base"]["exact_match"] < 1
    assert (run.folder / "plots" / "loss.png").stat().st_size > 5000


@pytest.mark.slow
def test_a_model_that_is_loaded_again_answers_the_same_and_as_transformers_does(trained, place):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, BertConfig, BertModel

    from affinage.predictions import Request, predict
    from affinage.subjects import open_to_evaluate

    run, records = trained
    path = predict(open_to_evaluate(run), Request(batch_size=4), run.folder / "evaluation" / "default")
    again = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["tuned"] for row in again] == [row["tuned"] for row in records]
    assert [row["id"] for row in again] == [row["id"] for row in records]
    weights = load_file(run.model_folder / "model_weights.safetensors")
    [prefix] = {
        name.partition("embeddings.word_embeddings")[0] for name in weights if "embeddings.word_embeddings" in name
    }
    bert = BertModel(BertConfig.from_pretrained(place / "bert")).eval()
    own = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    assert not bert.load_state_dict(own, strict=False).missing_keys
    [head], [bias] = (
        [t for n, t in weights.items() if "decoder_obj" in n and n.endswith(end)] for end in ("weight", "bias")
    )
    labels = json.loads((run.model_folder / "training_set_metadata.json").read_text("utf-8"))["output"]["idx2str"]
    tokenizer = AutoTokenizer.from_pretrained(place / "bert")
    for row in again:
        with torch.no_grad():  # alone, so that there is no padding
            pooled = bert(**tokenizer(row["prompt"], return_tensors="pt")).pooler_output
            probabilities = torch.softmax(pooled @ head.T + bias, -1)[0]
        assert labels[int(probabilities.argmax())] == row["tuned"]
        assert float(probabilities.max()) == pytest.approx(row["tuned_probability"], abs=1e-5)


@pytest.mark.slow
def test_a_run_that_is_cut_off_goes_on_as_if_it_had_not_been(trained, place, monkeypatch):
    from ludwig.callbacks import Callback

    from affinage import training
    from affinage.ludwig_ext import encoder_trainer

    class CutOff(Callback):
        def on_batch_end(self, trainer, progress_tracker, save_path, sync_step=True, **kwargs):
            if progress_tracker.steps == 13:  # in the middle of the second epoch
                raise SystemExit("cut off")

    monkeypatch.setattr(encoder_trainer, "CHECKPOINT_SECONDS", 0)
    ready = planned(place, place / "reviews" / "bert.yaml")
    run = training.start(ready, place / "results")
    with pytest.raises(SystemExit):
        training.complete(run, ready, [CutOff()])
    assert run.status == "failed" and history(run)[-1]["step"] == 13
    outcome = training.complete(run, training.plan_again(run))
    whole, records = trained
    assert [entry for entry in history(run) if "lr" in entry] == [entry for entry in history(whole) if "lr" in entry]
    assert run.manifest["training"]["evaluations"] == whole.manifest["training"]["evaluations"]
    assert [record["tuned_probability"] for record in outcome.records] == [r["tuned_probability"] for r in records]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "trained_part"),
    [
        ({"trainable": False}, 0.01),
        ({"adapter": {"type": "lora", "target_modules": ["query", "value"]}}, 0.05),
        ({"type": "auto_transformer", "reduce_output": "mean"}, 1.0),
    ],
)
def test_other_ways_to_train_an_encoder_are_loaded_again_as_well(encoder, trained_part, place):
    from affinage import training
    from affinage.predictions import Request, predict
    from affinage.subjects import open_to_evaluate

    path = config(place, "other", encoder, {"epochs": 1})
    outcome = training.train(planned(place, path), place / "results")
    counts = outcome.run.manifest["training"]
    assert 0 < counts["trainable_parameters"] / counts["parameters"] <= trained_part
    answers = predict(open_to_evaluate(outcome.run), Request(), outcome.run.folder / "evaluation" / "default")
    again = [json.loads(line)["tuned_probability"] for line in answers.read_text(encoding="utf-8").splitlines()]
    assert again == pytest.approx([record["tuned_probability"] for record in outcome.records], abs=1e-6)


REFUSED = [
    ({"encoder": {"reduce_output": "mean"}}, "'mean' would count padding"),
    ({"encoder": {"type": "distilbert"}}, "Allowed: auto_transformer, bert"),
    ({"encoder": {"trianable": True}}, "Did you mean 'trainable'?"),
    ({"trainer": {"validation_metric": None}}, "Write 'validation_metric: loss'."),
    ({"trainer": {"gradient_accumulation_steps": 4}}, "Raise trainer.batch_size instead."),
    ({"trainer": {"batch_size": "auto"}}, "'auto' is not looked for with encoders."),
    ({"trainer": {"skip_all_evaluation": True}}, "True has no place in runs of encoders."),
    ({"trainer": {"lerning_rate": 1}}, "Did you mean 'learning_rate'?"),
    ({"output_features": [{"name": "output", "type": "number"}]}, "Allowed: category"),
    ({"base_model": "x"}, "unknown key 'base_model'"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message[:25] for _, message in REFUSED])
def test_what_would_not_be_performed_is_refused_with_what_to_do(change, message, place):
    with pytest.raises(AffinageError) as error:
        planned(place, config(place, "refused", **change))
    assert message in str(error.value)


def test_texts_that_would_be_cut_and_labels_that_nobody_learns_are_refused(place):
    from affinage import preview, training

    path = config(place, "short", preprocessing={"split": {"type": "fixed", "column": "split"}})
    ready = planned(place, path, "input_features.0.preprocessing.max_sequence_length=5")
    with pytest.raises(AffinageError, match=r"training texts .* would be cut: the limit is 5 tokens"):
        preview.refuse(ready)
    preview.refuse(planned(place, path))
    odd = place / "odd.jsonl"
    pd.DataFrame([*rows(30), {"id": "x", "input": "Bof.", "output": "neutre", "split": 2}]).to_json(
        odd, orient="records", lines=True
    )
    with pytest.raises(AffinageError, match=r"labels that no training row has: neutre\. Allowed: négatif, positif"):
        training.plan(path, str(odd))


def test_the_check_shows_texts_labels_and_steps(place, capsys):
    from affinage.preview import preview

    seen = preview(planned(place, place / "reviews" / "bert.yaml"))
    assert seen.settings["labels"] == "négatif 20, positif 40" and seen.steps.total == 48
    assert seen.sample[1] == ("négatif", True) and seen.memory is None and seen.curve.peak == 0.0005
    assert seen.splits["test"].prompt.max() <= 12 and not seen.splits["train"].answer.any()
    assert seen.parameters.trainable == seen.parameters.total > 300_000


def test_what_has_no_meaning_for_an_encoder_says_so(tmp_path):
    from affinage import kfold, sweeps
    from affinage.answering import Answerer
    from affinage.export import gguf_adapter, gguf_model, merging, ollama_model
    from affinage.footprint import fitting
    from affinage.publishing import layout
    from affinage.runs import Run
    from affinage.subjects import open_run

    run = Run(tmp_path / "20261121-100000", {"model_type": "ecd", "status": "finished"})
    asked = [
        lambda: open_run(run),
        lambda: Answerer.of_run(run),
        lambda: merging.merge(run),
        lambda: gguf_model.export_gguf(run),
        lambda: gguf_adapter.export_adapter(run),
        lambda: ollama_model.prepare(run, "x", "q8_0"),
        lambda: layout.publication_of(run, "me/x"),
    ]
    for ask in asked:
        with pytest.raises(AffinageError, match="an encoder that answers labels, which cannot"):
            ask()
    path = tmp_path / "encoder.yaml"
    path.write_text("model_type: ecd\n", encoding="utf-8")
    for refuse in (
        lambda: kfold.start(path, "", "", 3, 0, tmp_path),
        lambda: sweeps.start(path, "", "", path, tmp_path),
        lambda: fitting.question(path).__enter__(),
    ):
        with pytest.raises(AffinageError, match=r"an encoder that answers labels, which cannot|the key 'trainer'"):
            refuse()


SHIPPED = [path for path in sorted(CONFIGS.rglob("*.yaml")) if "\nmodel_type: ecd\n" in path.read_text("utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_config_takes_a_step_on_a_tiny_encoder(path, place):
    from affinage import training

    overrides = f"input_features.0.encoder.pretrained_model_name_or_path={place / 'bert'} trainer.train_steps=1"
    outcome = training.train(planned(place, path, overrides), place / "results")
    assert outcome.run.manifest["training"]["steps"] == 1 and len(outcome.records) == 20
