"""A judge's pairwise verdicts as a dataset of preferences."""

import json
import runpy
from collections import Counter
from pathlib import Path

import pytest

from affinage.errors import AffinageError
from affinage.judging.demo_rules import judged_by_rules
from affinage.preferences import Wanted, make
from affinage.runs import find_run

helper = runpy.run_path(str(Path(__file__).with_name("judged_rows.py")))
judged, rows, run_folder, server_of, write_rows = (
    helper[name] for name in ("judged", "rows", "run_folder", "server_of", "write_rows")
)
SCRIPT = Path(__file__).parent.parent / "tools" / "make_preferences.py"


def biased(messages, schema):
    """The rules of the demo, but always A where a row says so, and nothing that can be read where it says that."""
    said, text = judged_by_rules(messages, schema), messages[-1]["content"]
    if "numéro 9" in text:
        return "je ne sais pas"
    return said | {"better": "A"} if "numéro 8" in text else said


def content():
    made = rows(24)
    made[3]["base"], made[3]["tuned"] = made[3]["reference"], "Rien."  # the base wins
    made[4]["tuned"] = made[4]["base"]  # the same answer
    made[5]["base"] = ""
    made[6]["tuned_stop"] = "length"
    return [{"tuned_stop": "end", "base_stop": "end", "group": f"g{i // 2}", **row} for i, row in enumerate(made)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose answers to validation rows were judged pair by pair."""
    folder = run_folder(tmp_path_factory.mktemp("results"), content())
    evaluation = folder / "evaluation" / "default"
    (evaluation / "generation.json").write_text(json.dumps({"split": "validation"}))
    with server_of(biased) as server:
        judged(server, evaluation, content(), mode="pairwise")
    return find_run(str(folder))


def made_rows(folder):
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def test_what_won_is_learnt_what_lost_is_rejected_and_every_judged_row_is_accounted_for(run, tmp_path):
    made = make(run, Wanted("mine", "default"), tmp_path)
    found = {row["id"]: row for row in made_rows(made.folder)}
    by_id = {row["id"]: row for row in content()}
    assert {found[i]["verdict"] for i in ("r0", "r1", "r10")} == {"tuned"}
    assert (found["r3"]["verdict"], found["r3"]["output"], found["r3"]["rejected"]) == (
        "base",
        by_id["r3"]["base"],
        "Rien.",
    )
    for key, row in found.items():
        won, lost = ("tuned", "base") if row["verdict"] == "tuned" else ("base", "tuned")
        assert (row["output"], row["rejected"]) == (by_id[key][won], by_id[key][lost])
        assert (row["instruction"], row["input"]) == (by_id[key]["instruction"], by_id[key]["input"])
        assert (row["source"], row["judge"]) == (run.folder.name, "llama3.1:8b")
    left_out = made.manifest["left_out"]
    assert left_out == {
        "same answer": 1,
        "the rejected answer is empty": 1,
        "the preferred answer was cut at its length limit": 1,
        "the two orders disagree": 1,
        "no verdict": 1,
    }
    assert len(found) + sum(left_out.values()) == made.manifest["judged_rows"] == 24


def test_rows_of_a_group_share_a_split_and_the_same_seed_gives_the_same_rows(run, tmp_path):
    first = make(run, Wanted("one", "default"), tmp_path).folder
    second = make(run, Wanted("two", "default"), tmp_path).folder
    splits = {path.stem: path.read_bytes() for path in first.glob("*.jsonl")}
    assert splits == {path.stem: path.read_bytes() for path in second.glob("*.jsonl")}
    assert set(splits) == {"train", "validation", "test"}
    groups = [{json.loads(line)["group"] for line in text.splitlines()} for text in splits.values()]
    assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2])


def test_the_form_for_kto_has_a_row_for_each_answer(run, tmp_path):
    found = made_rows(make(run, Wanted("kto", "default", form="kto"), tmp_path).folder)
    assert all((row["output"] == "") != (row["rejected"] == "") for row in found)
    counts = Counter(row["output"] == "" for row in found)
    assert counts[False] == counts[True] + 1  # the empty answer of r5 is nothing to learn from, what won against it is


def test_it_can_be_trained_on(run, tmp_path, affinage, llm_config):
    from affinage import data
    from affinage.preference_columns import keep_useful
    from affinage.training import resolve

    for form, kind in (("pairs", "dpo"), ("kto", "kto")):
        made = make(run, Wanted(form, "default", form=form), tmp_path)
        resolved = resolve(llm_config(trainer={"type": kind}), "test")
        splits = data.load_splits(data.dataset_files(form, str(made.folder)), resolved, 42)
        dropped = keep_useful(splits, resolved)
        assert not any(n for key, n in dropped.items() if key != "test")
        assert len(splits["train"]) == made.manifest["rows"]["train"]


@pytest.mark.parametrize("split", ["test", None])
def test_answers_to_test_rows_are_refused_and_what_is_not_known_to_be_another_split(split, tmp_path):
    folder = run_folder(tmp_path, content())
    if split:
        evaluation = folder / "evaluation" / "default"
        (evaluation / "generation.json").write_text(json.dumps({"split": split}))
    with pytest.raises(AffinageError, match=r"answers to test rows.*SPLIT=train"):
        make(find_run(str(folder)), Wanted("mine", "default"), tmp_path)
    assert not (tmp_path / "mine").exists()


def test_verdicts_on_other_answers_are_refused_and_so_is_a_judge_that_was_not_there(run, tmp_path):
    with pytest.raises(AffinageError, match=r"no pairwise verdicts of 'qwen'.*Allowed: llama3\.1:8b"):
        make(run, Wanted("mine", "default", judge="qwen"), tmp_path)
    path = run.folder / "evaluation" / "default" / "predictions.jsonl"
    before = path.read_bytes()
    write_rows(path, content()[:-1])
    try:
        with pytest.raises(AffinageError, match="other answers than those that stand there now"):
            make(run, Wanted("mine", "default"), tmp_path)
    finally:
        path.write_bytes(before)


def test_the_script_says_what_was_left_out_and_keeps_what_is_there(run, tmp_path, capfd):
    main = runpy.run_path(str(SCRIPT))["main"]
    arguments = ["--run", str(run.folder), "--task", "mine", "--datasets", str(tmp_path), "--split", "0.5/0.25/0.25"]
    assert main(arguments) == 0
    shown = capfd.readouterr().out
    assert "24 rows judged by llama3.1:8b" in shown
    assert "left out: 1 (the two orders disagree)" in shown
    assert "make check-data TASK=mine" in shown
    with pytest.raises(AffinageError, match="holds data already"):
        main(arguments)
    assert main([*arguments, "--replace"]) == 0
