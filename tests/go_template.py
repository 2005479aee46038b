"""Reads what Ollama reads: the few constructs of Go's text/template that are used here, and a Modelfile.

Written after what both do; a construct that is not known here is an error.
"""

import ast
import re
from collections import deque

TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\S+')


def execute(template, system, messages):
    """The text of a template for messages ({"role", "content"}), as Ollama calls it."""
    nodes, ended = _block(_pieces(template))
    assert ended is None, "an end too many"
    data = {"System": system, "Messages": [{"Role": m["role"], "Content": m["content"]} for m in messages]}
    return _run(nodes, data, data)


def _pieces(template):
    """Texts and actions, by turns: an action is between the first {{ and the next }}."""
    pieces = deque()
    while template:
        text, opened, template = template.partition("{{")
        if text:
            pieces.append(text)
        if opened:
            action, closed, template = template.partition("}}")
            assert closed, f"unclosed action: {action}"
            assert not action.startswith(("-", "{")) and not action.endswith("-"), f"unknown here: {action}"
            pieces.append(TOKEN.findall(action))
    return pieces


def _block(pieces):
    """The nodes up to the action that ends them, and that action; None at the end of the template."""
    nodes = []
    while pieces:
        piece = pieces.popleft()
        if isinstance(piece, list) and piece[0] in ("end", "else"):
            return nodes, piece
        nodes.append(_branch(piece, pieces) if piece[0] in ("if", "range") else piece)
    return nodes, None


def _branch(words, pieces):
    body, ended = _block(pieces)
    otherwise = []
    if ended[:2] == ["else", "if"]:
        otherwise = [_branch(ended[1:], pieces)]  # which takes the one end for both
    elif ended == ["else"]:
        otherwise, ended = _block(pieces)
        assert ended == ["end"]
    return words[0], words[1:], body, otherwise


def _value(words, dot, root):
    if words[0] == "eq":
        return _value(words[1:2], dot, root) == _value(words[2:], dot, root)
    (word,) = words
    if word.startswith('"'):
        return ast.literal_eval(word)
    where, _, name = word.rpartition(".")
    assert where in ("", "$"), word
    return (root if where else dot)[name]


def _run(nodes, dot, root):
    text = ""
    for node in nodes:
        if isinstance(node, str):
            text += node
        elif isinstance(node, list):
            text += _value(node, dot, root)
        elif node[0] == "if":
            text += _run(node[2] if _value(node[1], dot, root) else node[3], dot, root)
        else:
            text += "".join(_run(node[2], item, root) for item in _value(node[1], dot, root))
    return text


def read_modelfile(text):
    """The commands of a Modelfile as pairs of name and value; a parameter's name is "PARAMETER name".

    Characters that are not printable are lost; a value in quotes ends at the first line that ends with the quotes.
    """
    commands, lines = [], deque(text.splitlines(keepends=True))
    while lines:
        line = lines.popleft()
        if not line.strip() or line.startswith("#"):
            continue
        name, value = re.fullmatch(r"(PARAMETER \w+|\w+) (.*)", line, re.DOTALL).groups()
        quotes = '"""' if value.startswith('"""') else ""
        while quotes and not (value.strip().endswith(quotes) and len(value.strip()) >= 6):
            value += lines.popleft()
        value = "".join(c for c in value.strip() if c.isprintable() or c in "\r\n\t")
        commands.append((name, value[3:-3] if quotes else value))
    return commands
