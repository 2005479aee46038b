"""What the trainer does between the first step and the last."""

import json
import math

import pytest
import torch

from affinage.errors import AffinageError
from affinage.ludwig_ext.batches import collate


def trainer_section(**keys):
    return {"type": "finetune", "epochs": 1, "batch_size": 4, "learning_rate": 0.001, "early_stop": -1, **keys}


class Seen:
    """Ludwig calls it with the trainer; keeps it for the test to look at."""

    def __new__(cls, on_batch_end=None):
        from ludwig.callbacks import Callback

        class Watch(Callback):
            def on_trainer_train_setup(self, trainer, save_path, is_coordinator, **kwargs):
                self.trainer = trainer

            def on_batch_end(self, trainer, progress_tracker, save_path, sync_step=True, **kwargs):
                if on_batch_end:
                    on_batch_end(trainer)

        return Watch()


@pytest.fixture
def fit(affinage, train, llm_config, sentences):
    """Trains n rows (a quarter of them for validation) and gives the trainer."""

    def run(n=16, seed=42, data=None, **sections):
        seen = Seen()
        data = sentences(n) if data is None else data
        train(llm_config(**sections), data, callbacks=[seen], random_seed=seed)
        return seen.trainer

    return run


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])


def test_accumulated_micro_batches_have_the_gradient_of_one_big_batch(trainer_of, llm_config, sentences):
    trainer = trainer_of(llm_config(), sentences(7))
    rows, pad = trainer.rows.rows, trainer.model.special.pad
    trainer._accumulate([collate(rows, pad)])
    whole = gradients(trainer.model)
    trainer.model.zero_grad()
    trainer._accumulate([collate(part, pad) for part in (rows[:3], rows[3:6], rows[6:])])
    assert torch.allclose(gradients(trainer.model), whole, rtol=1e-4, atol=1e-7)


def test_gradient_of_a_step_is_that_of_the_mean_over_answer_tokens(trainer_of, llm_config, sentences):
    trainer = trainer_of(llm_config(), sentences(5))
    batch = collate(trainer.rows.rows, trainer.model.special.pad)
    trainer._accumulate([batch])
    ours = gradients(trainer.model)
    trainer.model.zero_grad()
    trainer.model.model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels
    ).loss.backward()
    assert torch.allclose(ours, gradients(trainer.model), rtol=1e-4, atol=1e-7)


def test_steps_count_optimizer_steps_and_leftover_micro_batches_make_one(fit):
    trainer = fit(n=28, trainer=trainer_section(epochs=2, gradient_accumulation_steps=4))
    assert len(trainer.rows) == 21  # 6 micro-batches an epoch: one group of 4, one of 2
    assert trainer.steps_per_epoch == 2
    assert trainer.tracker.steps == trainer.total_steps == 4


def test_every_row_is_trained_on_once_an_epoch_the_single_last_one_too(fit):
    trainer = fit(n=12, trainer=trainer_section(batch_size=4))
    assert len(trainer.rows) == 9
    assert trainer.steps_per_epoch == 3
    assert trainer.tracker.total_tokens_used == sum(len(row.ids) for row in trainer.rows.rows)


def test_the_single_last_validation_row_counts(fit):
    trainer = fit(n=12, trainer=trainer_section(eval_batch_size=2))
    validation = trainer.evaluations.validation
    assert len(validation) == 3
    with torch.no_grad():
        one_batch = trainer.nll(collate(validation.rows, trainer.model.special.pad)).item()
    assert trainer.evaluations.loss(validation) == pytest.approx(one_batch / validation.answer_tokens, rel=1e-5)


def test_rows_whose_answer_is_cut_whole_are_counted_and_the_loss_stays_a_number(fit):
    trainer = fit(n=16, preprocessing={"global_max_sequence_length": 36}, trainer=trainer_section())
    assert trainer.rows.skipped
    assert len(trainer.rows) + len(trainer.rows.skipped) == 12
    assert trainer.summary()["skipped_rows"] == trainer.rows.skipped
    assert all(math.isfinite(record["loss"]) for record in trainer.progress.records)


def test_data_without_any_answer_token_is_refused(fit, sentences):
    long = sentences(60)
    long = long[long["input"].str.count(" ") > 4].reset_index(drop=True)
    with pytest.raises(AffinageError, match="no row of the training split keeps an answer"):
        fit(data=long, preprocessing={"global_max_sequence_length": 28})


def test_same_seed_gives_the_same_losses_to_the_last_digit_and_another_does_not(fit):
    adapter = {"type": "lora", "dropout": 0.1}
    losses = [
        [
            record["loss"]
            for record in fit(n=16, seed=seed, adapter=adapter, trainer=trainer_section(epochs=2)).progress.records
        ]
        for seed in (1, 1, 2)
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_the_best_weights_are_kept_not_the_last(fit, sentences):
    rows = sentences(16)
    rows.loc[12:, "output"] = "zzzz zzzz"  # what validation wants is what training unlearns
    trainer = fit(data=rows, trainer=trainer_section(epochs=6, learning_rate=0.02))
    losses = {e["step"]: e["validation_loss"] for e in trainer.evaluations.history}
    best = min(losses, key=losses.__getitem__)
    assert best < trainer.tracker.steps, "validation should get worse towards the end"
    assert trainer.evaluations.best_step == best
    assert trainer.evaluations.loss(trainer.evaluations.validation) == pytest.approx(losses[best], rel=1e-6)


def test_training_stops_after_early_stop_evaluations_without_improvement(fit):
    trainer = fit(n=16, trainer=trainer_section(epochs=50, learning_rate=0.5, early_stop=2))
    best, history = trainer.evaluations.best_step, trainer.evaluations.history
    assert trainer.tracker.steps < trainer.total_steps
    assert len([e for e in history if e["step"] > best]) == 2


def test_steps_after_the_last_full_interval_are_evaluated_too(fit):
    trainer = fit(n=40, trainer=trainer_section(train_steps=7, steps_per_checkpoint=3))
    assert [e["step"] for e in trainer.evaluations.history] == [3, 6, 7]


def test_an_evaluation_shows_both_losses_and_two_answers(fit, capfd):
    trainer = fit(n=16, trainer=trainer_section())
    shown = capfd.readouterr().err
    record = trainer.evaluations.history[-1]
    assert f"train loss {record['train_loss']:.4f}, validation loss {record['validation_loss']:.4f}" in shown
    assert len(record["samples"]) == 2
    assert shown.count("answer:") == 2
    assert "tokens/s" in shown and "lr 1.00e-03" in shown


def test_train_loss_of_an_evaluation_is_the_token_mean_of_its_steps(fit):
    trainer = fit(n=12, trainer=trainer_section(batch_size=9))
    assert trainer.evaluations.history[0]["train_loss"] == pytest.approx(trainer.progress.records[0]["loss"])


def test_tensorboard_holds_the_loss_of_every_step(fit):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = fit(n=16, trainer=trainer_section(epochs=2))
    events = EventAccumulator(str(trainer.save_path / "logs" / "training")).Reload()
    values = [event.value for event in events.Scalars("combined/step_training_loss")]
    assert values == pytest.approx([record["loss"] for record in trainer.progress.records])
    held_out = EventAccumulator(str(trainer.save_path / "logs" / "validation")).Reload()
    assert len(held_out.Scalars("output/epoch_loss")) == 2


def test_a_loss_that_is_no_number_stops_the_run_with_advice(trainer_of, llm_config, sentences):
    trainer = trainer_of(llm_config(), sentences(4))
    trainer.tracker = trainer_tracker = type("Tracker", (), {"steps": 4})
    recorded = []
    trainer.progress = type("Progress", (), {"not_a_number": lambda self: recorded.append("step 5")})()
    with torch.no_grad():
        next(p for p in trainer.model.parameters() if p.requires_grad).fill_(float("nan"))
    with pytest.raises(AffinageError, match=r"training step 5: the loss is nan.*learning_rate"):
        trainer._accumulate([collate(trainer.rows.rows, trainer.model.special.pad)])
    assert trainer_tracker.steps == 4 and recorded == ["step 5"]


def test_a_metric_that_training_cannot_compute_is_refused(fit):
    section = trainer_section(validation_metric="token_accuracy")
    with pytest.raises(AffinageError, match=r"token_accuracy.*loss, perplexity"):
        fit(trainer=section)


def test_the_progress_file_and_checkpoint_agree_on_the_step(fit):
    from affinage.ludwig_ext import checkpoints

    trainer = fit(n=16, trainer=trainer_section(epochs=2))
    progress = json.loads((trainer.save_path / "training_progress.json").read_text())
    assert progress["steps"] == checkpoints.load(trainer.checkpoints.latest)["steps"] == trainer.tracker.steps


def test_gradient_checkpointing_gives_the_same_losses(fit):
    plain = fit(n=16, trainer=trainer_section(epochs=2))
    saving = fit(n=16, trainer=trainer_section(epochs=2, enable_gradient_checkpointing=True))
    assert [r["loss"] for r in saving.progress.records] == pytest.approx([r["loss"] for r in plain.progress.records])


def test_mixed_precision_trains_in_bfloat16_close_to_float32(fit):
    plain = fit(n=16, trainer=trainer_section(epochs=2))
    mixed = fit(n=16, trainer=trainer_section(epochs=2, use_mixed_precision=True))
    ours, theirs = ([r["loss"] for r in run.progress.records] for run in (mixed, plain))
    assert ours == pytest.approx(theirs, rel=0.01)
    assert ours != theirs


def test_skipping_all_evaluation_keeps_the_last_weights(fit):
    trainer = fit(n=16, trainer=trainer_section(epochs=2, skip_all_evaluation=True))
    assert trainer.evaluations.history == []
    assert trainer.evaluations.best_step == trainer.tracker.steps == 6


def test_a_validation_loss_that_is_not_a_number_is_no_improvement(fit, monkeypatch):
    from affinage.ludwig_ext.evaluation import Evaluations

    validation_losses = iter([math.nan, 0.5, math.nan])
    monkeypatch.setattr(Evaluations, "loss", lambda self, rows: next(validation_losses))
    trainer = fit(n=16, trainer=trainer_section(epochs=3))
    assert trainer.evaluations.best_step == trainer.steps_per_epoch * 2
    assert trainer.evaluations.best_loss == 0.5
