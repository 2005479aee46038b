"""True-or-false expressions on the columns of a row, evaluated without Python's own `eval`."""

import ast
import difflib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from simpleeval import EvalWithCompoundTypes

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": len,
    "int": int,
    "float": float,
    "str": str,
    "words": lambda text: len(text.split()),
    "lower": lambda text: text.lower(),
    "matches": lambda pattern, text: re.search(pattern, text) is not None,
}
EXAMPLE = 'an expression such as: len(output) >= 20 and label != "hors sujet"'


METHODS = {str: {"lower", "upper", "strip", "split", "startswith", "endswith", "count", "find", "isdigit"}}


def parse(expression: str) -> ast.Expr:
    """The expression as a tree. Raises ValueError saying what is wrong when it is none."""
    try:
        body = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        remedy = "; to compare, write ==" if "==" not in expression and "=" in expression else ""
        raise ValueError(f"'{expression}' cannot be read: {getattr(error, 'msg', error)}{remedy}.") from error
    for node in ast.walk(body):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in FUNCTIONS:
            raise ValueError(f"'{node.func.id}' is no function here; there are {', '.join(FUNCTIONS)}.")
    return ast.Expr(value=body)


def unknown_columns(expression: str, columns: Collection[str]) -> list[str]:
    """A sentence for each name in the expression that is no column."""
    names = [node.id for node in ast.walk(parse(expression)) if isinstance(node, ast.Name)]
    return [unknown_column(name, columns) for name in dict.fromkeys(names) if name not in {*columns, *FUNCTIONS}]


def unknown_column(name: str, columns: Collection[str]) -> str:
    """Says that there is no such column, and which one may be meant."""
    close = difflib.get_close_matches(name, columns, 1)
    return f"'{name}' is no column here" + (f"; did you mean '{close[0]}'?" if close else ".")


def evaluator(expression: str) -> Callable[[Mapping[str, Any]], bool]:
    """A function that says of a row whether the expression holds.

    It raises ValueError when the expression fails on a row or gives neither true nor false.
    """
    tree = parse(expression)

    def holds(row: Mapping[str, Any]) -> bool:
        try:
            value = EvalWithCompoundTypes(None, dict(FUNCTIONS), dict(row), METHODS).eval(expression, tree)
        except Exception as error:  # whatever the values of this row make the operators raise
            raise ValueError(f"{type(error).__name__}: {error}") from error
        if not isinstance(value, bool):
            raise ValueError(f"it gives {value!r}, neither true nor false")
        return value

    return holds
