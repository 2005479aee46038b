"""The voix-passive dataset: French that is right, splits that are apart, a file that can be made again."""

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter

import pytest

from affinage.paths import DATASETS, ROOT
from affinage.voix_passive.dataset import FILE_NAME, write_dataset
from affinage.voix_passive.grammar import Clause, NounPhrase, active, negated, passive, plural_object
from affinage.voix_passive.lexicon import FIELDS, HELD_OUT_NOUNS, HELD_OUT_VERBS, PERSONS, Verb
from affinage.voix_passive.rows import INSTRUCTIONS

FOLDER = DATASETS / "voix-passive"
NOUNS = {noun.lemma: noun for field in FIELDS.values() for noun in (*PERSONS, *field.objects)}
VERBS = {verb for field in FIELDS.values() for verb in field.verbs}

# Written by hand: subject, verb, object, tense; then active, passive, negative, plural of the object.
# A capital letter marks a plural phrase.
SENTENCES = [
    (
        ("definite", "facteur", "apporter", "definite", "lettre", "présent"),
        "Le facteur apporte la lettre.",
        "La lettre est apportée par le facteur.",
        "Le facteur n'apporte pas la lettre.",
        "Le facteur apporte les lettres.",
    ),
    (
        ("Definite", "hockeyeur", "saluer", "demonstrative", "enfant", "présent"),
        "Les hockeyeurs saluent cet enfant.",
        "Cet enfant est salué par les hockeyeurs.",
        "Les hockeyeurs ne saluent pas cet enfant.",
        "Les hockeyeurs saluent ces enfants.",
    ),
    (
        ("definite", "avocat", "signer", "indefinite", "contrat", "passé composé"),
        "L'avocat a signé un contrat.",
        "Un contrat a été signé par l'avocat.",
        "L'avocat n'a pas signé de contrat.",
        "L'avocat a signé des contrats.",
    ),
    (
        ("Mon", "voisine", "étudier", "indefinite", "étude", "imparfait"),
        "Mes voisines étudiaient une étude.",
        "Une étude était étudiée par mes voisines.",
        "Mes voisines n'étudiaient pas d'étude.",
        "Mes voisines étudiaient des études.",
    ),
    (
        ("mon", "hôtesse", "goûter", "indefinite", "huître", "futur"),
        "Mon hôtesse goûtera une huître.",
        "Une huître sera goûtée par mon hôtesse.",
        "Mon hôtesse ne goûtera pas d'huître.",
        "Mon hôtesse goûtera des huîtres.",
    ),
    (
        ("indefinite", "cuisinier", "couper", "indefinite", "homard", "passé composé"),
        "Un cuisinier a coupé un homard.",
        "Un homard a été coupé par un cuisinier.",
        "Un cuisinier n'a pas coupé de homard.",
        "Un cuisinier a coupé des homards.",
    ),
    (
        ("Indefinite", "étudiante", "louer", "definite", "hangar", "futur"),
        "Des étudiantes loueront le hangar.",
        "Le hangar sera loué par des étudiantes.",
        "Des étudiantes ne loueront pas le hangar.",
        "Des étudiantes loueront les hangars.",
    ),
    (
        ("definite", "harpiste", "repasser", "son", "écharpe", "présent"),
        "Le harpiste repasse son écharpe.",
        "Son écharpe est repassée par le harpiste.",
        "Le harpiste ne repasse pas son écharpe.",
        "Le harpiste repasse ses écharpes.",
    ),
    (
        ("demonstrative", "institutrice", "oublier", "son", "veste", "imparfait"),
        "Cette institutrice oubliait sa veste.",
        "Sa veste était oubliée par cette institutrice.",
        "Cette institutrice n'oubliait pas sa veste.",
        "Cette institutrice oubliait ses vestes.",
    ),
    (
        ("Demonstrative", "ouvrière", "rénover", "notre", "hôtel", "passé composé"),
        "Ces ouvrières ont rénové notre hôtel.",
        "Notre hôtel a été rénové par ces ouvrières.",
        "Ces ouvrières n'ont pas rénové notre hôtel.",
        "Ces ouvrières ont rénové nos hôtels.",
    ),
    (
        ("Leur", "cousin", "arroser", "definite", "haie", "futur"),
        "Leurs cousins arroseront la haie.",
        "La haie sera arrosée par leurs cousins.",
        "Leurs cousins n'arroseront pas la haie.",
        "Leurs cousins arroseront les haies.",
    ),
    (
        ("leur", "oncle", "photographier", "leur", "maison", "imparfait"),
        "Leur oncle photographiait leur maison.",
        "Leur maison était photographiée par leur oncle.",
        "Leur oncle ne photographiait pas leur maison.",
        "Leur oncle photographiait leurs maisons.",
    ),
    (
        ("demonstrative", "horloger", "réparer", "definite", "horloge", "passé composé"),
        "Cet horloger a réparé l'horloge.",
        "L'horloge a été réparée par cet horloger.",
        "Cet horloger n'a pas réparé l'horloge.",
        "Cet horloger a réparé les horloges.",
    ),
    (
        ("Notre", "tante", "habiller", "mon", "cousine", "futur"),
        "Nos tantes habilleront ma cousine.",
        "Ma cousine sera habillée par nos tantes.",
        "Nos tantes n'habilleront pas ma cousine.",
        "Nos tantes habilleront mes cousines.",
    ),
]
# An object that is in the plural already: active, passive, negative.
PLURAL_OBJECTS = [
    (
        ("definite", "étudiante", "écouter", "Indefinite", "actrice", "présent"),
        "L'étudiante écoute des actrices.",
        "Des actrices sont écoutées par l'étudiante.",
        "L'étudiante n'écoute pas d'actrices.",
    ),
    (
        ("son", "infirmière", "soigner", "Definite", "rose", "imparfait"),
        "Son infirmière soignait les roses.",
        "Les roses étaient soignées par son infirmière.",
        "Son infirmière ne soignait pas les roses.",
    ),
    (
        ("Definite", "artisan", "emprunter", "Notre", "pompe", "passé composé"),
        "Les artisans ont emprunté nos pompes.",
        "Nos pompes ont été empruntées par les artisans.",
        "Les artisans n'ont pas emprunté nos pompes.",
    ),
    (
        ("indefinite", "actrice", "exposer", "Demonstrative", "gilet", "futur"),
        "Une actrice exposera ces gilets.",
        "Ces gilets seront exposés par une actrice.",
        "Une actrice n'exposera pas ces gilets.",
    ),
]


def _phrase(determiner, lemma):
    return NounPhrase(NOUNS[lemma], determiner.lower(), plural=determiner[0].isupper())


def _clause(subject_determiner, subject, verb, object_determiner, patient, tense):
    verb = Verb(verb.removesuffix("er"))
    return Clause(_phrase(subject_determiner, subject), verb, _phrase(object_determiner, patient), tense)


@pytest.fixture(scope="module")
def rows():
    return [json.loads(line) for line in (FOLDER / FILE_NAME).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("words", "a", "p", "n", "plural"), SENTENCES, ids=lambda value: str(value)[:30])
def test_each_clause_gives_the_four_sentences_a_french_speaker_writes(words, a, p, n, plural):
    clause = _clause(*words)
    assert [form(clause) for form in (active, passive, negated, plural_object)] == [a, p, n, plural]


@pytest.mark.parametrize(("words", "a", "p", "n"), PLURAL_OBJECTS, ids=lambda value: str(value)[:30])
def test_a_plural_object_agrees_everywhere(words, a, p, n):
    clause = _clause(*words)
    assert [form(clause) for form in (active, passive, negated)] == [a, p, n]


def test_no_verb_changes_its_stem():
    # manger, placer, payer, appeler, jeter, acheter, préférer would need spelling rules that the grammar has not.
    changing = re.compile(r"([cgy]|[eé]([bcdfgjklmnprstvz]|[bcdfgptv][lr]|ch|gn|qu))$")
    assert VERBS
    assert [verb.lemma for verb in VERBS if changing.search(verb.stem)] == []


def test_every_noun_takes_a_plain_s_in_the_plural():
    assert [lemma for lemma in NOUNS if re.search(r"([sxz]|au|eu|al|ail)$", lemma)] == []


def test_every_verb_in_h_has_a_mute_one():
    assert [verb.lemma for verb in VERBS if verb.stem.startswith("h")] == ["habiller"]


def test_held_out_words_are_words_of_the_lexicon():
    assert VERBS >= HELD_OUT_VERBS
    assert set(NOUNS.values()) >= HELD_OUT_NOUNS


def test_the_shipped_files_are_what_the_generator_writes(tmp_path):
    write_dataset(tmp_path, seed=1)
    for name in (FILE_NAME, "README.md"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name


def test_the_script_writes_both_files_and_nothing_else(tmp_path):
    script = ROOT / "tools" / "make_voix_passive.py"
    subprocess.run([sys.executable, script, "--output-dir", tmp_path, "--seed", "2"], check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", FILE_NAME]


def test_the_card_states_the_hash_of_the_rows():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256((FOLDER / FILE_NAME).read_bytes()).hexdigest() in card


def test_there_are_at_least_4000_rows_and_every_label_is_equally_frequent_in_each_split(rows):
    counts = Counter((row["split"], row["label"]) for row in rows)
    assert len(rows) >= 4000
    assert set(counts) == {(split, label) for split in (0, 1, 2) for label in INSTRUCTIONS}
    assert all(len({counts[split, label] for label in INSTRUCTIONS}) == 1 for split in (0, 1, 2))


def test_every_split_uses_every_wording_of_every_label(rows):
    for split in (0, 1, 2):
        for label, wordings in INSTRUCTIONS.items():
            assert len(wordings) >= 3
            used = {row["instruction"] for row in rows if (row["split"], row["label"]) == (split, label)}
            assert used == set(wordings)


def test_many_sentences_come_under_several_instructions(rows):
    labels = {}
    for row in rows:
        labels.setdefault(row["input"], set()).add(row["label"])
    assert sum(len(found) > 1 for found in labels.values()) > len(rows) / 5


def test_no_row_and_no_identifier_occurs_twice(rows):
    assert len({(row["instruction"], row["input"]) for row in rows}) == len(rows)
    assert len({row["id"] for row in rows}) == len(rows)


@pytest.mark.parametrize("columns", [("group",), ("input",), ("output",)])
def test_nothing_straddles_splits(rows, columns):
    splits = {}
    for row in rows:
        splits.setdefault(tuple(row[column] for column in columns), set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())


def test_no_word_of_the_test_split_was_trained_on(rows):
    # Compared as written words, so that a noun that looks like a form of a verb would be caught as well.
    held_out = {noun.lemma + end for noun in HELD_OUT_NOUNS for end in ("", "s")}
    endings = ("e", "ent", "ait", "aient", "era", "eront", "é", "ée", "és", "ées", "er")
    held_out |= {verb.stem + end for verb in HELD_OUT_VERBS for end in endings}
    for row in rows:
        words = set(re.findall(r"\w+", f"{row['input']} {row['output']} {row['group']}".lower()))
        if row["split"] != 2:
            assert not words & held_out, row
        else:
            assert len(words & held_out) >= 3, row
