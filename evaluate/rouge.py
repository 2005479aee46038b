"""Shows what ROUGE (F) makes of two texts with the tokenizer of rouge-score and with one that sees accents.

.venv/bin/python evaluate/rouge.py --a "modàle pré-entraîné" --b "modèle pré-entraîné"

Without texts: ROUGE-1 of seven pairs that show where the tokenizers part.
"""

import argparse

from affinage.console import next_command, run_script, stdout
from affinage.errors import AffinageError, Problem

EXAMPLES = [
    ("modèle pré-entraîné", "modèle pré-entraîné"),
    ("modàle pré-entraîné", "modèle pré-entraîné"),
    ("modèle pré-entraîné", "modèles pré-entraînés"),
    ("le cheval", "les chevaux"),
    ("été", "étés"),
    ("à", "é"),
    ("日本語", "日本語"),
]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--a", help="the answer")
    parser.add_argument("--b", help="the reference")
    arguments = parser.parse_args(argv)
    if (arguments.a is None) != (arguments.b is None):
        missing = "--a" if arguments.a is None else "--b"
        raise AffinageError(Problem(missing, "one text is missing.", remedy="Give both: make rouge A='...' B='...'"))
    if arguments.a is None:
        show_examples()
    else:
        show_pair(arguments.a, arguments.b)
    next_command('make rouge A="le cheval" B="les chevaux"')


def scores(first: str, second: str) -> dict[str, dict[str, float]]:
    from affinage.scoring.rouge import COLUMNS, rouge

    return {name: next(rouge([first], [second], options)) for name, options in COLUMNS.items()}


def show_pair(first: str, second: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    from affinage.scoring.rouge import TYPES, explain, tokens_of

    found = scores(first, second)
    table = Table("", *found, box=None, header_style="bold")
    for kind in TYPES:
        table.add_row(f"{kind.replace('rouge', 'ROUGE-')} F", *(f"{column[kind]:.3f}" for column in found.values()))
    stdout.print(table)
    words = Table("words", *found, box=None, header_style="bold")
    for name, text in (("a", first), ("b", second)):
        words.add_row(name, *(escape(" ".join(tokens)) for tokens in tokens_of(text).values()))
    stdout.print()
    stdout.print(words)
    if reason := explain(first, second):
        stdout.print(f"\n{escape(reason)}")


def show_examples() -> None:
    from rich.table import Table

    from affinage.scoring.rouge import COLUMNS, explain

    table = Table("a", "b", *COLUMNS, title="ROUGE-1 F", title_justify="left", box=None, header_style="bold")
    for first, second in EXAMPLES:
        table.add_row(first, second, *(f"{column['rouge1']:.3f}" for column in scores(first, second).values()))
    stdout.print(table)
    stdout.print(f"\nSecond line: {explain(*EXAMPLES[1])}")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
