"""Rows that splits share, planted one by one, and what each policy does about them."""

import random

import pytest

from affinage.curation.leaks import LONG_ANSWER, apply_leak_policy, find_leaks
from affinage.curation.rows import Counts
from affinage.errors import AffinageError

LONG = "Les registres sont conservés aux archives départementales, en salle de lecture."
DRAW = random.Random(3)


def row(identity, question="", answer="", **columns):
    """A row whose texts meet no other row's, but for those that are given."""
    made = ["".join(DRAW.choices("abcdefghijklmnopqrstuvwxyz ", k=120)) for _ in range(2)]
    return {
        "instruction": question or made[0],
        "input": "",
        "output": answer or made[1],
        "id": identity,
        "group": f"group of {identity}",
    } | columns


def splits(train=(), validation=(), test=()):
    """The given rows among others that meet nothing."""
    given = {"train": train, "validation": validation, "test": test}
    return {name: [row(f"{name}-{n}") for n in range(5)] + list(rows) for name, rows in given.items()}


def found(report):
    """Every leak as (severity, on, kind, first, second, first ids, second ids), ids taken from the rows' places."""
    return [
        (
            leak.severity,
            leak.on,
            leak.kind,
            leak.first,
            leak.second,
            leak.first_rows.tolist(),
            leak.second_rows.tolist(),
        )
        for leak in report.leaks
    ]


def test_splits_without_a_common_row_have_no_leak():
    report = find_leaks(splits())
    assert report.leaks == ()
    assert report.sizes == {"train": 5, "validation": 5, "test": 5}


def test_a_question_in_two_splits_is_an_error_however_it_is_written():
    data = splits(
        train=[row("a", "Où est le registre ?"), row("b", "Où est le plan ?", input="de 1820")],
        validation=[row("c", "Où est le plan ?", input="de 1821")],
        test=[row("d", "OÙ EST  le registre ?"), row("e", "où est le registre ?\n")],
    )
    report = find_leaks(data, near_threshold=None)
    assert found(report) == [("error", "question", "exact", "train", "test", [5], [5, 6])]
    [example, _] = report.leaks[0].examples
    assert vars(example) == {
        "first_id": "a",
        "second_id": "d",
        "first_text": "Où est le registre ?",
        "second_text": "OÙ EST  le registre ?",
        "similarity": 1.0,
    }


def test_the_instruction_and_the_input_make_the_question_together():
    data = splits(train=[row("a", "Résume.", input="Le texte.")], test=[row("b", "Résume.\nLe texte.")])
    assert [leak[1:3] for leak in found(find_leaks(data))] == [("question", "exact")]


def test_a_question_nearly_in_two_splits_is_a_warning_with_its_similarity():
    one, other = (f"Où sont conservés les registres paroissiaux de la commune de {name} ?" for name in ("Aix", "Apt"))
    report = find_leaks(splits(train=[row("a", one)], test=[row("b", other)]), near_threshold=0.7)
    assert found(report) == [("warning", "question", "near", "train", "test", [5], [5])]
    sets = [{text.lower()[i : i + 5] for i in range(len(text) - 4)} for text in (one, other)]
    assert report.leaks[0].examples[0].similarity == len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    assert find_leaks(splits(train=[row("a", one)], test=[row("b", other)]), near_threshold=None).leaks == ()


def test_every_row_of_a_near_match_is_named_its_copies_included():
    one = "Comment demander une copie de l'acte de naissance de mon grand-père ?"
    other = one.replace("grand-père", "grand-oncle")
    data = splits(
        train=[row("a", one), row("b"), row("c", one.upper())],
        validation=[row("d", other)],
        test=[row("e", other), row("f", other)],
    )
    assert found(find_leaks(data, 0.7)) == [
        ("error", "question", "exact", "validation", "test", [5], [5, 6]),
        ("warning", "question", "near", "train", "validation", [5, 7], [5]),
        ("warning", "question", "near", "train", "test", [5, 7], [5, 6]),
    ]


@pytest.mark.parametrize(
    ("answer", "severity"),
    [("Oui.", "note"), ("x" * (LONG_ANSWER - 1), "note"), ("x" * LONG_ANSWER, "error"), (LONG, "error")],
)
def test_an_answer_in_two_splits_is_an_error_only_when_it_is_long(answer, severity):
    report = find_leaks(splits(train=[row("a", answer=answer)], test=[row("b", answer=answer)]))
    assert found(report) == [(severity, "answer", "exact", "train", "test", [5], [5])]


def test_a_long_answer_nearly_in_two_splits_is_a_warning_and_a_short_one_nothing():
    data = splits(
        train=[row("a", answer=LONG), row("b", answer="Registre de 1820")],
        test=[row("c", answer=LONG.replace("sont", "seront")), row("d", answer="Registre de 1821")],
    )
    assert found(find_leaks(data, 0.6)) == [("warning", "answer", "near", "train", "test", [5], [5])]


def test_a_group_in_two_splits_is_an_error():
    report = find_leaks(splits(train=[row("a", group="fil 12")], test=[row("b", group="fil 12"), row("c", group="")]))
    assert found(report) == [("error", "group", "exact", "train", "test", [5], [5])]
    assert report.leaks[0].examples[0].similarity is None


@pytest.mark.parametrize("empty", ["", " \n", None])
def test_empty_texts_and_groups_meet_nothing(empty):
    rows = [row(name) | {"instruction": empty, "output": empty, "group": empty} for name in "ab"]
    assert find_leaks(splits(train=rows[:1], test=rows[1:])).leaks == ()


def test_rows_need_no_id_and_only_what_is_asked_for_is_looked_at():
    data = {name: [{"instruction": "Où ?", "output": LONG}] for name in ("train", "test")}
    report = find_leaks(data, on=["answer"])
    assert [(leak.on, leak.examples[0].first_id) for leak in report.leaks] == [("answer", "train row 1")]


def test_at_most_so_many_examples_are_kept_the_most_alike_first():
    text = "Quels sont les horaires de la salle de lecture le samedi matin"
    near = [row(str(n), text + " ?" + "abcdefghi"[:n]) for n in range(1, 8)]
    [leak] = find_leaks(splits(train=[row("a", text)], test=near), 0.7, examples=3).leaks
    assert len(leak.second_rows) == 7
    assert [example.second_id for example in leak.examples] == ["1", "2", "3"]


def leaking():
    """One error of each kind: between train and test, train and validation, validation and test; and one warning."""
    near = "Combien coûte la reproduction d'un plan cadastral en couleurs ?"
    return splits(
        train=[row("a", "Où ?"), row("b", "Quand ?"), row("c", near), row("d", group="fil 12")],
        validation=[row("e", "Quand ?"), row("f", answer=LONG)],
        test=[row("g", "Où ?"), row("h", near + "?"), row("i", answer=LONG), row("j", group="fil 12")],
    )


def test_the_policy_error_names_every_error_and_no_warning():
    data = leaking()
    with pytest.raises(AffinageError) as raised:
        apply_leak_policy(data, find_leaks(data), "error", Counts())
    problems = sorted(map(str, raised.value.problems))
    assert len(problems) == 4
    assert problems[0] == (
        "train and test: 1 of 9 test rows have a group that is in train, such as d and j: "
        f"{data['test'][8]['instruction'][:100]!r}. Drop 1 train rows (on leak: drop_from_train), or accept it (warn)."
    )


def test_the_policy_error_lets_warnings_pass_and_counts_them():
    data = splits(train=[row("a", "Combien coûte un plan ?")], test=[row("b", "Combien coûte un plan ??")])
    counts = Counts()
    kept = apply_leak_policy(data, find_leaks(data), "error", counts)
    assert {name: list(rows) for name, rows in kept.items()} == data
    assert counts.of("leaks", "warning: test rows have a question that is nearly in train") == 1


def test_the_policy_warn_keeps_every_row_and_counts_the_leaks():
    data, counts = leaking(), Counts()
    kept = apply_leak_policy(data, find_leaks(data), "warn", counts)
    assert {name: list(rows) for name, rows in kept.items()} == data
    assert counts.of("leaks", "error: test rows have a question that is in train") == 1
    assert counts.examples["leaks", "error: test rows have a question that is in train"] == ["a and g"]


@pytest.mark.parametrize(("near", "gone"), [(False, "abdf"), (True, "abcdf")])
def test_dropping_leaves_the_test_whole_and_counts_every_row(near, gone):
    data, counts = leaking(), Counts()
    streams = {name: iter(rows) for name, rows in data.items()}
    kept = {
        name: list(rows)
        for name, rows in apply_leak_policy(streams, find_leaks(data), "drop_from_train", counts, near).items()
    }
    assert kept == {name: [row for row in rows if row["id"] not in gone] for name, rows in data.items()}
    assert find_leaks(kept).of("error") == []
    assert len(find_leaks(kept).of("warning")) == (not near)
    dropped = sum(n for reason, n in counts.steps["leaks"].items() if reason.startswith("dropped"))
    assert (dropped, counts.of("leaks", "seen")) == (len(gone), 26 - 1)


def test_a_report_of_other_rows_is_refused():
    data = leaking()
    report = find_leaks(data)
    with pytest.raises(ValueError, match="the leak report is of 9 rows, but there are 8"):
        list(apply_leak_policy(data | {"train": data["train"][:-1]}, report, "warn", Counts())["train"])


def test_the_report_as_json_has_counts_and_examples():
    data = splits(train=[row("a", "Où ?")] * 2, test=[row("b", "Où ?")])
    [leak] = [leak for leak in find_leaks(data).to_json()["leaks"] if leak["on"] == "question"]
    assert (leak["first_rows"], leak["second_rows"], leak["severity"]) == (2, 1, "error")
    assert leak["examples"][0]["second_text"] == "Où ?"
