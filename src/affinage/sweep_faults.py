"""What can be wrong with the content of a sweep file: every fault, where it is and what is allowed there."""

import difflib
import math
from collections.abc import Iterator, Sequence
from typing import Any

from affinage.configs import EXPONENT

FORMS = ("grid", "paired", "random", "hyperopt")  # the last is Ludwig's own, see `affinage.sweep_hyperopt`
MAX_TRIALS = 1000  # more is a slip of the keyboard
SPACES = "{low: 0.0001, high: 0.01, log: true} or {choices: [4, 8]}"

Place = tuple[str | int, ...]  # keys and list indices from the top of the file down
Fault = tuple[Place, str, str]  # where, what was found, what is allowed


def faults(content: dict[str, Any]) -> Iterator[Fault]:
    """Everything that is wrong with a sweep file's content but for Ludwig's own form.

    Keys of the config and their values are not looked at.
    """
    forms = [form for form in FORMS if form in content]
    for key in map(str, content):
        if key not in FORMS:
            yield (key,), unknown(key, FORMS), ", ".join(FORMS)
    if len(forms) > 1:
        yield (forms[1],), f"{' and '.join(map(repr, forms))} stand side by side.", "one of them"
    if not content:
        yield (), "holds nothing to try.", ", ".join(FORMS)
    for form, found in (("grid", _grid), ("paired", _paired), ("random", _random)):
        if form in content:
            yield from found(content[form])


def values(content: dict[str, Any]) -> Iterator[tuple[Place, str, Any]]:
    """Every value that a trial may give to a key of the config, with its place; of a range, its two ends."""
    grid, paired, random = (content.get(form) for form in ("grid", "paired", "random"))
    for key, listed in grid.items() if isinstance(grid, dict) else ():
        yield from _listed(("grid", key), key, listed)
    for index, trial in enumerate(paired if isinstance(paired, list) else ()):
        yield from ((("paired", index, key), str(key), trial[key]) for key in trial if isinstance(trial, dict))
    space = random.get("space") if isinstance(random, dict) else None
    for key, part in space.items() if isinstance(space, dict) else ():
        place = ("random", "space", key)
        if isinstance(part, dict) and "choices" in part:
            yield from _listed((*place, "choices"), key, part["choices"])
        elif isinstance(part, dict):
            yield from (((*place, end), str(key), part[end]) for end in ("low", "high") if is_number(part.get(end)))


def _listed(place: Place, key: Any, listed: Any) -> Iterator[tuple[Place, str, Any]]:
    yield from (
        ((*place, index), str(key), value) for index, value in enumerate(listed if isinstance(listed, list) else ())
    )


def number(value: Any) -> int | float:
    """The number that a value of the file stands for: YAML takes 1e-4 for a text."""
    return float(value) if isinstance(value, str) else value


def is_number(value: Any) -> bool:
    """Whether `number` makes a finite number of it."""
    if isinstance(value, str):
        return EXPONENT.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _grid(grid: Any) -> Iterator[Fault]:
    yield from section(("grid",), grid, "keys of the config, each with a list of values")
    for key, values in grid.items() if isinstance(grid, dict) else ():
        yield from listed_values(("grid", key), key, values)
    if isinstance(grid, dict) and all(isinstance(values, list) for values in grid.values()):
        asked = math.prod(len(values) for values in grid.values())
        if asked > MAX_TRIALS:
            yield ("grid",), f"all values crossed make {asked:,} trials.", f"at most {MAX_TRIALS:,}"


def _paired(paired: Any) -> Iterator[Fault]:
    if not isinstance(paired, list) or not paired:
        yield ("paired",), f"'paired' is {shown(paired)}.", "a list of trials, each with keys of the config and values"
        return
    for index, trial in enumerate(paired):
        yield from section(("paired", index), trial, "keys of the config and values")
        if trial in paired[:index]:
            yield ("paired", index), f"trial {index + 1} is the same as trial {paired.index(trial) + 1}.", ""


def _random(random: Any) -> Iterator[Fault]:
    yield from section(("random",), random, "n, seed and space")
    if not isinstance(random, dict) or not random:
        return
    known = ("n", "seed", "space")
    yield from ((("random", key), unknown(str(key), known), ", ".join(known)) for key in random if key not in known)
    for key, default, least, most in (("n", None, 1, MAX_TRIALS), ("seed", 0, 0, 2**32)):
        value = random.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            yield ("random", key), f"'{key}' is {shown(value)}.", f"a whole number from {least} to {most:,}"
    space = random.get("space")
    yield from section(("random", "space"), space, f"keys of the config, each with {SPACES}")
    for key, values in space.items() if isinstance(space, dict) else ():
        yield from _space(("random", "space", key), key, values)


def _space(place: Place, key: str, space: Any) -> Iterator[Fault]:
    keys = set(space) if isinstance(space, dict) else set()
    if keys == {"choices"}:
        yield from listed_values((*place, "choices"), key, space["choices"])
    elif not {"low", "high"} <= keys:
        yield place, f"'{key}' is {shown(space)}.", SPACES
    elif strange := sorted(map(str, keys - {"low", "high", "log"})):
        yield (*place, strange[0]), unknown(strange[0], ("low", "high", "log")), SPACES
    else:
        yield from _range(place, **space)


def _range(place: Place, low: Any, high: Any, log: Any = False) -> Iterator[Fault]:
    if not isinstance(log, bool):
        yield (*place, "log"), f"'log' is {shown(log)}.", "true or false"
    odd = {name: end for name, end in (("low", low), ("high", high)) if not is_number(end)}
    yield from (((*place, name), f"'{name}' is {shown(end)}.", "a number") for name, end in odd.items())
    if odd:
        return
    if number(low) >= number(high):
        yield (*place, "high"), f"'high' is {high} and 'low' is {low}.", f"a number above {low}"
    if log is True and number(low) <= 0:
        yield (*place, "low"), f"'low' is {low} and has no logarithm.", "a number above 0, or no 'log: true'"


def section(place: Place, content: Any, allowed: str) -> Iterator[Fault]:
    """A fault when no keys stand at a place where a section should."""
    if not isinstance(content, dict) or not content:
        name = f"trial {place[1] + 1}" if isinstance(place[-1], int) else f"'{place[-1]}'"  # type: ignore[operator]
        yield place, f"{name} is {shown(content)}.", allowed


def listed_values(place: Place, key: str, values: Any) -> Iterator[Fault]:
    """Every fault of a list of values for a key: none, the same one twice, or keys instead of a list."""
    if isinstance(values, dict) and values:
        yield place, f"'{key}' holds keys of its own.", f"the whole key on one line: {key}.{next(iter(values))}: [...]"
    elif not isinstance(values, list) or not values:
        yield place, f"'{key}' is {shown(values)}.", "a list of at least one value"
    else:
        repeated = [index for index, value in enumerate(values) if value in values[:index]]
        yield from (((*place, i), f"'{key}' has the value {shown(values[i])} twice.", "") for i in repeated)


def unknown(key: str, known: Sequence[str]) -> str:
    """That a key is unknown, with the nearest one that is known."""
    close = difflib.get_close_matches(key, known, 1)
    return f"unknown key '{key}'." + (f" Did you mean '{close[0]}'?" if close else "")


def shown(value: Any) -> str:
    """A value as an error names it, cut when it is long."""
    if value is None or value in ([], {}, ""):
        return "empty"
    return repr(value) if len(repr(value)) <= 60 else repr(value)[:59] + "…"
