"""Runs that learn from preferences: from a config and rows to a run folder, stopped and gone on with."""

import json
import os
import runpy
import signal
from pathlib import Path

import pandas as pd
import pytest
import yaml

from affinage.errors import AffinageError

helper = runpy.run_path(str(Path(__file__).with_name("preference_rows.py")))
pairs, section = (helper[name] for name in ("pairs", "section"))

FACTS = {"reward_chosen", "reward_rejected", "reward_margin"}
SPLIT = {"split": {"type": "fixed", "column": "split"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("preferences")


@pytest.fixture
def plan(affinage, folder, llm_config, sentences):
    """The plan of a run on 24 rows to train on, 8 of validation and 8 of test."""
    from affinage import training

    def make(kind, keys=None, **sections):
        rows = pairs(sentences(40)).assign(split=[0] * 24 + [1] * 8 + [2] * 8)
        if kind == "kto":
            rows.loc[0, "output"], rows.loc[1, "rejected"] = "", ""
        data = folder / f"{kind}.jsonl"
        rows.to_json(data, orient="records", lines=True)
        path = folder / "copie" / f"{kind}.yaml"
        path.parent.mkdir(exist_ok=True)
        adapter = {"type": "lora", "dropout": 0.1}
        trainer = section(kind, **({"epochs": 2, "batch_size": 4} | (keys or {})))
        config = llm_config(**({"preprocessing": SPLIT, "trainer": trainer, "adapter": adapter} | sections))
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return training.plan(path, str(data))

    return make


def history(run):
    lines = [json.loads(line) for line in (run.folder / "history.jsonl").read_text().splitlines()]
    return [line for line in lines if "lr" in line], [line for line in lines if "validation_loss" in line]


class StopAt:
    """Sends Ctrl-C to this process after some optimizer steps."""

    def __new__(cls, step):
        from ludwig.callbacks import Callback

        class Stop(Callback):
            def on_batch_end(self, trainer, progress_tracker, save_path, sync_step=True, **kwargs):
                if progress_tracker.steps == step:
                    os.kill(os.getpid(), signal.SIGINT)

        return Stop()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dpo", "kto", "orpo"])
def test_a_run_stopped_in_mid_epoch_ends_as_an_uninterrupted_one_and_learns_what_is_preferred(kind, plan, folder):
    from affinage import training

    whole = training.train(plan(kind), folder / "whole").run
    cut = training.start(plan(kind), folder / "cut")
    with pytest.raises(KeyboardInterrupt):
        training.complete(cut, plan(kind), [StopAt(8)])
    again = training.complete(cut, training.plan_again(cut))
    steps, evaluations = history(whole)
    assert history(cut) == (steps, evaluations)
    assert [record["tuned"] for record in again.records]
    assert len(steps) == whole.manifest["training"]["steps"] == (24 if kind == "kto" else 12)
    assert any("reward_margin" in step for step in steps)
    assert evaluations[-1].keys() >= {f"validation_{fact}" for fact in FACTS}
    assert evaluations[-1]["validation_loss"] < evaluations[0]["validation_loss"]
    assert evaluations[-1]["validation_reward_margin"] > evaluations[0]["validation_reward_margin"]


@pytest.mark.slow
def test_tensorboard_manifest_and_curve_speak_of_preferences(plan, folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from affinage import training

    run = training.train(plan("dpo", adapter=None), folder / "full").run
    events = EventAccumulator(str(run.model_folder / "logs" / "validation")).Reload()
    accuracy = [event.value for event in events.Scalars("preference/epoch_reward_accuracy")]
    _, evaluations = history(run)
    assert accuracy == pytest.approx([line["validation_reward_accuracy"] for line in evaluations])
    training_facts = run.manifest["training"]
    assert training_facts["trained_rows"] == 24
    assert training_facts["loss_name"] == "DPO loss"
    assert 0 <= training_facts["validation_chosen_likelier_before"] <= 1
    assert evaluations[-1]["validation_reward_margin"] > 0
    assert (run.folder / "plots" / "loss.png").stat().st_size > 0
    statistics = json.loads((run.folder / "training_statistics.json").read_text())["validation"]["output"]
    assert statistics["loss"] == pytest.approx([line["validation_loss"] for line in evaluations])
    assert not statistics.get("perplexity")


def test_make_check_counts_two_sequences_a_pair(plan):
    from affinage.preview import preview

    pair, single = preview(plan("dpo")), preview(plan("kto"))
    assert (pair.steps.per_epoch, single.steps.per_epoch) == (6, 12)  # 24 pairs, 46 answers, 4 a step
    assert len(pair.splits["train"].answer) == 48
    assert pair.memory.items["activations"] > 1.5 * single.memory.items["activations"]


@pytest.mark.parametrize(
    ("kind", "keys", "message"),
    [
        ("grpo", {}, r"trainer\.type: 'grpo' needs a reward.*Allowed: finetune, dpo, kto, orpo"),
        ("dpo", {"dpo_beta": 0}, r"trainer\.dpo_beta: 0.* is not above 0"),
        ("kto", {"kto_beta": -1}, r"trainer\.kto_beta"),
        ("dpo", {"dpo_loss_type": "ipo", "dpo_label_smoothing": 0.1}, r"trainer\.dpo_label_smoothing.*'ipo'"),
        ("dpo", {"batch_size": "auto"}, r"trainer\.batch_size"),
        ("orpo", {"rejected_column": "output"}, r"trainer\.rejected_column"),
        ("orpo", {"model_soup": "uniform"}, r"trainer\.model_soup"),
        ("kto", {"regularization_lambda": 0.1}, r"trainer\.regularization_lambda"),
    ],
)
def test_what_is_not_performed_is_refused_by_name(kind, keys, message, plan):
    with pytest.raises(AffinageError, match=message):
        plan(kind, keys)


def test_rows_that_ludwig_would_draw_are_refused(plan):
    with pytest.raises(AffinageError, match=r"preprocessing\.sample_ratio"):
        plan("dpo", preprocessing={**SPLIT, "sample_ratio": 0.5})


def test_an_unknown_key_is_found_as_ever(plan):
    with pytest.raises(AffinageError, match=r"unknown key 'beta'.*dpo_beta"):
        plan("dpo", {"beta": 0.1})


def test_another_adapter_still_needs_a_trainer_that_trains(affinage, llm_config):
    from ludwig.error import ConfigValidationError
    from ludwig.schema.model_types.base import ModelConfig

    with pytest.raises(ConfigValidationError, match="requires trainer type to be finetune"):
        ModelConfig.from_dict(llm_config(trainer={"type": "none"}))


def test_trained_alone_by_ludwig_it_says_that_rejected_answers_are_missing(affinage, train, llm_config, sentences):
    with pytest.raises(AffinageError, match=r"trainer\.rejected_column: Ludwig alone"):
        train(llm_config(trainer=section("dpo")), pairs(sentences(12)))


def test_a_column_of_nan_is_no_answer(affinage):
    from affinage.preference_columns import stripped

    assert stripped(pd.DataFrame({"rejected": [None, float("nan"), " a "]}), "rejected").tolist() == ["", "", "a"]
