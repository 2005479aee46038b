"""Exact and near duplicates, against every pair compared one by one."""

import random
import subprocess
import sys
import unicodedata
from itertools import combinations, product

import pytest

from affinage.curation.duplicates import (
    drop_exact,
    drop_near,
    near_pairs,
    near_pairs_between,
    normalized,
    text_key,
)
from affinage.curation.minhash import BATCH, WORTH_PROCESSES, NearDuplicates
from affinage.curation.rows import Counts

WORDS = """le la un une archive notaire registre paroisse naissance mariage décès commune salle lecture demande
ancêtre généalogie dossier cote microfilm original délai loi acte cadastre parcelle plan justice paix""".split()


def sentences(n, seed=0, repeats=0.5):
    """Sentences of 15 to 30 words, of which some are earlier ones with a few words changed."""
    draw, made = random.Random(seed), []
    for _ in range(n):
        if made and draw.random() < repeats:
            words = list(draw.choice(made))
            for _ in range(draw.randint(0, 4)):
                words[draw.randrange(len(words))] = draw.choice(WORDS)
        else:
            words = draw.choices(WORDS, k=draw.randint(15, 30))
        made.append(words)
    return [" ".join(words) for words in made]


def ngrams(text, n=5):
    """An independent reading of the definition, for texts whose normal form is the text in lower case."""
    return {text[i : i + n] for i in range(len(text) - n + 1)} or {text}


def brute_force(texts, threshold, n=5):
    sets = [ngrams(text.lower(), n) for text in texts]
    scores = {(i, j): len(sets[i] & sets[j]) / len(sets[i] | sets[j]) for i, j in combinations(range(len(sets)), 2)}
    return {pair: score for pair, score in scores.items() if score >= threshold}


def rows_of(*outputs, **columns):
    return [
        {"instruction": "i", "input": "", "output": text, "id": str(n), **columns} for n, text in enumerate(outputs)
    ]


def kept(rows):
    return [row["id"] for row in rows]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Où est-il ?", "où  est-il\n?"),
        (unicodedata.normalize("NFD", "Éléonore"), unicodedata.normalize("NFC", "éléonore")),
        ("STRASSE", "straße"),
        (" a\u00a0b\t", "a b"),
    ],
)
def test_texts_that_differ_in_case_form_or_white_space_have_one_key(one, other):
    assert text_key(one) == text_key(other)
    assert len(text_key(one)) == 16


@pytest.mark.parametrize(("one", "other"), [("à", "a"), ("ab", "a b"), ("", "."), ("l'an", "l’an")])
def test_texts_that_differ_in_a_character_have_two_keys(one, other):
    assert text_key(one) != text_key(other)


def test_a_normal_form_is_its_own_normal_form():
    text = "".join(map(chr, [*range(32, 0x3000), *range(0xFB00, 0xFB20), 0x1E9E, 0x1F600]))
    assert normalized(normalized(text)) == normalized(text)


def test_the_first_of_equal_rows_is_kept_and_the_others_are_counted():
    counts = Counts()
    rows = rows_of("Oui.", "Non.", "OUI. ", "oui.", "Non")
    assert kept(drop_exact(iter(rows), counts)) == ["0", "1", "4"]
    assert counts.of("exact duplicates", "seen") == 5
    assert counts.of("exact duplicates", "dropped: exact duplicate") == 2
    assert counts.examples["exact duplicates", "dropped: exact duplicate"] == ["2: i\nOUI. ", "3: i\noui."]


def test_rows_are_equal_only_when_every_column_is():
    # fault: columns glued together make "a" + "b c" the same as "a b" + "c"
    rows = [{"instruction": "a", "output": "b c"}, {"instruction": "a b", "output": "c"}, {"instruction": "a b c"}]
    assert list(drop_exact(rows, Counts())) == rows
    assert len(list(drop_exact(rows, Counts(), columns=["input"]))) == 1


@pytest.mark.parametrize(("threshold", "shingle"), [(0.8, 5), (0.5, 5), (0.9, 3), (0.3, 4), (1.0, 5)])
def test_near_pairs_are_those_of_every_pair_compared(threshold, shingle):
    texts = sentences(300)
    found = {(pair.i, pair.j): pair.jaccard for pair in near_pairs(texts, threshold, shingle)}
    expected = brute_force(texts, threshold, shingle)
    assert expected
    assert {pair: expected[pair] for pair in found} == found  # none below the threshold, each score exact
    well_above = [pair for pair, score in expected.items() if score >= min(threshold + 0.05, 1)]
    assert sum(pair in found for pair in well_above) >= 0.95 * len(well_above)
    assert len(found) >= 0.95 * len(expected)


def test_each_pair_comes_once():
    pairs = list(near_pairs(sentences(200), 0.5))
    assert len({(pair.i, pair.j) for pair in pairs}) == len(pairs) > 100


def test_a_planted_near_copy_is_found_among_others():
    texts = sentences(500, repeats=0)
    texts[321] = texts[12].upper().replace("NOTAIRE", "notaires", 1) + "  !"
    assert [(pair.i, pair.j) for pair in near_pairs(texts)] == [(12, 321)]


def test_texts_shorter_than_the_shingle_are_compared_exactly():
    texts = ["oui", "Oui ", "ouïe", "", "  ", "non", "\0\0", "abcde", "abcdf", "ABCDE"]
    assert sorted(near_pairs(texts, 0.1)) == [(0, 1, 1.0), (3, 4, 1.0), (7, 9, 1.0)]


def test_between_two_sets_only_pairs_across_are_given():
    left, right = sentences(80, seed=1), sentences(80, seed=1)[::-1] + sentences(20, seed=2)
    found = {(pair.i, pair.j): pair.jaccard for pair in near_pairs_between(left, right, 0.7)}
    expected = {
        (i, j): score
        for (i, j), (a, b) in zip(product(range(80), range(100)), product(left, right), strict=True)
        if (score := len(ngrams(a) & ngrams(b)) / len(ngrams(a) | ngrams(b))) >= 0.7
    }
    assert expected.items() >= found.items()
    assert len(found) >= 0.95 * len(expected) > 80


@pytest.mark.parametrize("texts", [[], ["seul"]])
def test_fewer_than_two_texts_have_no_pair(texts):
    assert list(near_pairs(texts)) == []
    assert list(near_pairs_between(texts, [])) == []
    assert list(drop_near(rows_of(*texts), 0.8, Counts())) == rows_of(*texts)


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, 80])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        near_pairs([], threshold)


def test_the_first_of_each_cluster_is_kept_and_the_dropped_name_it():
    base, counts = " ".join(WORDS), Counts()
    rows = rows_of(base, "tout autre chose ici", base + " fin", base.upper(), base + " fin du texte")
    assert kept(drop_near(iter(rows), 0.8, counts)) == ["0", "1"]
    assert counts.of("near duplicates", "seen") == 5
    assert counts.of("near duplicates", "dropped: near duplicate") == 3
    first, second, _ = counts.examples["near duplicates", "dropped: near duplicate"]
    assert first.startswith("2 (0.98 like 0): i\nle la un une")
    assert second.startswith("3 (1.00 like 0): i\nLE LA UN UNE")


def test_clusters_are_the_connected_parts_of_the_pairs():
    texts = sentences(400, seed=5)
    index = NearDuplicates(0.7, processes=1)
    index.add(texts)
    first = list(range(len(texts)))
    for i, j, _ in sorted(index.pairs()):
        low, high = sorted((first[i], first[j]))
        first = [low if place == high else place for place in first]
    assert index.clusters().tolist() == first
    assert len(set(first)) < 300


def test_many_equal_rows_do_not_make_every_pair():
    # 30,000 equal texts are 450 million pairs: comparing them would take hours
    rows = ({"instruction": "", "output": text, "id": str(n)} for n, text in enumerate(["Oui."] * 30_000 + ["Non."]))
    assert kept(drop_near(rows, 0.8, Counts(), processes=1)) == ["0", "30000"]


def test_dropped_rows_keep_their_types_and_order_on_disk():
    rows = rows_of(*sentences(50, repeats=0), label=None, votes=3, tags=("a", 1.5))
    assert list(drop_near(iter(rows), 0.8, Counts())) == rows


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing():
    texts = sentences(BATCH * WORTH_PROCESSES + 10, repeats=0.02)
    one, two = (list(near_pairs(texts, processes=processes)) for processes in (1, 2))
    assert one == two
    assert len(one) > 100


def test_the_result_does_not_depend_on_the_run():
    code = (
        "import random; from affinage.curation.duplicates import near_pairs;"
        "d = random.Random(1); print(list(near_pairs([''.join(d.choices('abc', k=40)) for _ in range(100)], 0.2)))"
    )
    shown = {subprocess.check_output([sys.executable, "-c", code], env={"PYTHONHASHSEED": s}) for s in ("1", "2")}
    assert len(shown) == 1
    assert b"Pair(" in shown.pop()
