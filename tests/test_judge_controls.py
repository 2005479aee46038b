"""Control items: they catch a judge that cannot be trusted, and pass one that can."""

import json
import runpy
from pathlib import Path

import pytest

from affinage.control_tokens import ControlTokens
from affinage.errors import AffinageError
from affinage.judging.controls import controls_of
from affinage.judging.demo_rules import judged_by_rules

helper = runpy.run_path(str(Path(__file__).with_name("judged_rows.py")))
judged, rows, server_of = helper["judged"], helper["rows"], helper["server_of"]
KINDS = ["reference", "unrelated", "empty", "injection", "padded"]


def controls(tmp_path, responder=judged_by_rules, **options):
    with server_of(responder) as server:
        summary = judged(server, tmp_path, **options).summary
    return {control["kind"]: control for control in summary["controls"]}, summary["warnings"]


@pytest.mark.parametrize("mode", ["score", "rubric", "pairwise"])
def test_a_judge_that_compares_with_the_reference_passes_all_five(tmp_path, mode):
    found, _ = controls(tmp_path, mode=mode)
    assert list(found) == KINDS
    assert [control["passed"] for control in found.values()] == [True] * 5


@pytest.mark.parametrize("mode", ["score", "rubric", "pairwise"])
def test_a_judge_that_obeys_forged_turns_fails_only_when_the_answer_is_not_escaped(tmp_path, mode, monkeypatch):
    monkeypatch.setattr(ControlTokens, "quoted", lambda self, text: json.dumps(text, ensure_ascii=False))
    found, warnings = controls(tmp_path, mode=mode)
    assert [kind for kind, control in found.items() if not control["passed"]] == ["injection"]
    assert any("the control 'injection' failed" in warning for warning in warnings)


def test_a_judge_that_likes_everything_fails_all_but_the_reference(tmp_path):
    found, _ = controls(tmp_path, lambda messages, schema: {"reasoning": "good", "verdict": "judged", "score": 95})
    assert {kind: control["passed"] for kind, control in found.items()} == dict.fromkeys(KINDS, False) | {
        "reference": True
    }


def test_a_judge_that_hates_everything_fails_the_reference(tmp_path):
    found, _ = controls(tmp_path, lambda messages, schema: {"reasoning": "bad", "verdict": "judged", "score": 0})
    assert not found["reference"]["passed"] and found["empty"]["passed"]


def test_a_control_without_a_verdict_has_not_passed(tmp_path):
    with server_of() as server:
        server.script("refusal")
        (first, *_), _ = judged(server, tmp_path).summary["controls"], None
    assert first == first | {"kind": "reference", "status": "refused", "said": None, "passed": False}


def test_strict_controls_stop_before_any_row_is_judged(tmp_path):
    with server_of(lambda messages, schema: {"reasoning": "", "verdict": "judged", "score": 95}) as server:
        with pytest.raises(AffinageError, match="control injection: the judge said 95"):
            judged(server, tmp_path, controls="strict")
        assert len(server.chats) == 5
    assert not (tmp_path / "judge").exists()


def test_the_unrelated_answer_shares_the_fewest_words():
    found = {control.kind: control for control in controls_of(rows(8))[0]}
    shared = set(found["unrelated"].answer.split()) & set(found["unrelated"].case.reference.split())
    assert shared <= {"numéro"}
    assert len(found["padded"].answer) > 1500 and found["padded"].answer.split(".")[0] in {
        row["reference"].rstrip(".") for row in rows(8)
    }


def test_rows_with_one_reference_have_no_unrelated_answer_and_say_so():
    alike = [row | {"reference": "oui"} for row in rows(4)]
    found, notes = controls_of(alike)
    assert [control.kind for control in found] == ["reference", "empty", "injection"]
    assert "all references are the same" in notes[0]
    assert controls_of([row | {"reference": ""} for row in rows(4)]) == (
        [],
        ["no control was asked: no row has a reference."],
    )


def test_one_row_is_enough_for_controls():
    assert len(controls_of(rows(1))[0]) == 3 and len(controls_of(rows(2))[0]) == 5
