"""A run of an encoder beside one of a language model: what stands for its base is never called a base model."""

import runpy
from pathlib import Path

made = runpy.run_path(str(Path(__file__).with_name("compared_runs.py")))
CONFIG, make_run, predictions, questions = (made[n] for n in ("CONFIG", "make_run", "predictions", "questions"))
ENCODER = {"type": "bert", "pretrained_model_name_or_path": "bert", "trainable": True}
BASELINE = {"model_type": "ecd", "baseline": {"label": "positif", "rows": 40, "of": 60}, "base_model": {"id": "bert"}}


def runs(tmp_path):
    from affinage.comparison.gather import find_runs, gather

    rows = questions(40)
    make_run(tmp_path, records=predictions(rows))
    labels = [record | {"base": "positif", "tuned": record["reference"]} for record in predictions(rows)]
    config = {"model_type": "ecd", "input_features": [{"name": "input", "encoder": ENCODER}]}
    make_run(tmp_path, "bert-base", "20261120-100002", labels, config, **BASELINE)
    found, _ = find_runs(["voix-passive"], tmp_path)
    return gather(found)


def test_the_most_frequent_label_is_named_as_what_it_is(tmp_path):
    from affinage.comparison.systems import systems_of

    names = {system.key: system.name for system in systems_of(runs(tmp_path))}
    assert names["base 1"] == "models/petit-llama (A)"
    assert names["base 2"] == "always positif (B)"


def test_the_page_and_the_tables_take_both(tmp_path):
    from affinage.comparison.comparability import obstacles
    from affinage.comparison.leaderboard import method
    from affinage.comparison.page import compare, render
    from affinage.reports import runs_table

    entries = runs(tmp_path)
    page = render(compare(entries))
    assert "always positif" in page and "encoder" in page
    assert {"base model"} <= {difference.what for difference in obstacles(entries)}
    assert method(entries[1].config) == "encoder and head" and method(CONFIG).startswith("LoRA, r 4")
    assert runs_table([entry.run for entry in entries]).row_count == 2


def test_the_leaderboard_gives_an_encoder_no_base(tmp_path):
    from affinage.comparison.leaderboard import _scores

    language, encoder = (list(_scores(entry.run)) for entry in runs(tmp_path))
    assert " → " in language[0] and encoder[0] == "1.000"
