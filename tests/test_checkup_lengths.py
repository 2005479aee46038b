"""Lengths and cuts against the tokenizer itself, histograms against plain counting."""

import json
from itertools import pairwise

import numpy as np
import pytest
import yaml

from affinage.curation.checkup import check_dataset
from affinage.curation.checkup_lengths import histogram
from affinage.curation.checkup_page import render


@pytest.mark.parametrize("lengths", [[0], [5, 5, 5], [1, 2, 3, 400], list(range(1000)), [10] * 500 + [9000], [0, 0, 3]])
def test_every_row_is_in_the_bin_that_its_length_says(lengths):
    drawn = histogram({"train": np.array(lengths), "test": np.array(lengths[:2])})
    edges = drawn.edges
    assert len(edges) <= 34 and len({b - a for a, b in pairwise(edges)}) == 1
    top = edges[-1]
    inside = [min(n, top - 1) if drawn.open_ended else n for n in lengths]
    expected = [sum(a <= n < b for n in inside) for a, b in pairwise(edges)]
    assert drawn.rows["train"] == expected and sum(expected) == len(lengths)
    assert sum(drawn.rows["test"]) == len(lengths[:2])


TEMPLATE = "### Q:\n{question}\n### R:\n"


@pytest.mark.slow
def test_with_a_config_lengths_and_cuts_are_those_of_its_tokenizer_and_limits(tmp_path, llm_config):
    from transformers import AutoTokenizer

    rows = [{"question": f"le chat {i} " * (1 + i % 9), "output": "la souris " * (1 + i % 4)} for i in range(40)]
    limit, new = 85, 12
    config = llm_config(
        prompt={"template": TEMPLATE},
        preprocessing={"global_max_sequence_length": limit},
        generation={"max_new_tokens": new},
    )
    (tmp_path / "souris").mkdir()
    path = tmp_path / "souris" / "tiny.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    rows[0]["output"] = "</s>"
    for name, part in {"train": [*rows, {"question": "sans réponse", "output": ""}], "test": rows[:20]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    checkup = check_dataset("souris", str(tmp_path), path)

    tokenizer = AutoTokenizer.from_pretrained(config["base_model"])
    prompts = [len(tokenizer(TEMPLATE.format(**row))["input_ids"]) for row in rows]
    answers = [len(tokenizer(row["output"])["input_ids"]) + 1 for row in rows]  # and the end token
    totals = [a + b for a, b in zip(prompts, answers, strict=True)]
    assert checkup.rows == {"train": 41, "test": 20} and checkup.lengths.unit == "tokens"
    for name, lengths in {"prompt": prompts, "answer": answers, "prompt and answer": totals}.items():
        summary = checkup.lengths.parts[name].summary["train"]
        ranked = sorted(lengths)
        assert (summary["p50"], summary["p95"], summary["max"]) == (ranked[19], ranked[37], ranked[-1])
        assert sum(checkup.lengths.parts[name].histogram.rows["train"]) == 40
    cuts = checkup.truncation.splits["train"]
    assert 0 < cuts.cut == sum(total > limit for total in totals) < 40
    assert cuts.lost_answer_tokens == sum(max(0, total - limit) for total in totals)
    assert cuts.beyond_generation == sum(answer > new for answer in answers)
    assert (checkup.truncation.limit, checkup.truncation.keep_all) == (limit, max(totals))
    found = {check.name: sum(check.rows.values()) for check in checkup.texts}
    assert found["special tokens in text"] == 2 and found["no answer"] == 1
    truncated = [remark.severity for remark in checkup.remarks if remark.about == "truncation"]
    assert truncated == ["error", "warning"]
    page = render(checkup)
    assert "limit 85" in page and f">{cuts.lost_answer_tokens}<" in page
