"""ROUGE and the words it counts, against rouge-score itself and against numbers known beforehand."""

import random
import runpy
import unicodedata
from importlib.metadata import version

import pytest
from rouge_score.rouge_scorer import RougeScorer

from affinage.console import run_script
from affinage.paths import ROOT
from affinage.scoring.rouge import COLUMNS, TYPES, explain, longest_common_subsequence, rouge, settings, tokenizer
from affinage.scoring.suite import Rouge
from affinage.scoring.texts import Words, loose

# ROUGE-1 F with: rouge-score's tokenizer, the same with its stemmer, Unicode words, Unicode words with Snowball French.
KNOWN = [
    ("modèle pré-entraîné", "modèle pré-entraîné", (1, 1, 1, 1)),
    ("modàle pré-entraîné", "modèle pré-entraîné", (1, 1, 0.667, 0.667)),
    ("modèle pré-entraîné", "modèles pré-entraînés", (0.727, 0.727, 0.333, 1)),
    ("le cheval", "les chevaux", (0, 0, 0, 0.5)),
    ("été", "étés", (0.667, 0.667, 0, 1)),
    ("à", "é", (0, 0, 0, 0)),
    ("日本語", "日本語", (0, 0, 1, 1)),
]


def scores(first, second, options):
    return next(rouge([first], [second], options))


def texts(seed, n=60):
    draw = random.Random(seed)
    words = "l'été où le chat mange la souris, le chat rouge. Running RUNNING runs à jardin été! 12 3.5".split()
    return [" ".join(draw.choices(words, k=draw.randint(0, 25))) for _ in range(n)]


@pytest.mark.parametrize(("first", "second", "expected"), KNOWN)
def test_the_four_columns_of_each_pair_are_the_known_ones(first, second, expected):
    found = [scores(first, second, options)["rouge1"] for options in COLUMNS.values()]
    assert found == pytest.approx(expected, abs=0.0005)


@pytest.mark.parametrize("stemmer", ["none", "porter"])
def test_the_original_tokenizer_gives_the_numbers_of_rouge_score(stemmer):
    theirs = RougeScorer(TYPES, use_stemmer=stemmer == "porter")
    answers, references = texts(1), texts(2)
    found = rouge(answers, references, Rouge(tokenizer="original", stemmer=stemmer))
    for answer, reference, ours in zip(answers, references, found, strict=True):
        assert ours == pytest.approx({name: s.fmeasure for name, s in theirs.score(reference, answer).items()})


@pytest.mark.parametrize("options", [Rouge(), Rouge(stemmer="snowball"), Rouge(language="en", fold_accents=True)])
def test_other_tokenizers_give_the_numbers_of_rouge_score_with_that_tokenizer(options):
    theirs = RougeScorer(TYPES, tokenizer=tokenizer(options))
    answers, references = texts(3), texts(4)
    found = list(rouge(answers, references, options))
    for answer, reference, ours in zip(answers, references, found, strict=True):
        assert ours == pytest.approx({name: s.fmeasure for name, s in theirs.score(reference, answer).items()})
    assert len({round(one["rougeL"], 6) for one in found}) > 20


def test_the_longest_common_subsequence_is_that_of_the_textbook_table():
    draw = random.Random(0)
    for _ in range(200):
        first, second = (draw.choices("abcd", k=draw.randint(0, 70)) for _ in range(2))
        table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
        for i, one in enumerate(first):
            for j, other in enumerate(second):
                table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
        assert longest_common_subsequence(first, second) == table[-1][-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("L’été, le chef a cuisiné à Noël.", ["l", "été", "le", "chef", "a", "cuisiné", "à", "noël"]),
        ("qu'aujourd'hui j'aie l'œil", ["qu", "aujourd'hui", "j", "aie", "l", "œil"]),
        ("quelqu'un d'autre, presqu'île", ["quelqu'un", "d", "autre", "presqu'île"]),
        (unicodedata.normalize("NFD", "l'ÉTÉ"), ["l", "été"]),
        ("pré-entraîné_x 3,5 %", ["pré", "entraîné", "x", "3", "5"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("« ... » !", []),
        ("", []),
    ],
)
def test_french_words_keep_accents_and_lose_elisions(text, words):
    assert Words("fr").tokenize(text) == words


def test_other_languages_are_cut_at_every_apostrophe_as_rouge_score_does():
    assert Words("en").tokenize("Don't, it’s John's") == ["don", "t", "it", "s", "john", "s"]


def test_words_are_stemmed_from_four_letters_on_as_rouge_score_does():
    assert Words("fr", stem=True).tokenize("les chevaux étés des") == ["les", "cheval", "été", "des"]


def test_accents_are_folded_after_stemming():
    assert Words("fr", stem=True, fold_accents=True).tokenize("étés modèles") == ["ete", "model"]
    assert Words("fr", fold_accents=True).tokenize("où ça Noël") == ["ou", "ca", "noel"]


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("Le chat.", "le  chat", True),
        ("l’été !", "L'ÉTÉ", True),
        ("pré-entraîné", "pré entraîné", True),
        ("été", "ete", False),
        ("-5", "5", False),
        ("5 %", "5", False),
        ("3.5", "35", False),
    ],
)
def test_loose_forms_forgive_case_and_punctuation_and_nothing_that_changes_a_word(first, second, equal):
    assert (loose(first) == loose(second)) is equal


def test_the_settings_beside_the_number_name_the_tokenizer_and_the_library():
    assert settings(Rouge(stemmer="snowball")) == {
        "tokenizer": "unicode",
        "stemmer": "snowball",
        "language": "fr",
        "fold_accents": False,
        "measure": "F",
        "library": f"rouge-score {version('rouge-score')}",
    }
    assert "language" not in settings(Rouge(tokenizer="original"))


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("modàle pré-entraîné", "modèle pré-entraîné", "Both texts become 'mod le pr entra n', so it reads 1.000"),
        ("日本語", "日本語", "Nothing is left of either text, so it reads 0.000"),
        ("été", "étés", "It compares 't' with 't s'"),
        ("the cat", "the cats", ""),
    ],
)
def test_the_explanation_says_what_the_default_tokenizer_makes_of_the_texts(first, second, words):
    assert words in explain(first, second) and bool(explain(first, second)) is bool(words)


@pytest.fixture
def run(capsys):
    """Runs the script as `python evaluate/rouge.py` does; gives exit code, standard output and error."""
    main = runpy.run_path(str(ROOT / "evaluate" / "rouge.py"))["main"]
    return lambda *arguments: (run_script(lambda: main(list(arguments))), *capsys.readouterr())


def test_the_script_shows_the_table_of_two_texts_and_why_the_default_reads_1(run):
    code, out, _ = run("--a", "modàle pré-entraîné", "--b", "modèle pré-entraîné")
    assert code == 0
    assert [line.split() for line in out.splitlines() if line.strip().startswith("ROUGE-")] == [
        ["ROUGE-1", "F", "1.000", "1.000", "0.667", "0.667"],
        ["ROUGE-2", "F", "1.000", "1.000", "0.500", "0.500"],
        ["ROUGE-L", "F", "1.000", "1.000", "0.667", "0.667"],
    ]
    assert "so it reads 1.000 although they differ" in out and "Next: make rouge" in out


def test_the_script_without_texts_shows_the_known_pairs(run):
    _, out, _ = run()
    for first, second, expected in KNOWN:
        line = next(line for line in out.splitlines() if line.split()[:-4] == f"{first} {second}".split())
        assert line.split()[-4:] == [f"{value:.3f}" for value in expected]


def test_the_script_asks_for_the_text_that_is_missing(run):
    code, _, error = run("--a", "x")
    assert code == 2 and "--b: one text is missing" in error


def test_the_script_shows_texts_that_look_like_markup_as_they_are(run):
    code, out, _ = run("--a", "[/b] é", "--b", "[red]à")
    assert code == 0 and "b é" in out and "red à" in out
