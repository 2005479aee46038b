"""A run on a tiny T5 in everything that is done with a run: looked ahead at, talked to, merged, and what is refused."""

import pandas as pd
import pytest
import torch
import transformers
import yaml

from affinage.errors import AffinageError

WORDS = "chat souris livre pomme rouge grand petit jardin maison soleil".split()
TRAINER = {"type": "finetune", "epochs": 4, "batch_size": 4, "eval_batch_size": 8, "learning_rate": 0.05}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with rows, a tiny T5 whose tokenizer knows their words, and configs as they are written."""
    from affinage.tiny_models import make_tiny_model, texts_of

    folder = tmp_path_factory.mktemp("t5")
    texts = [f"{WORDS[i % 10]} {WORDS[(3 * i + 1) % 10]}" for i in range(20)]
    table = pd.DataFrame({"instruction": "copie", "input": texts, "output": [text.upper() for text in texts]})
    table["split"] = [0] * 12 + [1] * 4 + [2] * 4
    table.to_json(folder / "rows.jsonl", orient="records", lines=True)
    make_tiny_model("t5", texts_of("copie", str(folder / "rows.jsonl")), folder / "base")

    def write(**sections):
        config = {
            "model_type": "llm",
            "base_model": str(folder / "base"),
            "input_features": [{"name": "prompt", "type": "text"}],
            "output_features": [{"name": "output", "type": "text"}],
            "prompt": {"template": "{instruction} : {input}\n"},
            "preprocessing": {"split": {"type": "fixed", "column": "split"}},
            "adapter": {"type": "lora", "dropout": 0.0},
            "generation": {"max_new_tokens": 8},
            "trainer": TRAINER,
            **sections,
        }
        path = folder / "copie" / "tiny.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump({k: v for k, v in config.items() if v is not None}), encoding="utf-8")
        return path, str(folder / "rows.jsonl")

    return write


@pytest.fixture(scope="module", params=[{}, {"adapter": None}], ids=["lora", "full"])
def outcome(request, project, tmp_path_factory):
    from affinage import training

    return training.train(training.plan(*project(**request.param)), tmp_path_factory.mktemp("results"))


def test_what_is_looked_ahead_at_is_what_is_trained(project):
    from affinage import preview, training

    ahead = preview.preview(training.plan(*project()))
    assert "of the prompt and of the answer" in ahead.settings["row length"]
    assert [trained for _, trained in ahead.sample] == [False, True]
    assert all(text.endswith("</s>") for text, _ in ahead.sample)
    assert ahead.memory.total > 0 and ahead.steps.total == 12
    assert all(row.answer_start + row.answer_tokens == len(row.ids) for row in ahead.splits["train"].rows.rows)


def test_a_saved_run_says_what_plain_transformers_say_and_what_it_streams(outcome):
    from affinage.answering import Answerer
    from affinage.runs import Run

    answerer = Answerer.of_run(Run(outcome.run.folder))
    model, tokenizer = plain(outcome.run)
    for record in outcome.records:
        ids = tokenizer(record["prompt"], return_tensors="pt").input_ids
        said = model.generate(input_ids=ids, max_new_tokens=8, do_sample=False)[0]
        assert record["tuned"] == tokenizer.decode(said, skip_special_tokens=True)
        assert record["tuned_stop"] == ("end" if 1 in said.tolist() else "length")
        for beams in (1, 2):
            stream = answerer.ask("tuned", answerer.encode(record["prompt"]), answerer.settings(num_beams=beams))
            pieces = "".join(stream)
            assert pieces == stream.ending.text and stream.ending.prompt_tokens == ids.shape[1]
            if beams == 1:
                assert (pieces, stream.ending.stop) == (record["tuned"], record["tuned_stop"])
    assert any((r["base"], r["base_stop"]) != (r["tuned"], r["tuned_stop"]) for r in outcome.records)


def plain(run):
    """The run's model and tokenizer, loaded by transformers and PEFT alone."""
    from peft import AutoPeftModelForSeq2SeqLM

    weights = run.folder / "model" / "model_weights"
    if (weights / "adapter_config.json").exists():
        model = AutoPeftModelForSeq2SeqLM.from_pretrained(weights)
    else:
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(weights)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(weights)


def test_a_merged_model_says_what_the_adapter_does(outcome, tmp_path):
    from affinage.export.merging import merge

    folder = merge(outcome.run, folder=tmp_path / "merged")
    assert not (folder / "chat_template.jinja").exists()  # its prompts would lack the encoder's end-of-text token
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for record in outcome.records:
        ids = tokenizer(record["prompt"], return_tensors="pt").input_ids
        with torch.no_grad():
            said = model.generate(input_ids=ids, max_new_tokens=8, do_sample=False)[0]
        assert record["tuned"] == tokenizer.decode(said, skip_special_tokens=True)


def test_what_an_encoder_decoder_cannot_become_is_said(outcome):
    from affinage.export.gguf_adapter import export_adapter
    from affinage.export.gguf_model import export_gguf
    from affinage.export.ollama_model import prepare
    from affinage.publishing.checks import encoder_problems

    for export, to in (
        (lambda: export_gguf(outcome.run), "llama.cpp"),
        (lambda: export_adapter(outcome.run), "llama.cpp"),
        (lambda: prepare(outcome.run, "t5", "q8_0"), "Ollama"),
    ):
        with pytest.raises(AffinageError, match=rf"is an encoder-decoder \(t5\), which is not written for {to}"):
            export()
    assert len(encoder_problems(outcome.run)) == 1


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"trainer": {**TRAINER, "packing": True}}, "packing puts several rows into one sequence"),
        ({"trainer": {"type": "dpo", "learning_rate": 0.001}}, "'dpo' is computed for causal models alone"),
        (
            {"adapter": None, "adapters": {"adapters": {"a": {"type": "lora"}, "b": {"type": "lora"}}}},
            "several adapters are for causal models alone",
        ),
    ],
    ids=["packing", "dpo", "adapters"],
)
def test_what_it_cannot_be_trained_with_is_said_before_anything_is_trained(project, sections, message):
    from affinage import training

    with pytest.raises(AffinageError, match=message):
        training.plan(*project(**sections))


def test_rows_that_are_cut_are_counted_for_the_prompt_and_for_the_answer(project):
    from affinage import training
    from affinage.token_lengths import refuse_truncation

    split = {"split": {"type": "fixed", "column": "split"}}
    ready = training.plan(*project(preprocessing={**split, "global_max_sequence_length": 4}))
    with pytest.raises(AffinageError, match="limit is 4 tokens of the prompt and of the answer"):
        refuse_truncation(ready, allow_truncation=False)
    ready = training.plan(*project(preprocessing={**split, "global_max_sequence_length": 64}))
    refuse_truncation(ready, allow_truncation=False)
