"""What fits a memory, by lengths of real rows; known shapes against the published sizes of the models."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from affinage.errors import AffinageError
from affinage.paths import ROOT


@pytest.fixture
def config_path(llm_config, tmp_path):
    """A config file of its own task, for which no data lies in datasets/."""

    def write(**sections):
        path = tmp_path / "no-such-task" / "tiny.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(llm_config(**sections)), encoding="utf-8")
        return path

    return write


@pytest.fixture
def dataset(sentences, tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = sentences(40).to_dict("records")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("text", "size"), [("16GB", 16 * 10**9), ("24 GiB", 24 * 2**30), ("7.5gb", 75 * 10**8), ("1gib", 2**30)]
)
def test_memory_is_read_as_cards_are_sold(text, size):
    from affinage.footprint.units import parse_memory

    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["16", "GB", "much", "16 MB", "infGB"])
def test_an_amount_that_is_none_is_refused(text):
    from affinage.footprint.units import parse_memory

    with pytest.raises(AffinageError, match="such as 16GB"):
        parse_memory(text)


# as the papers and cards of the models give them
PUBLISHED = {
    "mistralai/Mistral-7B-v0.1": 7_241_732_096,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "openai-community/gpt2": 124_439_808,
    "openai-community/gpt2-medium": 354_823_168,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_known_shapes_have_as_many_parameters_as_the_published_models(name):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from affinage.footprint.known_models import SHAPES

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**SHAPES[name]))
    assert model.num_parameters() == PUBLISHED[name]


def test_lengths_are_those_of_the_training_rows(config_path, dataset):
    from affinage.footprint.fitting import lengths, question

    with question(config_path(), dataset) as asked:
        rows = asked.tokens.rows.rows
        found = lengths(asked)
        assert asked.notes == []
        assert list(found) == ["p50", "p95", "longest", "limit"]
        assert found["longest"].tokens == max(len(row.ids) for row in rows)
        assert found["longest"].answer_tokens == max(row.answer_tokens for row in rows)
        assert found["p50"].tokens == int(np.median([len(row.ids) for row in rows]))
        assert found["limit"].tokens == 256
        assert lengths(asked, 99)["given"].tokens == 99


def test_without_data_it_says_so_and_asks_for_the_configs_limit_alone(config_path):
    from affinage.footprint.fitting import lengths, measure_steps, planned_steps, question

    with question(config_path()) as asked:
        assert list(lengths(asked)) == ["limit"]
        assert [note.partition(":")[0] for note in asked.notes] == ["no data"]
        assert planned_steps(asked) is None
        with pytest.raises(AffinageError, match="no step can be taken"):
            measure_steps(asked)


def test_data_that_was_named_and_is_not_there_is_an_error(config_path, tmp_path):
    from affinage.footprint.fitting import question

    with pytest.raises(AffinageError, match="no such file"), question(config_path(), str(tmp_path / "none.jsonl")):
        pass


def test_a_model_that_is_nowhere_is_replaced_by_its_published_shape(config_path, dataset):
    from affinage.footprint.fitting import question
    from affinage.token_lengths import context_length

    path = config_path(base_model="openai-community/gpt2-medium")
    with question(path, dataset, "trainer.batch_size=2") as asked:
        assert context_length(asked.resolved) == 1024
        assert asked.resolved.trainer.batch_size == 2
        assert "published shape" in asked.notes[0] and "tokenizer" in asked.notes[1]
        assert asked.tokens is None and len(asked.rows) > 0


def test_the_largest_batch_is_the_largest_of_those_tried_that_fits():
    from affinage.footprint.fitting import Need, largest
    from affinage.footprint.step import Batch

    found = [Need("p50", Batch(n, 10, 5), {"weights": 50, "activations": 10 * n}) for n in (1, 2, 4, 8)]
    assert largest(found, 90) == {"p50": 4}
    assert largest(found, 89.9) == {"p50": 2}
    assert largest(found, 59) == {"p50": 0}


@pytest.mark.slow
def test_the_script_shows_what_fits_and_how_long_it_takes(config_path, dataset):
    from affinage.footprint.fitting import planned_steps, question

    path = config_path(trainer={"type": "finetune", "epochs": 3, "batch_size": 4, "learning_rate": 0.001})
    options = ["--dataset", dataset, "--memory", "8MiB", "--length", "200", "--measure"]
    command = [sys.executable, "tools/fit.py", "--config", str(path), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "such as 16GB" in done.stderr
    options[3] = "0.01GiB"
    command = [sys.executable, "tools/fit.py", "--config", str(path), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.rstrip().endswith(("yes", "no")) for line in lines) == 24
    assert any(line.rstrip().endswith("no") for line in lines)
    [time] = [line for line in lines if line.startswith("Time:")]
    with question(path, dataset) as asked:
        assert f"for {planned_steps(asked)} steps" in time and "n = 20" in time
    assert "trainable params" not in done.stdout
    assert lines[-1].startswith("Next: make check")
