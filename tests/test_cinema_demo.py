"""The shipped reviews and announcements: the same for their seed, right in what they say, as hard as the card says."""

import hashlib
import json
import re
from collections import Counter
from datetime import date
from random import Random

import pytest

from affinage.cinema_demo import opinions, reviews, screenings
from affinage.cinema_demo.dataset import write_reviews, write_screenings
from affinage.paths import DATASETS

WRITERS = {"sentiment": write_reviews, "extraction": write_screenings}


def shipped(task):
    """The text of the rows, the rows, and the card."""
    text = (DATASETS / task / f"{task}.jsonl").read_text(encoding="utf-8")
    return text, [json.loads(line) for line in text.splitlines()], (DATASETS / task / "README.md").read_text("utf-8")


@pytest.mark.parametrize("task", WRITERS)
def test_the_shipped_files_are_what_the_program_writes(task, tmp_path):
    WRITERS[task](tmp_path / "new", 1)
    for name in (f"{task}.jsonl", "README.md"):
        assert (tmp_path / "new" / name).read_bytes() == (DATASETS / task / name).read_bytes()
    assert len(list((tmp_path / "new").iterdir())) == 2
    WRITERS[task](tmp_path / "other", 2)
    assert (tmp_path / "other" / f"{task}.jsonl").read_text("utf-8") != shipped(task)[0]


@pytest.mark.parametrize("task", WRITERS)
def test_no_film_is_in_two_splits_and_no_text_comes_twice(task):
    text, rows, card = shipped(task)
    splits = {split: {row["group"] for row in rows if row["split"] == split} for split in (0, 1, 2)}
    assert [len(films) for films in splits.values()] == [40, 8, 12]
    assert not splits[0] & splits[1] and not splits[0] & splits[2] and not splits[1] & splits[2]
    assert len({row["input"] for row in rows}) == len({row["id"] for row in rows}) == len(rows)
    assert all(f"« {row['group']} »" in row["input"] for row in rows)
    assert hashlib.sha256(text.encode()).hexdigest() in card and f"{len(rows)} short French" in card


def test_the_labels_are_as_frequent_in_every_split():
    _, rows, card = shipped("sentiment")
    for split in (0, 1, 2):
        counts = Counter(row["output"] for row in rows if row["split"] == split)
        assert set(counts) == set(opinions.LABELS) and max(counts.values()) - min(counts.values()) <= 10
        assert " | ".join(str(counts[label]) for label in opinions.LABELS) in card
    assert all(row["label"] == row["output"] for row in rows)


def test_every_turn_says_the_opposite_in_the_same_words():
    scenario, music = opinions.ASPECTS[0], next(a for a in opinions.ASPECTS if a.words == "la musique")
    good, bad = ("juste", "juste"), ("prévisible", "prévisible")  # one form for both genders
    assert good in opinions.GOOD and bad in opinions.BAD
    one_word = set()
    for turn in opinions.TURNS:
        liked = turn(opinions.Words(scenario, music, good, bad))
        disliked = turn(opinions.Words(scenario, music, bad, good))
        assert liked != disliked
        if "juste" in liked and "prévisible" in liked:
            assert sorted(re.findall(r"\w+", liked)) == sorted(re.findall(r"\w+", disliked))
        else:
            one_word.add(turn)
    assert len(one_word) == 4 and len(opinions.TURNS) == 9


def test_adjectives_agree_and_vowels_are_elided():
    for seed in range(300):
        text = " ".join(opinions.opinions(Random(seed), opinions.LABELS[seed % 3], 3))
        assert not re.search(r"\b(de|que|le|la|ne|malgré l') ?[aeiouâéèêîôûœ]", text, re.IGNORECASE), text
        assert "  " not in text and text[0].isupper() and text.endswith(".")
    masculine, feminine = opinions.ASPECTS[0], next(a for a in opinions.ASPECTS if a.words == "la musique")
    assert opinions.agreed(("plat", "plate"), masculine) == "plat"
    assert opinions.agreed(("plat", "plate"), feminine) == "plate"
    assert [aspect.indefinite for aspect in (masculine, feminine)] == ["un scénario", "une musique"]


@pytest.mark.slow
def test_the_card_says_how_far_single_words_get():
    from sklearn.dummy import DummyClassifier
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, f1_score

    _, rows, card = shipped("sentiment")
    texts, labels = (
        {s: [row[key] for row in rows if row["split"] == s] for s in (0, 2)} for key in ("input", "output")
    )

    def measured(model, n):
        words = CountVectorizer(ngram_range=(1, n))
        model.fit(words.fit_transform(texts[0]), labels[0])
        found = model.predict(words.transform(texts[2]))
        return f"{accuracy_score(labels[2], found):.3f} | {f1_score(labels[2], found, average='macro'):.3f}"

    frequent = min(Counter(labels[0]).items(), key=lambda item: (-item[1], item[0]))[0]
    assert f"| {measured(DummyClassifier(strategy='constant', constant=frequent), 1)} |" in card
    assert f"| single words | {measured(LogisticRegression(max_iter=1000), 1)} |" in card
    assert f"| one to three words in a row | {measured(LogisticRegression(max_iter=1000), 3)} |" in card


def test_an_announcement_says_what_its_object_holds():
    _, rows, card = shipped("extraction")
    for row in rows:
        answer, text = json.loads(row["output"]), row["input"]
        assert tuple(answer) == screenings.FIELDS and answer["film"] == row["group"]
        assert answer["lieu"] in text and answer["ville"] in text
        day = date.fromisoformat(answer["date"])
        assert any(screenings.written_day(day, numbers) in text for numbers in (True, False))
        hour, minute = answer["heure"].split(":")
        assert f"{int(hour)} h {minute}" in text or (minute == "00" and re.search(rf"\b{int(hour)} h\b(?! \d)", text))
        free = "Entrée libre" in text or "Gratuit" in text
        assert (answer["prix"] == 0) == free
        if answer["prix"]:
            assert f"{str(answer['prix']).replace('.5', ',50')} €" in text
        assert (answer["prix"] is None) == (" €" not in text and not free)
    priced = sum(json.loads(row["output"])["prix"] is not None for row in rows if row["split"] == 2)
    assert f"| 2 = test | 84 | {priced} |" in card


def test_days_are_written_as_people_write_them():
    assert screenings.written_day(date(2025, 5, 1), False) == "le jeudi 1er mai 2025"
    assert screenings.written_day(date(2025, 3, 14), True) == "le 14/03/2025"


def test_another_seed_holds_out_other_films():
    films = {row["group"] for row in reviews.make_rows(3) if row["split"] == 2}
    assert len(films) == 12 and films != {row["group"] for row in reviews.make_rows(1) if row["split"] == 2}
