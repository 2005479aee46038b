"""Every architecture of the shipped configs in a run's whole life: stopped, gone on with, loaded again, measured."""

import json
import os
import signal

import pandas as pd
import pytest
import yaml

ARCHITECTURES = ("bloom", "gpt2", "llama", "mistral", "t5")
WORDS = "chat souris livre pomme rouge grand petit jardin maison soleil".split()
TRAINER = {"type": "finetune", "epochs": 3, "batch_size": 4, "eval_batch_size": 8, "learning_rate": 0.02}
STOPPED_AT = 4

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Twelve rows to learn from, four to choose a checkpoint by and four to be asked; the answer is in capitals."""
    texts = [f"{WORDS[i % 10]} {WORDS[(3 * i + 1) % 10]}" for i in range(20)]
    table = pd.DataFrame({"instruction": "copie", "input": texts, "output": [text.upper() for text in texts]})
    table["id"], table["split"] = [f"row-{i}" for i in range(20)], [0] * 12 + [1] * 4 + [2] * 4
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    table.to_json(path, orient="records", lines=True)
    return path


@pytest.fixture(scope="module", params=ARCHITECTURES)
def runs(request, rows, tmp_path_factory):
    """A run that was never stopped, and one stopped in mid-epoch and gone on with, of one architecture."""
    from ludwig.callbacks import Callback

    from affinage import training
    from affinage.tiny_models import make_tiny_model, texts_of

    class Stop(Callback):
        def on_batch_end(self, trainer, progress_tracker, save_path, sync_step=True, **kwargs):
            if progress_tracker.steps == STOPPED_AT:
                os.kill(os.getpid(), signal.SIGINT)

    folder = tmp_path_factory.mktemp(request.param)
    make_tiny_model(request.param, texts_of("copie", str(rows)), folder / "base")
    config = {
        "model_type": "llm",
        "base_model": str(folder / "base"),
        "input_features": [{"name": "prompt", "type": "text"}],
        "output_features": [{"name": "output", "type": "text"}],
        "prompt": {"template": "{instruction} : {input}\n"},
        "preprocessing": {"split": {"type": "fixed", "column": "split"}},
        "adapter": {"type": "lora", "dropout": 0.1},
        "generation": {"max_new_tokens": 8},
        "trainer": TRAINER,
    }
    path = folder / "copie" / "tiny.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    ready = training.plan(path, str(rows))
    whole = training.train(ready, folder / "whole")
    run = training.start(ready, folder / "stopped")
    with pytest.raises(KeyboardInterrupt, match=f"step {STOPPED_AT}"):
        training.complete(run, ready, [Stop()])
    return whole, training.complete(run, training.plan_again(run))


def losses(run):
    lines = [json.loads(line) for line in (run.folder / "history.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "lr" in line]


def test_a_stopped_run_ends_as_one_that_was_not(runs):
    whole, stopped = runs
    assert losses(stopped.run) == losses(whole.run) and len(losses(whole.run)) == 9
    assert stopped.records == whole.records
    assert losses(whole.run)[-1] < 0.95 * losses(whole.run)[0]
    assert stopped.run.manifest["status"] == "finished"


def test_what_was_saved_gives_the_same_answers_and_is_measured(runs, tmp_path):
    from affinage import scoring, subjects
    from affinage.predictions import Request, predict

    _, stopped = runs
    subject = subjects.open_run(stopped.run)
    path = predict(subject, Request(batch_size=2, fewshot=2), tmp_path)
    answers = scoring.read_predictions(path)
    assert answers.column("id") == [f"row-{i}" for i in range(16, 20)]
    for side in ("base", "tuned"):
        assert answers.column(side) == [record[side] for record in stopped.records]
        assert answers.column(f"{side}_stop") == [record[f"{side}_stop"] for record in stopped.records]
    metrics = scoring.score(answers, scoring.load_suite("copie", ""), scoring.Origin("test", 4, None, {}))["systems"]
    assert metrics.keys() == {"base", "fewshot", "tuned"}
    assert metrics["tuned"]["perplexity"]["value"] < metrics["base"]["perplexity"]["value"]
