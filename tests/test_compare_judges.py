"""Judges on the page of a comparison: their means and reasons, what makes a row disputed, and what is not believed."""

import json
import re
import runpy
from pathlib import Path

import pytest

from affinage.comparison.gather import find_runs, gather
from affinage.comparison.judges import judges_table
from affinage.comparison.page import compare, page_path, render, write_page
from affinage.errors import AffinageError
from affinage.judging.demo_rules import read_fields
from affinage.judging.demo_server import DEMO_JUDGE, demo_judge
from affinage.paths import ROOT
from affinage.runs import write_jsonl

HERE = Path(__file__).parent
made, browser = (runpy.run_path(str(HERE / name)) for name in ("compared_runs.py", "test_compare_page.py"))
OllamaServer = runpy.run_path(str(HERE / "ollama_server.py"))["OllamaServer"]
judge = runpy.run_path(str(ROOT / "evaluate" / "judge.py"))["main"]
HOSTILE, Elements, look, shown_rows, needs_browser = (
    browser[name] for name in ("HOSTILE", "Elements", "look", "shown_rows", "needs_browser")
)
ROWS = [row | {"reference": f"{row['reference']} ({i})"} for i, row in enumerate(made["questions"](45))]
NAMES = ["20261120-100000", "20261120-100001"]
CONTRARY, LOW = range(6, 9), 12  # rows that judge "one" sees the other way round; that "two" thinks little of


def right_on(n):
    records = enumerate(made["predictions"](ROWS))
    return [record | {"tuned": record["reference"] if i < n else "non"} for i, record in records]


def judged_as(name):
    def respond(messages, schema):
        fields = read_fields(messages[-1]["content"])
        said = {"reasoning": HOSTILE, "verdict": "judged"}
        if "better" in schema["properties"]:
            right = [fields[f"ANSWER {letter}"] == fields["REFERENCE"] for letter in "AB"]
            return said | {"better": "tie" if right[0] == right[1] else "A" if right[0] else "B"}
        row = int(re.search(r"\((\d+)\)$", fields["REFERENCE"])[1])
        score = 95 if fields["ANSWER"] == fields["REFERENCE"] else 20
        score = 115 - score if name == "one" and row in CONTRARY else score
        return said | {"score": 40 if name == "two" and row == LOW and score == 95 else score}

    return respond


def ask(folder, name, *options):
    with OllamaServer(judged_as(name), models=(f"{name}:1b",)) as server:
        judge([*where(folder), "--host", server.url, "--judge", f"{name}:1b", "--concurrency", "4", *options])


def where(folder):
    return ["--run", str(folder), "--results", str(folder.parents[2])]


def comparison(results, *names):
    return compare(gather(find_runs(names or NAMES, results)[0]))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A is right on 20 of 45 rows, B on 5; one and two judged both, two held duels in A, and the demo judged A."""
    results = tmp_path_factory.mktemp("results")
    for name, n in zip(NAMES, (20, 5), strict=True):
        folder = made["make_run"](results, run_id=name, records=right_on(n))
        for who in ("one", "two"):
            ask(folder, who)
    first = next(results.glob(f"*/*/{NAMES[0]}"))
    ask(first, "two", "--mode", "pairwise")
    with demo_judge() as server:
        judge([*where(first), "--host", server.url, "--judge", DEMO_JUDGE])
    return results


@pytest.fixture(scope="module")
def found(results):
    return comparison(results)


@pytest.fixture(scope="module")
def page(results, found):
    return write_page(found, page_path(found.entries, "judged", results))


def summary(results, name, judge):
    path = next(results.glob(f"*/*/{name}/evaluation/*/judge/{judge}/summary.json"))
    return json.loads(path.read_text("utf-8"))


def column(found, title):
    return next(one for one in found.judges if one.title == title)


def test_each_judge_has_a_column_with_the_means_and_intervals_of_its_summaries(results, found):
    assert [one.title for one in found.judges] == [
        "judge two:1b, win rate",
        "judge one:1b, score",
        "judge two:1b, score",
        "judge demo-judge:latest, score",
    ]
    marks = column(found, "judge two:1b, score").marks
    for key, name, system in (("A", NAMES[0], "tuned"), ("B", NAMES[1], "tuned"), ("base", NAMES[0], "base")):
        mean = summary(results, name, "score-two-1b")["systems"][system]["mean"]
        assert (marks[key].value, marks[key].low, marks[key].high) == (mean["value"], mean["low"], mean["high"])
    wins = column(found, "judge two:1b, win rate").marks
    assert list(wins) == ["A"] and wins["A"].text == f"{(20 + 25 / 2) / 45:.1%}"


def test_the_best_is_marked_only_by_a_judge_that_nothing_speaks_against(found):
    best = {one.title: [key for key, mark in one.marks.items() if mark.best] for one in found.judges}
    assert best["judge two:1b, score"] == ["A"]
    demo = column(found, "judge demo-judge:latest, score")
    assert best[demo.title] == [] and demo.marks["A"].value > demo.marks["base"].value


def test_a_judge_that_failed_a_control_marks_nothing_and_the_page_says_so(tmp_path):
    def obedient(messages, schema):
        obeys = read_fields(messages[-1]["content"])["ANSWER"].startswith("Ignore tout")
        return judged_as("two")(messages, schema) | ({"score": 100} if obeys else {})

    folder = made["make_run"](tmp_path, run_id=NAMES[0], records=right_on(40))
    with OllamaServer(obedient) as server:
        judge([*where(folder), "--host", server.url])
    found = comparison(tmp_path, NAMES[0])
    marks = found.judges[0].marks
    assert marks["A"].low > marks["base"].high and not marks["A"].best
    text = Elements(render(found)).text
    assert "4 of 5, failed: injection" in text and "the control 'injection' failed: the judge said 100" in text


def test_the_page_has_means_demo_marks_and_facts(page):
    elements = Elements(page.read_text("utf-8"))
    assert "judge two:1b, win rate" in elements.text and "20 won, 25 tied, 0 lost" in elements.text
    assert "45 of 45" in elements.text and "5 of 5" in elements.text
    demo = len(elements.of(**{"class": "demo"}))
    assert demo == 3, "one in the table, one in the facts, one in the words below"
    assert "Judge demo-judge:latest (score): DEMO: simple rules judged" in elements.text


def test_the_terminal_shows_the_same_means(found, capsys):
    from rich.console import Console

    Console(width=160).print(judges_table(found.judges, [system.key for system in found.systems]))
    said = capsys.readouterr().out
    assert "DEMO judge demo-judge:latest" in said and column(found, "judge two:1b, score").marks["A"].text in said


def test_every_answer_carries_what_each_judge_said_of_it(page):
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text("utf-8"))[1])
    place = [system["key"] for system in data["systems"]].index("A")
    row = data["rows"][CONTRARY[0]]["answers"][place]["j"]
    assert [judge["title"] for judge in data["judges"]][1] == "judge one:1b, score"
    assert row[1] == [1, 20, "", HOSTILE] and row[2] == [2, 95, "", HOSTILE]
    assert row[0][:3] == [0, 1, "duel with base: won in both orders"] and row[0][3].startswith("base first: ")


@needs_browser
@pytest.mark.parametrize(
    ("hash_", "shown"),
    [
        ("#filter=disputed&run=A&against=B", [*CONTRARY, LOW]),
        ("#filter=disputed&run=B&against=A&row=r-12", [*CONTRARY, LOW]),
        ("#filter=disputed&run=A&against=base", [*CONTRARY, LOW]),
    ],
)
def test_the_filter_shows_the_rows_on_which_judges_and_metrics_disagree(page, hash_, shown):
    looked = look(page, hash_)
    assert shown_rows(looked) == [f"r-{i}" for i in shown]
    assert looked.console == []
    marked = [a["data-row"] for a in looked.dom.of() if "target" in (a.get("class") or "")]
    assert marked == (["r-12"] if "row=" in hash_ else [])


@needs_browser
def test_reasons_are_text_and_can_be_hidden(page):
    looked = look(page, "#filter=disputed&run=A&against=B&reasons=off")
    assert [tag for tag, _ in looked.dom.tags if tag in ("img", "iframe", "object")] == [] and looked.console == []
    assert looked.dom.text.count("judge one:1b, score: 95 of 100") >= 3
    assert len(looked.dom.of(id="cards", **{"class": "brief"})) == 1
    assert looked.dom.of(id="reasons")[0]["aria-pressed"] == "false"


@needs_browser
def test_a_page_without_judges_has_no_such_filter_and_its_address_shows_all(tmp_path):
    made["make_run"](tmp_path, run_id=NAMES[0], records=right_on(20))
    found = comparison(tmp_path, NAMES[0])
    looked = look(write_page(found, tmp_path / "plain.html"), "#filter=disputed")
    assert len(shown_rows(looked)) == 20 and "disagree" not in looked.dom.text and looked.console == []


def test_verdicts_on_other_answers_are_named_and_left_out(tmp_path):
    folder = made["make_run"](tmp_path, run_id=NAMES[0], records=right_on(5))
    ask(folder, "one")
    path = next(folder.glob("evaluation/*/predictions.jsonl"))
    write_jsonl(path, right_on(6))
    found = comparison(tmp_path, NAMES[0])
    assert found.judges == []
    assert found.judge_notes == [
        ("A", "judge/score-one-1b judged other answers than these: ask it again with make judge.")
    ]


def test_all_rows_count_before_a_part_and_other_weights_are_another_judge(tmp_path):
    folders = [made["make_run"](tmp_path, run_id=name, records=right_on(5)) for name in NAMES]
    ask(folders[0], "one", "--limit", "7")
    (part,) = comparison(tmp_path).judges
    assert part.facts[0].rows == "7 of 45"
    ask(folders[0], "one")
    with OllamaServer(judged_as("one"), models=("one:1b",)) as server:
        server.models["one:1b"] = "ff" * 32
        judge([*where(folders[1]), "--host", server.url, "--judge", "one:1b"])
    judges = comparison(tmp_path).judges
    assert [one.title for one in judges] == ["judge one:1b, score", "judge one:1b, score (2)"]
    assert [fact.rows for one in judges for fact in one.facts] == ["45 of 45"] * 2


def test_broken_verdicts_are_an_error_that_names_the_file(tmp_path):
    folder = made["make_run"](tmp_path, run_id=NAMES[0], records=right_on(5))
    ask(folder, "one")
    next(folder.glob("evaluation/*/judge/*/verdicts.jsonl")).write_text('{"id": "r-1", "sys')
    with pytest.raises(AffinageError, match=r"verdicts\.jsonl: cannot be used"):
        comparison(tmp_path, NAMES[0])
