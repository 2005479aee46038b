"""What is shown before a run against what a real trainer then does."""

import itertools
import math
import os
import subprocess
import sys

import pytest
import yaml

from affinage.errors import AffinageError
from affinage.paths import ROOT


def trainer_section(**keys):
    return {"type": "finetune", "epochs": 1, "batch_size": 4, "learning_rate": 0.001, **keys}


@pytest.fixture
def make_plan(affinage, llm_config):
    """A plan for a config on a tiny model and for rows that are already split."""
    from affinage import training

    def make(train, validation=None, test=None, model=(), **sections):
        config = llm_config(*model, **sections)
        given = {"train": train, "validation": validation, "test": test}
        splits = {name: rows for name, rows in given.items() if rows is not None}
        return training.Plan("copie", "tiny", config, training.resolve(config, "test"), "", [], splits, {})

    return make


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"epochs": 3, "gradient_accumulation_steps": 4},
        {"epochs": 2, "effective_batch_size": 8},
        {"train_steps": 11, "checkpoints_per_epoch": 2},
        {"epochs": 2, "steps_per_checkpoint": 3, "gradient_accumulation_steps": 2},
        {"epochs": 2, "batch_size": 64, "checkpoints_per_epoch": 5},
    ],
    ids=str,
)
def test_steps_are_those_a_trainer_plans(make_plan, trainer_of, llm_config, sentences, keys):
    from affinage.preview import preview

    data, trainer = sentences(27), trainer_section(**keys)
    planned = preview(make_plan(data, trainer=trainer)).steps
    real = trainer_of(llm_config(trainer=trainer), data)
    real._plan_steps()
    assert (planned.per_epoch, planned.total) == (real.steps_per_epoch, real.total_steps)
    assert planned.per_evaluation == real.steps_per_evaluation
    assert planned.effective_batch == real.batch_size * real.gradient_accumulation_steps
    assert planned.tokens * planned.per_epoch == pytest.approx(sum(len(row.ids) for row in real.rows.rows))
    evaluated = [s for s in range(1, real.total_steps + 1) if s % real.steps_per_evaluation == 0]
    assert planned.evaluations == len({*evaluated, real.total_steps})


@pytest.mark.parametrize("model", [("llama", "plain"), ("llama", "bos"), ("gpt2", "no_pad")])
def test_the_sample_is_the_row_that_is_trained(make_plan, trainer_of, llm_config, sentences, model):
    from affinage.preview import pieces, preview

    data = sentences(6)
    real = trainer_of(llm_config(*model), data)
    tokenizer = real.model.tokenizer
    sample = preview(make_plan(data, model=model)).sample
    assert [trained for _, trained in sample] == [False, True]
    for row in real.rows.rows:
        shown = "".join(text for text, _ in pieces(row, tokenizer))
        assert shown == tokenizer.decode(row.ids)
    row, ((prompt, _), (answer, _)) = real.rows.rows[0], sample
    assert prompt == tokenizer.decode(row.ids[: row.answer_start])
    assert prompt.endswith(f"### Input:\n{data['input'][0]}\n\n### Response:\n")
    assert answer == data["output"][0] + "</s>"
    assert prompt.count("<s>") == (model[1] == "bos")


def test_a_row_without_an_answer_is_refused(affinage, tiny_model):
    import numpy as np
    from transformers import AutoTokenizer

    from affinage.ludwig_ext.batches import Row
    from affinage.preview import pieces

    with pytest.raises(AffinageError, match="nothing would be trained"):
        pieces(Row(np.array([5, 6]), 2), AutoTokenizer.from_pretrained(tiny_model()))


def test_a_config_that_trains_no_parameter_is_refused(make_plan, sentences):
    from affinage.preview import preview

    with pytest.raises(AffinageError, match=r"none of the .* parameters would be trained"):
        preview(make_plan(sentences(6), trainer=trainer_section(layers_to_freeze_regex=".*")))


def test_too_many_cut_rows_are_refused_unless_allowed(make_plan, sentences, monkeypatch):
    from affinage.preview import preview

    monkeypatch.delenv("ALLOW_TRUNCATION", raising=False)
    plan = make_plan(sentences(30), preprocessing={"global_max_sequence_length": 85})
    with pytest.raises(AffinageError, match=r"training rows .* would be cut"):
        preview(plan)
    seen = preview(plan, allow_truncation=True)
    assert any(warning.startswith("train: ") and "rows are cut" in warning for warning in seen.warnings)


def test_what_fits_gives_no_warning(make_plan, sentences):
    from affinage.preview import preview

    assert preview(make_plan(sentences(8), generation={"max_new_tokens": 60})).warnings == []


def test_answers_that_cannot_be_generated_whole_give_warnings(make_plan, sentences):
    from affinage.preview import preview

    crowded = preview(make_plan(sentences(8), generation={"max_new_tokens": 250})).warnings
    assert crowded == [
        "train: 8 prompts and generation.max_new_tokens 250 do not fit the context of 256 tokens together, "
        "so their answers may be cut"
    ]
    short = preview(make_plan(sentences(8), test=sentences(5), generation={"max_new_tokens": 2})).warnings
    assert short == ["test: 5 reference answers are longer than generation.max_new_tokens 2"]


def test_a_batch_size_that_ludwig_finds_leaves_the_steps_open(make_plan, sentences):
    from affinage.preview import preview

    seen = preview(make_plan(sentences(8), trainer=trainer_section(batch_size="auto")))
    assert (seen.steps, seen.curve, seen.memory) == (None, None, None)
    assert "not known" in seen.settings["batch"]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({}, "lora r 8, alpha 16, dropout 0.0 on q_proj, v_proj; weights in float32"),
        ({"adapter": None}, "full: every weight; weights in float32"),
        (
            {"adapter": {"type": "lora", "target_modules": ["k_proj"]}, "quantization": {"bits": 4}},
            "lora r 8, alpha 16, dropout 0.05 on k_proj; base in 4 bits nf4",
        ),
    ],
)
def test_the_method_is_said_with_its_defaults(make_plan, sentences, sections, said):
    from affinage.preview import preview

    assert preview(make_plan(sentences(6), **sections)).settings["method"] == said


def curve(total, learning_rate=0.002, **scheduler):
    from affinage import training
    from affinage.preview import Steps, _warmup, learning_rate_curve

    config = yaml.safe_load((ROOT / "ludwig_configs/voix-passive/petit-llama-lora.yaml").read_text("utf-8"))
    config["base_model"] = str(ROOT / config["base_model"])
    config["trainer"] |= {"learning_rate": learning_rate, "learning_rate_scheduler": scheduler}
    trainer = training.resolve(config, "test").trainer
    steps = Steps(4, 1, total, total, _warmup(trainer.learning_rate_scheduler, total, 10), 10, total // 10, 100.0)
    return learning_rate_curve(trainer, steps), trainer, steps


@pytest.mark.parametrize("total", [1, 2, 59, 60, 61, 500, 20_000])
@pytest.mark.parametrize(
    "scheduler",
    [
        {"decay": "cosine", "warmup_fraction": 0.05},
        {"decay": "linear", "warmup_fraction": 0.5},
        {"decay": "one_cycle"},
        {"decay": "wsd"},
        {"decay": None},
    ],
    ids=str,
)
def test_the_curve_has_the_rates_of_the_schedule(affinage, total, scheduler):
    from affinage.ludwig_ext.schedule import lr_factor
    from affinage.preview import BLOCKS

    shown, trainer, _ = curve(total, **scheduler)
    factor = lr_factor(trainer.learning_rate_scheduler, total, 10, 0.002)
    rates = [0.002 * factor(step) for step in range(total)]
    assert len(shown.blocks) == min(60, total)
    assert (shown.first, shown.last) == (rates[0], rates[-1])
    assert shown.peak == pytest.approx(max(rates), rel=1e-4)
    highest = rates.index(max(rates)) * len(shown.blocks) // total
    near = range(max(0, highest - 1), min(len(shown.blocks), highest + 2))
    assert any(shown.blocks[i] == BLOCKS[-1] for i in near)


def test_the_peak_is_where_the_warmup_ends(affinage):
    shown, _, steps = curve(600, decay="cosine", warmup_fraction=0.3)
    assert steps.warmup == 180
    assert shown.blocks[17] == "█"  # steps 170 to 179
    assert shown.blocks[0] < shown.blocks[9] < shown.blocks[18] > shown.blocks[40] > shown.blocks[-1]


@pytest.mark.parametrize(("t_0", "peaks"), [(None, 1), (150, 4), (300, 2), (60, 10)])
def test_restarts_are_seen(affinage, t_0, peaks):
    shown, _, _ = curve(600, decay="cosine", t_0=t_0)
    heights = [0, *("▁▂▃▄▅▆▇█".index(block) for block in shown.blocks)]
    assert sum(b - a >= 3 for a, b in itertools.pairwise(heights)) == peaks


def test_a_rate_that_ludwig_finds_has_no_curve(affinage):
    assert curve(10, learning_rate="auto")[0] is None


def check(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "check.py"), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_script_shows_everything_about_petit_llama():
    config = "ludwig_configs/voix-passive/petit-llama-qlora.yaml"
    done = check("--config", config, "--set", "trainer.epochs=1 adapter.r=2")
    assert done.returncode == 0, done.stderr
    for expected in (
        "30,720 of 1,937,472 parameters",
        "250 optimizer steps (250 an epoch x 1 epochs)",
        "4,000",
        "### Response:⏎\n⟦Nos tondeuses sont contrôlées par ces apprentis.</s>⟧",
        "peak 0.002",
        "activations",
        f"Next: make train CONFIG={config} SET='trainer.epochs=1 adapter.r=2'",
    ):
        assert expected in done.stdout, expected
    assert "warning" not in done.stdout + done.stderr.lower()


@pytest.mark.slow
def test_checking_and_training_refuse_to_cut_rows_unless_told():
    arguments = ["--config", "ludwig_configs/voix-passive/petit-llama-lora.yaml"]
    arguments += ["--set", "preprocessing.global_max_sequence_length=60"]
    refused = check(*arguments)
    assert refused.returncode == 2
    assert "training rows" in refused.stderr and "Traceback" not in refused.stderr
    allowed = check(*arguments, ALLOW_TRUNCATION="1")
    assert allowed.returncode == 0 and "rows are cut" in allowed.stdout
    train = [sys.executable, str(ROOT / "tools" / "train.py"), *arguments]
    trained = subprocess.run(train, cwd=ROOT, capture_output=True, text=True, check=False)
    assert trained.returncode == 2 and "training rows" in trained.stderr


def test_rates_are_finite_and_never_negative(affinage):
    shown, _, _ = curve(300, decay="one_cycle")
    assert all(math.isfinite(rate) and rate >= 0 for rate in (shown.first, shown.peak, shown.last))
