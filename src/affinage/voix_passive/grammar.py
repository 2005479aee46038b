"""French clauses with a transitive verb, and the four sentences that each of them gives."""

from dataclasses import dataclass, replace

from affinage.voix_passive.lexicon import Noun, Verb

# Masculine, feminine, masculine before a vowel, feminine before a vowel, plural.
DETERMINERS = {
    "definite": ("le ", "la ", "l'", "l'", "les "),
    "indefinite": ("un ", "une ", "un ", "une ", "des "),
    "demonstrative": ("ce ", "cette ", "cet ", "cette ", "ces "),
    "mon": ("mon ", "ma ", "mon ", "mon ", "mes "),
    "son": ("son ", "sa ", "son ", "son ", "ses "),
    "notre": ("notre ", "notre ", "notre ", "notre ", "nos "),
    "leur": ("leur ", "leur ", "leur ", "leur ", "leurs "),
}
# Endings of the active verb and forms of `être`, third person singular and plural.
ENDINGS = {"présent": ("e", "ent"), "imparfait": ("ait", "aient"), "futur": ("era", "eront")}
ETRE = {
    "présent": ("est", "sont"),
    "imparfait": ("était", "étaient"),
    "futur": ("sera", "seront"),
    "passé composé": ("a été", "ont été"),
}
AVOIR = ("a", "ont")
TENSES = tuple(ETRE)


@dataclass(frozen=True)
class NounPhrase:
    """A determiner and a noun; `determiner` is a key of DETERMINERS."""

    noun: Noun
    determiner: str
    plural: bool = False

    def __str__(self) -> str:
        column = 4 if self.plural else (self.noun.gender == "f") + 2 * self.noun.elides
        return DETERMINERS[self.determiner][column] + self.bare

    @property
    def bare(self) -> str:
        """The noun alone, in its number."""
        return self.noun.lemma + "s" * self.plural


@dataclass(frozen=True)
class Clause:
    """Who does what to whom, and when; `tense` is one of TENSES."""

    subject: NounPhrase
    verb: Verb
    object: NounPhrase
    tense: str


def active(clause: Clause) -> str:
    """The plain sentence: Le facteur apporte la lettre."""
    return _sentence(f"{clause.subject} {' '.join(_verb_words(clause))} {clause.object}")


def passive(clause: Clause) -> str:
    """The passive sentence with its agent: La lettre est apportée par le facteur."""
    patient = clause.object
    agreement = "e" * (patient.noun.gender == "f") + "s" * patient.plural
    verb = f"{ETRE[clause.tense][patient.plural]} {clause.verb.stem}é{agreement}"
    return _sentence(f"{patient} {verb} par {clause.subject}")


def negated(clause: Clause) -> str:
    """The negative sentence: Le facteur n'apporte pas la lettre; un, une and des become de."""
    first, *rest = _verb_words(clause)
    # `a` and `ont` elide too, so the auxiliary decides when there is one.
    elided = bool(rest) or clause.verb.elides
    words = [("n'" if elided else "ne ") + first, "pas", *rest, _negated_object(clause.object)]
    return _sentence(f"{clause.subject} {' '.join(words)}")


def plural_object(clause: Clause) -> str:
    """The active sentence with its object in the plural: Le facteur apporte les lettres."""
    return active(replace(clause, object=replace(clause.object, plural=True)))


def _verb_words(clause: Clause) -> list[str]:
    plural = clause.subject.plural
    if clause.tense == "passé composé":
        return [AVOIR[plural], clause.verb.stem + "é"]
    return [clause.verb.stem + ENDINGS[clause.tense][plural]]


def _negated_object(phrase: NounPhrase) -> str:
    if phrase.determiner != "indefinite":
        return str(phrase)
    return ("d'" if phrase.noun.elides else "de ") + phrase.bare


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] + "."
