"""Dataset cards read back with the Hub's own library, and their numbers against independent counts."""

import hashlib
import json
import re
import runpy
import shlex
from collections import Counter

import pytest
from huggingface_hub import DatasetCard

from affinage.curation.build import build
from affinage.curation.card import Given, card_text, code_span, markdown, read_manifest, size_category, write_card
from affinage.curation.checkup import check_dataset
from affinage.curation.options import read_options
from affinage.errors import AffinageError
from affinage.paths import ROOT

NASTY = "a|b <b>`c`</b> [d](e)"
WORDS = "le notaire conserve les minutes de son étude pendant soixante quinze ans puis les verse aux archives".split()


def rows(n, start=0):
    """French rows with a label, a year and two sources; every fifth is written by a model."""
    return [
        {
            "instruction": f"Question {i * 7919} : {' '.join(WORDS[(i * k) % 16] for k in range(1, 9))} ?",
            "input": "",
            "output": f"Réponse {i * 7927} : {' '.join(WORDS[(i * k + 3) % 16] for k in range(1, 12))}.",
            "label": ("état civil", "notaires", NASTY)[i % 3],
            "source": f"mails-{2022 + i % 2}.txt#{i}",
            "year": 2022 + i % 2,
            "synthetic": i % 5 == 0,
            "label_model": "llama3.1:8b" if i % 2 else "",
        }
        for i in range(start, start + n)
    ]


def write(folder, **splits):
    folder.mkdir(parents=True)
    for name, part in splits.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "archives", train=rows(60), validation=rows(8, 100), test=rows(24, 200))


@pytest.fixture
def plain(tmp_path):
    """Rows with questions and answers alone."""
    bare = [{name: row[name] for name in ("instruction", "input", "output")} for row in rows(30)]
    return write(tmp_path / "plain", train=bare)


def make_card(folder, given=None):
    checkup = check_dataset("archives-départementales", str(folder))
    text = card_text(checkup, read_manifest(folder), given or Given())
    return DatasetCard.load(write_card(text, folder))


def table(card, heading):
    """The cells of the table whose first column has that heading: {first cell: the others}."""
    lines = card.text.split(f"\n| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    cells = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    return {first: others for first, *others in cells}


def test_the_metadata_read_back_is_what_the_files_hold(folder):
    given = Given("Archives : questions", ["cc-by-4.0"], annotations_creators=["expert-generated"])
    data = make_card(folder, given).data.to_dict()
    assert data["configs"] == [
        {
            "config_name": "default",
            "data_files": [{"split": n, "path": f"{n}.jsonl"} for n in ("train", "validation", "test")],
        }
    ]
    for split in data["configs"][0]["data_files"]:
        assert (folder / split["path"]).is_file()
    assert (data["pretty_name"], data["license"], data["language"]) == ("Archives : questions", "cc-by-4.0", ["fr"])
    assert (data["size_categories"], data["task_categories"]) == (["n<1K"], ["text-generation"])
    assert data["annotations_creators"] == ["expert-generated"] and "source_datasets" not in data


def test_every_count_equals_an_independent_count(folder):
    card, splits = make_card(folder), {"train": rows(60), "validation": rows(8, 100), "test": rows(24, 200)}
    expected = {name: str(len(part)) for name, part in splits.items()} | {"all": "92"}
    assert {name: cells[0] for name, cells in table(card, "split").items()} == expected
    for heading, value in {
        "label": lambda row: row["label"],
        "source": lambda row: row["source"].partition("#")[0],
        "year": lambda row: str(row["year"]),
    }.items():
        counts = {name: Counter(map(value, part)) for name, part in splits.items()}
        whole = sum(counts.values(), Counter())
        found = table(card, heading)
        assert found == {
            str(markdown(key)): [str(counts[name][key]) for name in splits] + [str(whole[key])] for key in whole
        }
    every = [row for part in splits.values() for row in part]
    assert f"{sum(row['synthetic'] for row in every)} rows are synthetic" in card.text
    assert f"`label_model`: {sum(bool(row['label_model']) for row in every)} of 92 rows" in card.text


def test_rows_touched_by_a_language_model_carry_a_silver_notice_and_others_none(folder, plain):
    card = make_card(folder)
    assert "**Silver standard.**" in card.text
    assert card.data.tags == ["silver-standard", "synthetic"]
    assert card.data.annotations_creators == ["machine-generated"]
    other = make_card(plain)
    assert "ilver" not in other.text and "tags" not in other.data and other.data.annotations_creators is None


def test_a_manifest_with_steps_of_a_model_gives_model_and_precision(plain):
    manifest = {
        "affinage": "0.1.0",
        "task": "plain",
        "recipe": {"name": "curate.yaml"},
        "model": {"name": "llama3.1:8b", "digest": "abc123"},
        "precision": {"cut": {"n": 20, "correct": 19, "precision": 0.95, "low": 0.764, "high": 0.991}},
        "steps": [
            {
                "step": "cut",
                "in": 60,
                "out": 30,
                "reasons": {"dropped: no answer": {"rows": 30}},
                "kind": "language model",
            }
        ],
    }
    (plain / "manifest.json").write_text(json.dumps(manifest))
    text = make_card(plain).text
    for expected in ("steps by a language model: cut; model llama3.1:8b, digest `abc123`\n", "make curate TASK=plain"):
        assert expected in text
    assert "a person marked 20 decisions of step cut: 19 were right (0.95; 95 % interval 0.76 to 0.99)" in text
    assert "no estimate" not in text


def test_steps_sources_and_the_command_are_those_of_a_real_build(tmp_path):
    source = tmp_path / "mails.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in [*rows(60), rows(1)[0], {**rows(1)[0], "output": ""}]))
    typed = {"source": str(source), "task": "archives", "split": "0.5/0.25/0.25", "min_words": "2", "replace": True}
    built = build(read_options(typed), tmp_path / "datasets")
    card = make_card(built.folder, Given(licences=["cc0-1.0", "mails.jsonl=cc-by-4.0"]))
    steps = table(card, "step")
    recorded = {step["step"]: step for step in built.manifest["steps"]}
    assert {name: cells[:2] for name, cells in steps.items()} == {
        name: [str(step["in"]), str(step["out"])]
        for name, step in recorded.items()
        if step["reasons"] or name == "read"
    }
    idle = card.text.split("Nothing to do in: ")[1].split(".\n")[0].split(", ")
    assert sorted([*steps, *idle]) == sorted(recorded)
    assert "empty answer: 1" in steps["empty answers"][2] and "exact duplicate: 1" in steps["exact duplicates"][2]
    assert f"| mails.jsonl | cc-by-4.0 | `{hashlib.sha256(source.read_bytes()).hexdigest()}` |" in card.text
    command = card.text.split("```sh\n")[1].split("\n```")[0]
    assert "changed after" not in card.text and str(tmp_path) not in card.text
    words = shlex.split(command)
    assert (ROOT / words[1]).is_file() and words[words.index("--split") + 1] == "0.5/0.25/0.25"
    with (built.folder / "test.jsonl").open("a") as file:
        file.write(json.dumps(rows(1, 900)[0]) + "\n")
    assert "changed after those steps: `test.jsonl`" in make_card(built.folder).text


def test_what_nobody_told_is_said_to_be_unknown(plain):
    card = make_card(plain)
    for expected in ("No licence stated.", "Not known: no `manifest.json`", "Where the rows come from is not known."):
        assert expected in card.text
    assert card.data.license is None and card.data.source_datasets is None


def test_leaks_and_personal_data_are_counted_with_the_date_and_never_quoted(tmp_path):
    train, test = rows(30), rows(25, 100)
    train[3]["output"] += " Écrivez à marie.durand@mairie-exemple.fr."
    test[0]["instruction"] = train[5]["instruction"]
    text = make_card(write(tmp_path / "leaky", train=train, test=test)).text
    assert "| test | train | question | exact | 1 |" in text and "| email | 1 | 0 | 1 |" in text
    assert re.search(r"Made on 20\d\d-\d\d-\d\d", text)
    assert "marie" not in text and train[5]["instruction"] not in text


@pytest.mark.parametrize("made", [markdown, code_span])
def test_markup_and_cell_ends_in_data_are_escaped(made):
    shown = str(made(f"{NASTY}\nx"))
    assert "\n" not in shown and not re.search(r"(?<!\\)\|", shown)
    if made is markdown:
        assert "<b>" not in shown and r"\[d\](e)" in shown


def test_every_licence_that_cannot_be_used_is_named_at_once(folder):
    with pytest.raises(AffinageError) as raised:
        make_card(folder, Given(licences=["CC BY", "mails-2030.txt=mit", "mails-2022.txt=mit"]))
    assert [problem.where for problem in raised.value.problems] == ["LICENCE CC BY", "LICENCE mails-2030.txt=mit"]
    assert "mails-2022.txt, mails-2023.txt" in str(raised.value) or "mails-2023.txt, mails-2022.txt" in str(
        raised.value
    )


@pytest.mark.parametrize(("n", "word"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**7, "n>10M")])
def test_the_size_is_in_the_words_of_the_hub(n, word):
    assert size_category(n) == word


def test_a_readme_of_a_person_or_edited_by_one_is_kept_unless_told_otherwise(plain, monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    main = runpy.run_path(str(ROOT / "tools" / "make_card.py"))["main"]
    arguments, readme = ["--task", "plain", "--dataset", str(plain)], plain / "README.md"
    main(arguments)
    first = readme.read_text(encoding="utf-8")
    main([*arguments, "--licence", "mit"])
    assert DatasetCard.load(readme).data.license == "mit" and "Next: make" in capfd.readouterr().out
    for text, words in (
        (first + "\nAjout.\n", "edited"),
        (first.replace("30", "31", 1), "edited"),
        ("# À la main", "not written"),
    ):
        readme.write_text(text, encoding="utf-8")
        with pytest.raises(AffinageError, match=rf"README\.md: .*{words}.*REPLACE=1"):
            main(arguments)
        assert readme.read_text(encoding="utf-8") == text
    main([*arguments, "--replace"])
    assert DatasetCard.load(readme).data.pretty_name == "Plain"
    assert sorted(path.name for path in plain.iterdir()) == ["README.md", "train.jsonl"]


def test_a_broken_manifest_is_an_error_and_that_of_another_program_no_manifest(plain):
    (plain / "manifest.json").write_text('{"steps": 3}')
    assert read_manifest(plain) == {} and "Not known: no `manifest.json`" in make_card(plain).text
    (plain / "manifest.json").write_text("{")
    with pytest.raises(AffinageError, match=r"manifest\.json: is not valid JSON"):
        read_manifest(plain)
