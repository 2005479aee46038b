"""Model cards read back with the Hub's own library, and their numbers against the run's files."""

import math
import re
import runpy
import shutil
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from affinage.data import sha256
from affinage.errors import AffinageError
from affinage.publishing.card import placeholders
from affinage.runs import find_run, write_json

made = runpy.run_path(str(Path(__file__).with_name("carded_runs.py")))
(
    finished,
    copied,
    card_of,
    metrics_of,
    weights,
    table,
    section,
    questions,
    predictions,
    changed,
    evaluated,
    CONFIG,
    LORA,
) = (
    made[name]
    for name in (
        "finished",
        "copied",
        "card_of",
        "metrics_of",
        "weights",
        "table",
        "section",
        "questions",
        "predictions",
        "changed",
        "evaluated",
        "CONFIG",
        "LORA",
    )
)
NF4 = {"bits": 4, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bfloat16", "bnb_4bit_use_double_quant": True}


def test_the_metadata_read_back_is_what_is_known(finished):
    text = card_of(finished, base_revision="c" * 40, language=("fr", "no"))
    data = ModelCard(text).data
    assert (data.base_model, data.base_model_relation, data.library_name) == (
        "affinage-tests/petit-llama",
        "adapter",
        "peft",
    )
    assert (data.license, data.language, data.pipeline_tag) == ("apache-2.0", ["fr", "no"], "text-generation")
    assert data.tags == ["ludwig", "affinage", "lora"]
    assert data.datasets is None
    assert ModelCard(f"---\n{data.to_yaml()}\n---\n").data.to_dict() == data.to_dict()


def test_the_model_index_holds_every_score_of_the_tuned_model_with_n_and_interval(finished):
    data, tuned = ModelCard(card_of(finished)).data, metrics_of(finished)["systems"]["tuned"]
    assert data.model_name == "tiny-copie"
    assert {result.metric_type: result.metric_value for result in data.eval_results} == pytest.approx(
        {name: entry["value"] for name, entry in tuned.items()}, abs=1e-6
    )
    match = next(result for result in data.eval_results if result.metric_type == "exact_match")
    low, high = (f"{tuned['exact_match'][end]:.3f}" for end in ("low", "high"))
    assert match.metric_name == f"exact match (n = 45, 95 % interval {low} to {high})"
    assert (match.dataset_split, match.dataset_type, match.task_type) == ("test", "voix-passive", "text-generation")


def test_the_results_are_those_of_the_newest_metrics_file(copied):
    text, metrics = card_of(copied), metrics_of(copied)
    for system, column in (("base", 0), ("tuned", 1)):
        entry = metrics["systems"][system]["exact_match"]
        expected = f"{entry['value']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"
        assert table(text, "metric")["exact match ↑"][column] == expected
    difference = metrics["differences"]["tuned - base"]["exact_match"]
    line = re.search(r"^\| exact match \|(.*)\|$", section(text, "Results"), re.MULTILINE)[1].split("|")
    value, better, worse, equal, p, means = (cell.strip() for cell in line)
    assert value.startswith(f"{difference['value']:+.3f} (") and p == "&lt; 0.001" and means == "better"
    assert [int(n) for n in (better, worse, equal)] == [difference[key] for key in ("better", "worse", "equal")]
    assert "significantly better" in text.split("\n## ")[0]
    assert table(text, "label").keys() == {"negation", "passive"}
    evaluated(copied, predictions(questions(30, seed=5), skill=0.1), suite="alpaca")
    assert "On 30 rows" in card_of(copied) and "Scores of other suites" in card_of(copied)


@pytest.mark.parametrize(
    ("kind", "library", "relation"),
    [
        ("full", "transformers", "finetune"),
        ("merged", "transformers", "finetune"),
        ("gguf", "llama-cpp-python", "quantized"),
    ],
)
def test_figures_count_as_a_model_s_own_only_when_they_were_measured_on_it(copied, kind, library, relation):
    (copied / "export").mkdir()
    (copied / "export" / "copie-q8_0.gguf").touch()
    check = {"prompts": 5, "largest_difference": 0.0123, "same_next_token": 5, "same_answers": 4}
    write_json(copied / "export" / "gguf.json", {"q8_0": {"file": "copie-q8_0.gguf", "check": check}})
    text = card_of(copied, kind)
    data = ModelCard(text).data
    assert (data.library_name, data.base_model_relation) == (library, relation)
    assert bool(data.eval_results) == (kind == "full")
    assert ("were measured on the run itself, not on the files of this repository" in text) == (kind != "full")
    measured = "| `copie-q8_0.gguf` | 0.012 | 5 of 5 prompts | 4 of 5 |"
    assert ("hf.co/ann/tiny-copie:q8_0" in text) == (measured in text) == (kind == "gguf")
    assert placeholders(text) == []


def test_a_gguf_card_without_a_file_is_refused(finished):
    with pytest.raises(AffinageError, match="no GGUF file"):
        card_of(finished, "gguf")


def test_a_run_without_scores_says_what_is_missing(copied):
    folder = copied / "evaluation" / "voix-passive"
    (folder / "metrics.json").write_text('{"n": 45, "systems"')
    cases = [card_of(copied)]
    (folder / "metrics.json").unlink()
    cases.append(card_of(copied))
    (folder / "predictions.jsonl").rename(folder / "predictions.partial.jsonl")
    cases.append(card_of(copied))
    shutil.rmtree(copied / "evaluation")
    cases.append(card_of(copied))
    said = ["scores of the suite voix-passive cannot be read", "not scored", "was not finished", "was not evaluated"]
    for text, expected in zip(cases, said, strict=True):
        assert expected in text.split("\n## ")[0] and expected in section(text, "Results")
        assert re.search(r"run `make (evaluate|score) RUN=20261120-100001`", text)
        assert ModelCard(text).data.eval_results is None and placeholders(text) == []
    scores = {side: {"exact_match": 0.25, "chrf": 50.0, "n": 45, "cut": 0} for side in ("base", "tuned")}
    find_run(str(copied)).record(metrics={"rows_in_split": 45, "scores": {"all": scores}})
    assert table(section(card_of(copied), "Results"), "metric")["exact match (0 to 1)"] == ["0.250", "0.250"]


def test_few_rows_and_examples_are_said(copied):
    rows = predictions(questions(6))
    shots = {"fewshot_tokens": 5, "fewshot_stop": "end", "fewshot_flags": []}
    shutil.rmtree(copied / "evaluation")
    evaluated(copied, [row | {"fewshot": row["base"]} | shots for row in rows], fewshot={"k": 3})
    text = card_of(copied)
    assert "Beware: n = 6: fewer than 30 rows, too few to tell systems apart." in text
    assert "shown 3 solved training rows" in text and "fine-tuned against base model with examples" in text
    assert len(table(text, "metric")["exact match ↑"]) == 3


def test_a_value_that_is_no_number_is_named_and_not_shown(copied):
    metrics = metrics_of(copied)
    for system in metrics["systems"].values():
        system["perplexity"] = {"value": math.nan, "low": None, "high": None}
    metrics["systems"]["tuned"]["chrf"] |= {"low": None, "high": None}
    metrics["differences"]["tuned - base"]["perplexity"]["value"] = None
    metrics_of(copied, systems=metrics["systems"], differences=metrics["differences"])
    text = card_of(copied)
    assert "Without a value that is a number: perplexity." in text
    assert "(no interval)" in table(text, "metric")["chrF ↑"][1]
    assert not re.search(r"\b(nan|none|null)\b", section(text, "Results") + text.split("\n# ")[0], re.IGNORECASE)
    assert "perplexity" not in {result.metric_type for result in ModelCard(text).data.eval_results}


@pytest.mark.parametrize(
    ("adapter", "quantization", "expected"),
    [
        (
            LORA,
            NF4,
            ["LoRA, rank 4, alpha 8; on q\\_proj, v\\_proj", "4-bit (nf4), computed in bfloat16", "load_in_4bit=True"],
        ),
        (LORA | {"use_rslora": True, "use_dora": True}, None, ["(rsLoRA), weight decomposition (DoRA)", "| float32 |"]),
        ({}, None, ["full fine-tuning: every weight was trained"]),
        (LORA, {"bits": 8, "llm_int8_threshold": 6.0}, ["load_in_8bit=True, llm_int8_threshold=6.0", "| 8-bit |"]),
    ],
    ids=["qlora", "rslora-dora", "full", "8-bit"],
)
def test_the_method_is_the_run_s_own(copied, adapter, quantization, expected):
    weights(copied, adapter)
    (copied / "config.yaml").write_text(yaml.safe_dump(changed(CONFIG, quantization=quantization)))
    text = card_of(copied, "adapter" if adapter else "full")
    assert [words for words in expected if words not in text] == []
    assert "61,440 of 1,968,192 (3.12%)" in text and "A processor, 2 cores" in text
    tags = ModelCard(text).data.tags
    assert ("dora" in tags, "rslora" in tags) == (bool(adapter.get("use_dora")),) * 2


def test_what_is_known_of_the_rows_comes_from_their_own_card_and_manifest(copied):
    assert "no manifest.json came with these rows" in card_of(copied).replace("\\", "")
    rows = Path(find_run(str(copied)).manifest["data"]["dataset"])
    own = copied / "données"
    shutil.copytree(rows, own)
    run = find_run(str(copied))
    run.record(data=run.manifest["data"] | {"dataset": str(own)})
    (own / "README.md").write_text("---\nlanguage: fr\nlicense: cc0-1.0\npretty_name: Été\n---\n", encoding="utf-8")
    step = {"step": "variants", "kind": "language model", "reasons": {"added: synthetic rows": {"rows": 1200}}}
    model = {"name": "llama3.1:8b", "digest": "abc123"}
    manifest = {"affinage": "0.1.0", "steps": [step], "model": model, "options": {"source": "hf://user/rows@main"}}
    write_json(own / "manifest.json", manifest)
    text = card_of(copied)
    for words in ("**Silver standard.**", "variants; model llama3.1:8b, digest `abc123`", "1,200 rows are synthetic"):
        assert words in text
    assert "4,000 rows of Été (fr)" in text and "- Data: cc0-1.0." in text
    assert (ModelCard(text).data.datasets, ModelCard(text).data.language) == (["user/rows"], ["fr"])
    (own / "train.jsonl").write_text("{}\n")
    gone = card_of(copied)
    assert "no longer those of the run" in gone and "Silver" not in gone and "cc0" not in gone


def judge(folder, **entries):
    answers = folder / "evaluation" / "voix-passive" / "predictions.jsonl"
    estimate = {"value": 71.25, "low": 60.5, "high": 80.0}
    summary = {
        "demo": False,
        "mode": "score",
        "n": 40,
        "rows": 45,
        "coverage": 0.975,
        "predictions_sha256": sha256(answers),
        "judge": {"name": "llama3.1:8b", "digest": "e" * 64, "quantization": "Q4_K_M", "parameter_size": "8.0B"},
        "rubrics": {"note-0-100": "f" * 64},
        "controls": [{"passed": True}, {"passed": False}],
        "systems": {"tuned": {"mean": estimate}},
        "differences": {"tuned - base": estimate | {"n": 39, "p": 0.0001}},
        "warnings": ["only 40 of 45 rows were judged."],
    } | entries
    path = folder / "evaluation" / "voix-passive" / "judge" / f"{summary['mode']}-{len(entries)}" / "summary.json"
    path.parent.mkdir(parents=True)
    write_json(path, summary)


def test_a_judge_is_named_with_its_digest_and_coverage_and_a_demo_never_is(copied):
    judge(copied, demo=True)
    judge(copied, judge={"name": "demo-judge:latest"}, mode="rubric")
    assert "No language model judged these answers." in section(card_of(copied), "Judged by a language model")
    judge(copied)
    judge(copied, mode="pairwise", predictions_sha256="0" * 64)
    text = section(card_of(copied), "Judged by a language model")
    assert "A language model's judgement, not a person's" in text and "demo" not in text
    found = table(text, "how")
    assert (found["digest"], found["quantization"]) == (["e" * 64], ["Q4\\_K\\_M"])
    assert found["coverage"] == ["97.5% of the items ended in a verdict"] and found["rows judged"] == ["40 of 45"]
    assert "| mean score, fine-tuned | 71.2 (60.5 to 80.0) |" in text and "only 40 of 45 rows were judged" in text
    assert "1 judgement of other answers than these is left out" in text
