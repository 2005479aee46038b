"""The made-up sample of MedQuAD: the same for its seed, described as it is, and with the faults of the real one."""

import hashlib
import re
import runpy

import pytest

from affinage.curation.build import build
from affinage.curation.options import read_options
from affinage.medquad_demo.dataset import OVERVIEWS, QUESTIONS, REPEATED, make_documents, write_sample
from affinage.paths import CONFIGS, DATASETS, ROOT
from affinage.recipe_pages import PAGES

SHIPPED = DATASETS / "medquad-demo"
FILES = sorted((SHIPPED / "documents").glob("*/*.xml"))
TEXT = "".join(path.read_text(encoding="utf-8") for path in FILES)
ANSWERS = re.findall(r"<Answer>(.*?)</Answer>", TEXT, re.DOTALL)
CARD = (SHIPPED / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The dataset that the recipe's first command makes."""
    typed = {"source": str(SHIPPED / "documents"), "task": "demo", "format": "medquad", "by": "group", "near": "0.9"}
    return build(read_options(typed), tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="module")
def splits(built):
    from affinage.data import dataset_files, read_rows

    return {path.stem: read_rows(path) for path in dataset_files("", str(built.folder))}


def test_the_shipped_files_are_what_the_program_writes(tmp_path):
    place, documents = write_sample(tmp_path, 1)
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert documents == len(FILES) == len(written) - 1
    assert written == {path: (SHIPPED / path).read_bytes() for path in written}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", place.name]


def test_the_script_writes_where_it_is_told_and_says_what_to_type_next(tmp_path, capsys):
    main = runpy.run_path(str(ROOT / "tools" / "make_medquad_demo.py"))["main"]
    main(["--output-dir", str(tmp_path), "--seed", "2"])
    assert f"Next: make data SOURCE={tmp_path}/documents TASK=medquad-demo" in capsys.readouterr().out
    assert make_documents(2) != make_documents(1)
    assert "tools/make_medquad_demo.py --seed 2" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_the_card_counts_what_is_in_the_files():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \|$", CARD, re.MULTILINE)
    assert len(rows) == 4
    for collection, documents, pairs, answered in rows:
        text = "".join(path.read_text(encoding="utf-8") for path in FILES if path.parent.name == collection)
        found = re.findall(r"<Answer>(.*?)</Answer>", text, re.DOTALL)
        counted = (text.count("<Document "), text.count("<QAPair "), sum(map(bool, found)))
        assert counted == (int(documents), int(pairs), int(answered))
    assert f"{len(ANSWERS)} pairs, of which {ANSWERS.count('')} have no answer" in CARD
    assert hashlib.sha256(b"".join(path.read_bytes() for path in FILES)).hexdigest() in CARD


def test_overviews_are_longer_than_what_gpt2_is_given_to_read():
    # a word is a token or more
    assert sum(len(answer.split()) > 512 for answer in ANSWERS) == OVERVIEWS
    assert f"{OVERVIEWS} answers are overviews" in CARD


def test_every_answer_is_read_and_every_empty_one_counted(built):
    steps = {step["step"]: step for step in built.manifest["steps"]}
    empty = steps["read"]["reasons"]["dropped: empty answer"]["rows"]
    assert (empty, steps["read"]["in"]) == (ANSWERS.count(""), len(ANSWERS))
    assert steps["read"]["out"] == len(ANSWERS) - ANSWERS.count("")


def test_no_question_and_no_document_is_in_two_splits_though_six_are_told_twice(splits):
    names = [re.search("<Focus>(.*?)</Focus>", path.read_text(encoding="utf-8"))[1] for path in FILES]
    assert len(names) - len(set(names)) == REPEATED
    assert set(splits) == {"train", "validation", "test"} and len(splits["test"]) >= 20
    for column in ("instruction", "group"):
        found = [set(rows[column]) for rows in splits.values()]
        assert sum(map(len, found)) == len(set().union(*found))
    assert set(splits["train"]["label"]) == set(QUESTIONS)


def test_it_says_that_it_is_no_medical_advice_and_names_nobody():
    assert "**It is no medical advice.**" in CARD and "cc0-1.0" in CARD
    assert set(re.findall(r'url="https://([^/"]+)/', TEXT)) == {"example.org"}


@pytest.mark.slow
def test_the_pages_quote_what_the_shipped_config_says_of_rows_that_512_tokens_cut(built, tmp_path):
    from affinage import preview, training
    from affinage.errors import AffinageError
    from affinage.tiny_models import make_tiny_model, texts_of

    make_tiny_model("gpt2", texts_of("", str(built.folder)), tmp_path / "gpt2")
    config = CONFIGS / "medquad" / "gpt2-medium-full.yaml"
    plan = training.plan(config, str(built.folder), f"base_model={tmp_path / 'gpt2'}")
    with pytest.raises(AffinageError) as refused:
        preview.refuse(plan, allow_truncation=False)
    for page in ("medquad.md", "medquad.fr.md"):
        assert f"```\nerror: {refused.value}\n```" in (PAGES / page).read_text(encoding="utf-8")
