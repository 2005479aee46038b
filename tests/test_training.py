"""A run from a YAML file to its folder."""

import json
import math

import pandas as pd
import pytest
import yaml

from affinage.errors import AffinageError

TRAINER = {"type": "finetune", "epochs": 2, "batch_size": 4, "eval_batch_size": 8, "learning_rate": 0.01}


@pytest.fixture
def project(tmp_path, llm_config, sentences):
    """A config and its data in folders as a user has them; gives the path of the config and that of the data."""
    rows = sentences(40)
    rows["split"] = [0] * 24 + [1] * 8 + [2] * 8
    rows["id"] = [f"row-{i}" for i in range(40)]
    rows["label"] = ["court", "long"] * 20
    data = tmp_path / "data" / "copie.jsonl"
    data.parent.mkdir()
    rows.to_json(data, orient="records", lines=True, force_ascii=False)

    def write(**sections):
        split = {"split": {"type": "fixed", "column": "split"}}
        config = llm_config(**({"preprocessing": split, "trainer": TRAINER} | sections))
        path = tmp_path / "ludwig_configs" / "copie" / "tiny.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return path, data

    return write


@pytest.fixture
def run(tmp_path, project):
    from affinage import training

    def go(overrides="", **sections):
        config, data = project(**sections)
        return training.train(training.plan(config, str(data), overrides), tmp_path / "results")

    return go


@pytest.mark.slow
def test_a_run_folder_holds_everything_a_person_looks_for(run):
    outcome = run()
    folder = outcome.run.folder
    assert folder.parent.parts[-3:] == ("results", "copie", "tiny")
    for name in (
        "run.json",
        "config.yaml",
        "user_config.yaml",
        "history.jsonl",
        "predictions.jsonl",
        "metrics.json",
        "plots/loss.png",
        "train.log",
        "model/model_weights/adapter_model.safetensors",
        "model/model_weights/tokenizer.json",
        "model/training_checkpoints/latest.pt",
    ):
        assert (folder / name).stat().st_size > 0, name


@pytest.mark.slow
def test_the_manifest_says_what_ran_on_what_and_how_it_ended(run, project):
    manifest = json.loads((run().run.folder / "run.json").read_text())
    _, data = project()
    import hashlib

    assert manifest["status"] == "finished"
    assert manifest["data"]["files"][0]["sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert manifest["data"]["rows"] == {"train": 24, "validation": 8, "test": 8}
    assert manifest["environment"]["packages"]["torch"].startswith("2.11.0")
    assert manifest["training"]["steps"] == 12
    assert manifest["training"]["peak_memory"]["resident"] > 100_000_000
    assert "tokens" not in manifest["environment"]


@pytest.mark.slow
def test_every_test_row_is_answered_by_base_and_tuned_and_scored(run):
    from affinage.metrics import score

    outcome = run()
    records = [json.loads(line) for line in (outcome.run.folder / "predictions.jsonl").read_text().splitlines()]
    assert [record["id"] for record in records] == [f"row-{i}" for i in range(32, 40)]
    assert all(record["prompt"].endswith("### Response:\n") for record in records)
    assert {record["tuned_stop"] for record in records} <= {"end", "length"}
    scores = json.loads((outcome.run.folder / "metrics.json").read_text())["scores"]
    assert scores["all"]["tuned"]["n"] == 8 and scores["court"]["base"]["n"] == 4
    again = score([record["tuned"] for record in records], [record["reference"] for record in records])
    assert scores["all"]["tuned"]["chrf"] == again.chrf


@pytest.mark.slow
@pytest.mark.parametrize(
    "sections",
    [{}, {"adapter": None}, {"adapter": {"type": "lora", "init_lora_weights": "pissa"}}],
    ids=["lora", "full", "pissa"],
)
def test_base_answers_are_those_of_the_untouched_base_model(run, llm_config, sections):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    outcome = run(**sections)
    folder = llm_config()["base_model"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    record = outcome.records[0]
    ids = tokenizer(record["prompt"], return_tensors="pt").input_ids
    answer = model.generate(ids, max_new_tokens=24, do_sample=False, pad_token_id=2)[0, ids.shape[1] :]
    assert record["base"] == tokenizer.decode(answer, skip_special_tokens=True)
    assert any(r["base"] != r["tuned"] for r in outcome.records)


@pytest.mark.slow
def test_nothing_is_written_beside_the_data_and_no_run_is_overwritten(run, tmp_path):
    first, second = run().run.folder, run().run.folder
    assert first != second
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["copie.jsonl"]


@pytest.mark.slow
def test_history_has_one_line_per_step_and_per_evaluation_and_true_perplexity(run):
    folder = run().run.folder
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "lr" in line] == list(range(1, 13))
    evaluations = [line for line in lines if "validation_loss" in line]
    assert len(evaluations) == 2 and len(evaluations[0]["samples"]) == 2
    statistics = json.loads((folder / "training_statistics.json").read_text())["validation"]["output"]
    assert statistics["perplexity"] == pytest.approx([math.exp(e["validation_loss"]) for e in evaluations])


@pytest.mark.slow
def test_overrides_reach_the_run_and_its_config(run):
    outcome = run("trainer.epochs=1 adapter.r=2")
    assert yaml.safe_load((outcome.run.folder / "config.yaml").read_text())["adapter"]["r"] == 2
    assert outcome.run.manifest["training"]["steps"] == 6


@pytest.mark.slow
def test_a_run_that_fails_says_so_in_its_manifest(run, tmp_path):
    with pytest.raises(AffinageError, match="token_accuracy"):
        run(trainer={**TRAINER, "validation_metric": "token_accuracy"})
    (manifest,) = (tmp_path / "results").rglob("run.json")
    assert json.loads(manifest.read_text())["status"] == "failed"


def test_columns_the_template_names_and_the_data_lacks_are_all_reported(project):
    from affinage import training

    config, data = project(prompt={"template": "{consigne} {entree}"})
    with pytest.raises(AffinageError) as error:
        training.plan(config, str(data))
    assert "no column 'consigne'" in str(error.value) and "no column 'entree'" in str(error.value)


def test_rows_without_an_answer_are_left_out_and_counted(project):
    from affinage import training

    config, data = project()
    rows = pd.read_json(data, lines=True)
    rows.loc[[0, 5, 30], "output"] = ["", "  ", ""]
    rows.to_json(data, orient="records", lines=True)
    plan = training.plan(config, str(data))
    assert plan.dropped == {"train": 2, "validation": 1, "test": 0}
    assert len(plan.splits["train"]) == 22


def test_a_config_that_ludwig_refuses_gives_its_reason_without_a_traceback(project):
    from affinage import training

    config, data = project(adapter=None, quantization={"bits": 4})
    with pytest.raises(AffinageError, match="Ludwig refuses this config"):
        training.plan(config, str(data))


def test_a_base_model_that_cannot_be_had_gives_one_error_with_its_name(project):
    from affinage import training

    config, data = project(base_model="nobody/no-such-model")
    with pytest.raises(AffinageError, match="base_model: 'nobody/no-such-model' could not be loaded"):
        training.plan(config, str(data))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "adapter", "sign"),
    [
        ({"learning_rate": 1e-9, "batch_size": 2, "epochs": 1}, {"type": "lora"}, "does not move"),
        ({"learning_rate": 0.5, "epochs": 2, "gradient_clipping": {"clipglobalnorm": None}}, None, "exploded"),
    ],
)
def test_a_run_in_trouble_is_marked_in_its_manifest_and_on_screen(run, capfd, trainer, adapter, sign):
    manifest = run(trainer={**TRAINER, **trainer}, adapter=adapter).run.manifest
    assert [found["sign"] for found in manifest["health"]] == [sign]
    assert f"warning: {sign}: the loss" in capfd.readouterr().err


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_fails_the_run_with_its_causes(run, tmp_path):
    from affinage.errors import AffinageError
    from affinage.runs import all_runs

    with pytest.raises(AffinageError, match=r"the loss is (nan|inf).*learning_rate is too high"):
        run(trainer={**TRAINER, "learning_rate": 1e30, "epochs": 4}, adapter=None)
    (failed,) = all_runs(tmp_path / "results")
    assert failed.manifest["status"] == "failed"
    assert failed.manifest["health"][0]["sign"] == "not a number"


@pytest.mark.slow
def test_a_run_that_another_process_holds_is_left_alone(run):
    from affinage import training
    from affinage.errors import AffinageError

    done = run().run
    done.record(status="running")
    assert done.status == "killed"
    with done.held():
        assert done.status == "running"
        with pytest.raises(AffinageError, match="another process is working on it"):
            training.complete(done, training.plan_again(done))


@pytest.mark.slow
def test_packed_training_takes_the_same_steps(run):
    from affinage.reproduce import losses

    padded = losses(run("trainer.train_steps=4").run.folder)
    packed = losses(run("trainer.train_steps=4 trainer.packing=true").run.folder)
    assert len(padded) == 4
    assert list(packed.values()) == pytest.approx(list(padded.values()), rel=1e-4)
