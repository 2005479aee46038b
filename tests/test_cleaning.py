"""What each rule changes and drops, what it must leave alone, and that nothing goes uncounted."""

import unicodedata

import pytest
from pydantic import ValidationError

from affinage.curation.cleaning import CleaningRules, clean, without_control_characters
from affinage.curation.languages import known_languages, language_of
from affinage.curation.markup import is_about_markup, without_markup
from affinage.curation.rows import Counts

OFF = {
    "normalize_unicode": False,
    "control_characters": "keep",
    "html": "keep",
    "whitespace": False,
    "drop_empty": False,
    "drop_output_equals_input": False,
    "min_output_chars": 0,
    "exact_duplicates": False,
}
FRENCH = "Les registres paroissiaux sont conservés aux archives départementales."
ENGLISH = "The parish registers are kept in the archives of the department."


def row(output="réponse", instruction="Une question ?", **columns):
    return {"instruction": instruction, "input": "", "output": output, "id": "r1"} | columns


def cleaned(*rows, **rules):
    """The rows that only these rules leave, and what they counted."""
    counts = Counts()
    return list(clean(iter(rows), CleaningRules(**OFF | rules), counts)), counts


def text_after(text, **rules):
    [made], _ = cleaned(row(text), **rules)
    return made["output"]


def test_without_a_rule_rows_come_out_as_they_went_in():
    given = [row(" a\r\n\x00&nbsp;<br>e\u0301 "), row(""), row(""), row("Une question ?")]
    assert cleaned(*given)[0] == given


def test_clean_rows_pass_the_default_rules_unchanged():
    given = [row(FRENCH), row("Oui.", input="Est-ce que 3 < 5 && 7 > 2 ?", label="x", votes=3)]
    counts = Counts()
    assert list(clean(given, CleaningRules(), counts)) == given
    assert {reason for reasons in counts.steps.values() for reason in reasons} == {"seen"}


def test_the_row_given_is_not_changed_in_place():
    given = row(" a ")
    assert cleaned(given, whitespace=True)[0] == [row("a")]
    assert given == row(" a ")


def test_texts_are_composed():
    decomposed = unicodedata.normalize("NFD", "état civil")
    assert text_after(decomposed, normalize_unicode=True) == "état civil" != decomposed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x00b\x1b[0m", "ab[0m"),
        ("l\x92archive c\x9cur 5 \x80\x85", "l’archive cœur 5 €…"),  # Windows-1252 read as Latin-1
        ("un\x0cdeux\u2028trois", "un\ndeux\ntrois"),
        ("\ufeffcoupu\u00adre zéro\u200b", "coupure zéro"),
        ("a\tb\r\nc", "a\tb\r\nc"),
        ("👩\u200d🚀 می\u200cخواهم \u202babc\u202c", "👩\u200d🚀 می\u200cخواهم \u202babc\u202c"),
        ("dix\u00a0%\u202f; « oui »", "dix\u00a0%\u202f; « oui »"),
    ],
)
def test_control_characters_go_and_those_that_mean_something_stay(text, expected):
    assert without_control_characters(text) == expected
    assert text_after(text, control_characters="strip") == expected
    assert text_after(text, control_characters="report") == text


def test_no_control_character_is_left():
    everything = "".join(map(chr, range(0x300)))
    left = [c for c in without_control_characters(everything) if unicodedata.category(c) == "Cc"]
    assert set(left) == {"\t", "\n", "\r"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L'acte&nbsp;: caf&eacute; &amp; th&#233; &#x2019;", "L'acte\u00a0: café & thé ’"),
        ("un<br>deux<BR />trois", "un\ndeux\ntrois"),
        ("un <br><br> deux", "un\n\ndeux"),
        ("<p>Un.</p><p>Deux.</p>", "\n\nUn.\n\nDeux.\n\n"),
        ("<ul>\n<li>un</li>\n<li>deux</li></ul>fin", "\n\nun\ndeux\n\nfin"),
        ('un <b>gros</b> <a href="https://a.fr/?b=1">lien</a>', "un gros lien"),
        ("avant<!-- caché --> <script>if (a<b) {}</script>après", "avant après"),
        ("&amp;lt;p&amp;gt;", "&lt;p&gt;"),
    ],
)
def test_markup_left_over_becomes_text(text, expected):
    assert without_markup(text) == expected
    assert text_after(text, html="strip") == expected
    assert text_after(text, html="report") == text


@pytest.mark.parametrize(
    "text",
    [
        "a < b",
        "a<b et c>d",
        "si i <b and c> d, 0 <p and q> 1",
        "x<y>z & w",
        "List<String>, Vec<i>, Map<a, b>",
        "AT&T, R&D; &inconnue; &notit; ?a=1&copy=2&lt=3",
        "Envoie à <nom>, <adresse>, <address>, <b>",
        "<s>[INST] non [/INST]",
        "<jean@exemple.fr> <https://exemple.fr>",
        "écris `<br>` ou `&nbsp;`",
        "```\nif (a<b && c>d) print('<p>');\n```",
        "    indenté\n        deux fois",
        "-> <- <= >= <3 </3 <>",
    ],
)
def test_what_only_looks_like_markup_stays(text):
    assert without_markup(text) == text


def test_rows_about_markup_keep_it_and_are_counted():
    given = row("<p>Bonjour</p>", "Écris un paragraphe en HTML.")
    made, counts = cleaned(given, row("<p>Bonjour</p>", "Dis bonjour."), html="strip")
    assert [r["output"] for r in made] == ["<p>Bonjour</p>", "\n\nBonjour\n\n"]
    assert counts.of("html", "kept: the row is about markup") == counts.of("html", "changed") == 1
    assert is_about_markup("<!DOCTYPE html>")
    assert not is_about_markup("Le site web des archives, page 12 : réagir")


@pytest.mark.parametrize(
    "text", ["<" * 30_000, "<" + " " * 30_000, "<p " * 10_000, "&" * 30_000, "`" * 30_000, "<br> " * 6_000]
)
@pytest.mark.timeout(5)
def test_no_text_makes_the_search_for_markup_slow(text):
    assert len(without_markup(text)) <= len(text)


TOKENS = ["</s>", "<s>", "<|im_end|>"]


def test_special_tokens_are_stripped_until_none_is_left():
    # fault: taking "</s>" out of "<</s>/s>" once makes a new "</s>"
    made = text_after("un<s>deux<|im_end|><</s>/s>", special_tokens=TOKENS, special_tokens_action="strip")
    assert made == "undeux"


def test_special_tokens_can_drop_the_row_or_only_be_reported():
    given = [row("fin</s>"), row("fin", input="<s>"), row("s < /s>")]
    made, counts = cleaned(*given, special_tokens=TOKENS, special_tokens_action="drop")
    assert made == given[2:]
    assert counts.of("special tokens", "dropped: special token") == 2
    made, counts = cleaned(*given, special_tokens=TOKENS)
    assert made == given
    assert counts.of("special tokens", "found") == 2


def test_entities_cannot_hide_a_special_token():
    assert text_after("fin&lt;/s&gt;", html="strip", special_tokens=TOKENS, special_tokens_action="strip") == "fin"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a b \n", "a b"),
        ("un\r\ndeux\rtrois", "un\ndeux\ntrois"),
        ("\n \n    if x:\n        y\n\n", "    if x:\n        y"),
        ("un  deux\n\n\ntrois", "un  deux\n\n\ntrois"),
    ],
)
def test_white_space_around_a_text_goes_and_indents_stay(text, expected):
    assert text_after(text, whitespace=True) == expected


@pytest.mark.parametrize(
    ("dropped", "rules", "reason"),
    [
        (row(" \n"), {"drop_empty": True}, "empty answers: empty answer"),
        (row("ab", input=" ab\n"), {"drop_output_equals_input": True}, "answers equal to inputs: answer equals input"),
        (row("ab", "ab"), {"drop_output_equals_input": True}, "answers equal to inputs: answer equals input"),
        (row("12"), {"min_output_chars": 3}, "lengths: answer under 3 characters"),
        (row("x" * 100), {"max_chars": 100}, "lengths: over 100 characters"),
        (row("trois mots"), {"min_words": 6}, "lengths: under 6 words"),
        (row("un mot " * 20), {"max_words": 30}, "lengths: over 30 words"),
        (row(ENGLISH, ""), {"languages": ["fr"], "language_action": "drop"}, "languages: en"),
        (row(FRENCH.upper()), {"exact_duplicates": True}, "exact duplicates: exact duplicate"),
        (row(FRENCH + "!"), {"near_duplicates": 0.9}, "near duplicates: near duplicate"),
    ],
)
def test_each_rule_drops_its_row_with_reason_and_example_and_no_other(dropped, rules, reason):
    kept, dropped = row(FRENCH, id="kept"), dropped | {"id": "gone"}
    made, counts = cleaned(kept, dropped, **rules)
    assert made == [kept]
    step, why = reason.split(": ")
    assert (counts.of(step, "seen"), counts.of(step, f"dropped: {why}")) == (2, 1)
    assert counts.examples[step, f"dropped: {why}"][0].startswith("gone")
    assert cleaned(kept, dropped)[0] == [kept, dropped]


def test_an_answer_in_capitals_is_not_its_input():
    given = row("BONJOUR", "Mets en capitales.", input="bonjour")
    assert cleaned(given, drop_output_equals_input=True)[0] == [given]


def test_a_row_without_a_question_stays():
    assert len(cleaned(row(FRENCH, ""), drop_empty=True, drop_output_equals_input=True)[0]) == 1


@pytest.mark.parametrize(
    ("text", "language"), [(FRENCH, "fr"), (ENGLISH, "en"), ("Où est-il ?", "unknown"), ("1" * 50, "unknown")]
)
def test_the_language_is_told_or_said_to_be_unknown(text, language):
    assert language_of(text) == language


def test_texts_of_unknown_language_are_never_dropped():
    given = [row("Yes.", "Why?"), row(ENGLISH, "")]
    made, counts = cleaned(*given, languages=["fr"], language_action="drop")
    assert made == given[:1]
    assert counts.steps["languages"] == {"seen": 2, "found: unknown": 1, "found: en": 1, "dropped: en": 1}
    assert cleaned(*given, languages=["fr"])[0] == given


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"htlm": "strip"}, "Extra inputs"),
        ({"html": "delete"}, "'strip', 'report' or 'keep'"),
        ({"near_duplicates": 80}, "less than or equal to 1"),
        ({"languages": ["français"]}, "unknown language codes français; known are .*, fr, "),
        ({"special_tokens": ["<s>", " "]}, "empty or white space"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rules, words):
    with pytest.raises(ValidationError, match=words):
        CleaningRules(**rules)


def test_what_a_step_saw_less_what_it_dropped_is_what_the_next_one_saw():
    rows = [row(f"{word} {n % 7}<br>", id=str(n)) for n in range(60) for word in ("", "Oui\x00", FRENCH, "non " * n)]
    rules = CleaningRules(min_words=2, max_chars=150, near_duplicates=0.8, languages=["fr"], special_tokens=TOKENS)
    counts = Counts()
    left = sum(1 for _ in clean(iter(rows), rules, counts))
    seen = [reasons["seen"] for reasons in counts.steps.values()]
    dropped = [sum(n for why, n in r.items() if why.startswith("dropped")) for r in counts.steps.values()]
    assert [a - b for a, b in zip(seen, dropped, strict=True)] == [*seen[1:], left]
    assert seen[0] == len(rows) > left > 0
    assert len(counts.steps) == 11


def test_cleaning_again_changes_nothing():
    rows = [row(f"  <p>Caf&eacute; {n}</p>\x00\r\n e\u0301", id=str(n)) for n in range(9)]
    once = list(clean(rows, CleaningRules(), Counts()))
    assert list(clean(once, CleaningRules(), Counts())) == once != rows


def test_every_known_language_is_a_code():
    assert {"fr", "en", "nl", "de"} < set(known_languages())
    assert "und" not in known_languages()
