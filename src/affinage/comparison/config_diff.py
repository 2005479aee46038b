"""The settings in which runs differ."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

# Ludwig computes these from the rest of the config.
DERIVED = {"proc_column"}
ABSENT = object()


class ConfigDifference(NamedTuple):
    """One key of the config, such as "trainer.learning_rate", with what each run has there ("not set": no such key)."""

    key: str
    values: list[str]


def config_differences(configs: list[dict[str, Any]]) -> list[ConfigDifference]:
    """Every key in which resolved configs differ, flattened to dotted names, in the order of the configs.

    A section that some configs leave out is one difference, not one per key in it.
    """
    found: list[ConfigDifference] = []
    _compare("", list(configs), found)
    return found


def _compare(key: str, nodes: list[Any], found: list[ConfigDifference]) -> None:
    children = _children(nodes)
    if children is not None:
        for name, below in children.items():
            _compare(f"{key}.{name}" if key else name, below, found)
    elif any(node is not nodes[0] and node != nodes[0] for node in nodes[1:]):
        found.append(ConfigDifference(key, [_text(node) for node in nodes]))


def _children(nodes: list[Any]) -> dict[str, list[Any]] | None:
    """What lies below each name when all nodes are mappings, or lists of as many mappings; None otherwise."""
    if all(isinstance(node, list) and all(isinstance(item, Mapping) for item in node) for node in nodes):
        if len({len(node) for node in nodes}) > 1:
            return None
        nodes = [{str(place): item for place, item in enumerate(node)} for node in nodes]
    if not all(isinstance(node, Mapping) for node in nodes):
        return None
    names = dict.fromkeys(name for node in nodes for name in node if name not in DERIVED)
    return {str(name): [node.get(name, ABSENT) for node in nodes] for name in names}


def _text(value: Any) -> str:
    """The value on one line; of a section only what is switched on."""
    if value is ABSENT:
        return "not set"
    if value is None or isinstance(value, str):
        return value or "none"
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if item not in (None, False)}
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("...\n").strip().removeprefix("{").removesuffix("}")
