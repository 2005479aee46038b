"""Predictions of base, few-shot and tuned model: those of plain transformers, kept as they come, and nothing lost."""

import json

import pytest
import torch
import yaml

from affinage import predictions
from affinage.errors import AffinageError
from affinage.predictions import Request, book_format, predict, repeats
from affinage.runs import all_runs

TRAINER = {"type": "finetune", "epochs": 3, "batch_size": 4, "learning_rate": 0.02}
FIXED = {"split": {"type": "fixed", "column": "split"}}


@pytest.fixture
def trained(tmp_path, llm_config, sentences):
    """Trains a tiny model on 24 rows, with 12 to predict, and opens the run."""
    from affinage import subjects, training

    def go(**sections):
        rows = sentences(40)
        rows["id"] = [f"row-{i}" for i in range(40)]
        rows["label"] = ["court" if len(text) < 20 else "long" for text in rows["input"]]
        rows["split"] = [0] * 24 + [1] * 4 + [2] * 12
        rows.to_json(tmp_path / "rows.jsonl", orient="records", lines=True)
        config = tmp_path / "copie" / "tiny.yaml"
        config.parent.mkdir(exist_ok=True)
        config.write_text(yaml.safe_dump(llm_config(**({"preprocessing": FIXED, "trainer": TRAINER} | sections))))
        training.train(training.plan(config, str(tmp_path / "rows.jsonl")), tmp_path / "results")
        return subjects.open_run(all_runs(tmp_path / "results")[0])

    return go


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plain_model(subject, tuned):
    """Tokenizer and model loaded by transformers and PEFT alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = subject.config.base_model
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    weights = subject.folder / "model" / "model_weights"
    if tuned and (weights / "adapter_config.json").exists():
        model = PeftModel.from_pretrained(model, weights)
    elif tuned:
        model = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
    return AutoTokenizer.from_pretrained(base), model.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    "sections",
    [{}, {"adapter": None}, {"adapter": {"type": "lora", "init_lora_weights": "pissa"}}],
    ids=["lora", "full", "pissa"],
)
def test_answers_and_losses_are_those_of_plain_transformers_row_by_row(trained, tmp_path, reference_nll, sections):
    subject = trained(**sections)
    records = read(predict(subject, Request(batch_size=5), tmp_path / "out"))
    assert [record["id"] for record in records] == [f"row-{i}" for i in range(28, 40)]
    for system in ("base", "tuned"):
        tokenizer, model = plain_model(subject, system == "tuned")
        for record in records:
            ids = tokenizer(record["prompt"], return_tensors="pt").input_ids
            with torch.no_grad():
                found = model.generate(ids, max_new_tokens=24, do_sample=False, pad_token_id=2)[0, ids.shape[1] :]
                nll = reference_nll(model, tokenizer, [record["prompt"]], [record["reference"]])
            assert record[system] == tokenizer.decode(found, skip_special_tokens=True)
            assert record[f"{system}_stop"] == ("end" if 1 in found.tolist() else "length")
            assert record[f"{system}_nll"] == pytest.approx(float(nll), rel=1e-4)
    assert any(record["base"] != record["tuned"] for record in records)


@pytest.mark.slow
def test_work_that_was_stopped_goes_on_and_ends_with_the_same_file(trained, tmp_path, monkeypatch):
    subject, request = trained(), Request(batch_size=4)
    whole = predict(subject, request, tmp_path / "whole").read_bytes()
    calls = []
    answer = predictions._Work.answer

    def stop_at_the_third(self, batch):
        calls.append(batch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return answer(self, batch)

    monkeypatch.setattr(predictions._Work, "answer", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        predict(subject, request, tmp_path / "cut")
    partial = tmp_path / "cut" / "predictions.partial.jsonl"
    partial.write_bytes(partial.read_bytes() + b'{"position": 3, "rec')  # killed while it wrote
    assert predict(subject, request, tmp_path / "cut").read_bytes() == whole
    assert len(calls) == 4 and calls[2] == calls[3]
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["generation.json", "predictions.jsonl"]


@pytest.mark.slow
def test_kept_answers_are_left_aside_when_something_else_is_asked(trained, tmp_path, monkeypatch):
    subject = trained()
    answer = predictions._Work.answer
    calls = []

    def stop_at_the_second(self, batch):
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answer(self, batch)

    monkeypatch.setattr(predictions._Work, "answer", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        predict(subject, Request(batch_size=4), tmp_path / "out")
    short = read(predict(subject, Request(batch_size=4, generation={"max_new_tokens": 2}), tmp_path / "out"))
    assert len(calls) == 2 + 3
    assert {record["tuned_tokens"] for record in short} <= {0, 1, 2}


@pytest.mark.slow
def test_few_shot_asks_the_base_model_with_solved_training_rows(trained, tmp_path):
    long = {"preprocessing": FIXED, "generation": {"max_new_tokens": 8}}
    subject = trained(**long)
    records = read(predict(subject, Request(fewshot=2), tmp_path / "out"))
    asked = json.loads((tmp_path / "out" / "generation.json").read_text())["fewshot"]
    train = {row["id"]: row for row in map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())}
    assert len(asked["ids"]) == 2 and all(int(id_.removeprefix("row-")) < 24 for id_ in asked["ids"])
    assert {train[id_]["label"] for id_ in asked["ids"]} == {"court", "long"}
    assert all({"fewshot", "fewshot_stop", "fewshot_flags", "fewshot_tokens"} <= record.keys() for record in records)
    tokenizer, model = plain_model(subject, tuned=False)
    template = subject.config.prompt.template
    head = "".join(template.format(**train[id_]) + train[id_]["output"] + "\n\n" for id_ in asked["ids"])
    ids = tokenizer(head + records[0]["prompt"], return_tensors="pt").input_ids
    with torch.no_grad():
        found = model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=2)[0, ids.shape[1] :]
    assert records[0]["fewshot"] == tokenizer.decode(found, skip_special_tokens=True).partition("\n\n### Instr")[0]


@pytest.mark.slow
def test_examples_that_fill_the_context_are_refused_with_what_to_do(trained, tmp_path):
    subject = trained()
    with pytest.raises(AffinageError, match=r"fewshot: 12 of 12 prompts leave no room.*fewer examples \(FEWSHOT=\)"):
        predict(subject, Request(fewshot=20), tmp_path / "out")
    with pytest.raises(AffinageError, match="up to 24, the training rows"):
        predict(subject, Request(fewshot=25), tmp_path / "out")


@pytest.mark.slow
def test_an_adapter_folder_answers_as_the_run_it_comes_from(trained, tmp_path):
    from affinage import subjects

    subject = trained()
    adapter = subjects.open_adapter(
        str(subject.folder / "model" / "model_weights"), tmp_path / "copie" / "tiny.yaml", str(tmp_path / "rows.jsonl")
    )
    ours, theirs = (read(predict(s, Request(), tmp_path / s.name)) for s in (subject, adapter))
    assert [(r["base"], r["tuned"]) for r in ours] == [(r["base"], r["tuned"]) for r in theirs]


@pytest.mark.slow
def test_what_cannot_be_evaluated_says_why(trained, tmp_path):
    from affinage import subjects

    subject = trained()
    (run,) = all_runs(tmp_path / "results")
    with pytest.raises(AffinageError, match=r"no rows in the split 'tset'.*train, validation, test"):
        predict(subject, Request(split="tset"), tmp_path / "out")
    with pytest.raises(AffinageError, match="no adapter could be loaded"):
        subjects.open_adapter(str(tmp_path), tmp_path / "copie" / "tiny.yaml")
    rows = (tmp_path / "rows.jsonl").read_text()
    (tmp_path / "rows.jsonl").write_text(rows.replace("copie", "recopie", 1))
    with pytest.raises(AffinageError, match="data has changed since"):
        subjects.open_run(run)
    for weights in run.weights_folder.glob("*.safetensors"):
        weights.unlink()
    with pytest.raises(AffinageError, match="left no model behind"):
        subjects.open_run(run)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([], False), ([7] * 15, False), ([7] * 16, True), (list(range(40)), False), ([1, 2, 3] * 8, True)],
)
def test_an_answer_that_goes_round_in_circles_is_flagged(ids, expected):
    assert repeats(ids) is expected


def test_the_books_format_has_its_four_keys(tmp_path):
    record = {"prompt": "p", "instruction": "i", "input": "n", "reference": "r", "tuned": "t", "base": "b"}
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps(record) + "\n")
    assert book_format(path) == [{"instruction": "i", "input": "n", "output": "r", "model_response": "t"}]
