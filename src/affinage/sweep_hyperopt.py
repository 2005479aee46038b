"""Ludwig's own form of a search, the `hyperopt` section: what is wrong with it, and what it asks for."""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from affinage.optuna_search import LISTED, NORMAL, REAL, WHOLE, Search, different_values, ends
from affinage.sweep_faults import MAX_TRIALS, Fault, Place, is_number, listed_values, number, section, shown, unknown

FORM = "hyperopt"
KEYS = ("parameters", "goal", "metric", "output_feature", "split", "eval_split", "search_alg", "executor")
SAMPLERS = {"random": "random", "variant_generator": "random", "optuna": "tpe"}  # by search_alg.type
SEEDS = {"random": "random_state", "variant_generator": "random_state", "optuna": "seed"}
OPTUNA_SAMPLERS = {"tpe": "tpe", "auto": "tpe", "random": "random"}  # by executor.sampler
SPACES = (*LISTED, *REAL, *WHOLE, *NORMAL)
EXAMPLE = "{space: loguniform, lower: 0.0001, upper: 0.01}"

PLACED = "trials are trained one after the other, or side by side where the section 'backend' of the config says"
NO_EARLY_STOP = "every trial is trained to its end"
NO_POINTS = "trials are drawn; those you know already go in a file with 'paired'"
# Keys of Ludwig's that ask for what is not done here, with what is done instead.
REFUSED = {
    "executor": {
        "time_budget_s": "press Ctrl-C to stop, and RESUME=last goes on",
        "cpu_resources_per_trial": PLACED,
        "gpu_resources_per_trial": PLACED,
        "trial_driver_resources": PLACED,
        "kubernetes_namespace": PLACED,
        "scheduler": NO_EARLY_STOP,
        "pruner": NO_EARLY_STOP,
        "storage": "the trials are kept in the folder of the sweep",
        "study_name": "the folder of the sweep is its name",
    },
    "search_alg": {
        "points_to_evaluate": NO_POINTS,
        "evaluated_rewards": NO_POINTS,
        "max_concurrent": "executor.max_concurrent_trials says it",
        "space": "the space stands in 'parameters'",
        "constant_grid_search": "each combination draws its own values",
    },
}


def search_of(hyperopt: dict[str, Any]) -> Search:
    """What a section without faults asks for. TPE is the default, and `executor.sampler` goes before `search_alg`."""
    algorithm, executor = hyperopt.get("search_alg") or {}, hyperopt.get("executor") or {}
    kind = algorithm.get("type", "optuna")
    sampler = OPTUNA_SAMPLERS.get(executor.get("sampler", ""), SAMPLERS[kind])
    parameters = hyperopt["parameters"]
    trials = _cells(parameters) * executor.get("num_samples", 1)
    crossed_alone = all(space["space"] == "grid_search" for space in parameters.values())
    seed, at_once = algorithm.get(SEEDS[kind], 0), executor.get("max_concurrent_trials")
    return Search(parameters, "random" if crossed_alone else sampler, seed, trials, at_once)


def _cells(parameters: dict[str, Any]) -> int:
    return math.prod(len(space["values"]) for space in parameters.values() if space["space"] == "grid_search")


def values(hyperopt: Any) -> Iterator[tuple[Place, str, Any]]:
    """Every listed value and both ends of every range, with its place and its key of the config."""
    parameters = hyperopt.get("parameters") if isinstance(hyperopt, dict) else None
    for key, space in parameters.items() if isinstance(parameters, dict) else ():
        place: Place = (FORM, "parameters", key)
        if any(_space(place, str(key), space)):
            continue
        if space["space"] in LISTED:
            name = LISTED[space["space"]]
            yield from (((*place, name, index), str(key), listed) for index, listed in enumerate(space[name]))
        else:
            names = ("mean", "mean") if space["space"] in NORMAL else ("lower", "upper")
            yield from (((*place, name), str(key), end) for name, end in zip(names, ends(space), strict=True))


def faults(hyperopt: Any, outputs: Sequence[str] = ()) -> Iterator[Fault]:
    """Everything that is wrong with the section, and every key of Ludwig's that asks for what is not done here.

    `outputs` are the names of the config's output features. Keys of the config and their values are not looked at.
    """
    yield from section((FORM,), hyperopt, "parameters and executor, as in Ludwig")
    if not isinstance(hyperopt, dict) or not hyperopt:
        return
    yield from (((FORM, key), unknown(str(key), KEYS), ", ".join(KEYS)) for key in hyperopt if key not in KEYS)
    only: dict[str, tuple[str, ...]] = {"goal": ("minimize",), "metric": ("loss",)}
    only |= {"split": ("validation",), "eval_split": ("validation",), "output_feature": ("combined", *outputs)}
    for key, allowed in only.items():
        if key in hyperopt and hyperopt[key] not in allowed:
            found = f"'{key}' is {shown(hyperopt[key])}, and trials are ranked by their lowest validation loss."
            yield (FORM, key), found, ", ".join(allowed)
    broken = list(_parameters(hyperopt.get("parameters")))
    yield from broken
    of_search = list(_search_algorithm(hyperopt.get("search_alg", {})))
    of_search += _executor(hyperopt.get("executor", {}), None if broken else hyperopt["parameters"])
    yield from of_search or _contradiction(hyperopt.get("search_alg", {}), hyperopt.get("executor", {}))


def _parameters(parameters: Any) -> Iterator[Fault]:
    yield from section((FORM, "parameters"), parameters, f"keys of the config, each with a space such as {EXAMPLE}")
    for key, space in parameters.items() if isinstance(parameters, dict) else ():
        yield from _space((FORM, "parameters", key), str(key), space)


def _space(place: Place, key: str, space: Any) -> Iterator[Fault]:
    if not isinstance(space, dict) or "space" not in space:
        yield place, f"'{key}' is {shown(space)}.", f"a space such as {EXAMPLE}"
        return
    kind = space["space"]
    if kind not in SPACES:
        yield (*place, "space"), f"the space of '{key}' is {shown(kind)}.", ", ".join(SPACES)
        return
    required, optional = _keys_of(kind)
    known = ("space", *required, *optional)
    yield from (((*place, name), unknown(str(name), known), ", ".join(known)) for name in space if name not in known)
    missing = [name for name in required if name not in space]
    if missing:
        yield place, f"'{key}' has no {' and no '.join(map(repr, missing))}.", ", ".join(required)
    elif kind in LISTED:
        yield from listed_values((*place, LISTED[kind]), key, space[LISTED[kind]])
    else:
        yield from _numbers(place, space, [name for name in (*required, *optional) if name in space])


def _keys_of(kind: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys that a space needs, and those that it may have besides."""
    if kind in LISTED:
        return (LISTED[kind],), ()
    step = ("q",) if kind.startswith("q") else ()
    if kind in NORMAL:
        return step, ("mean", "sd")
    return ("lower", "upper", *step), ("base",) if "log" in kind else ()


def _numbers(place: Place, space: dict[str, Any], names: Sequence[str]) -> Iterator[Fault]:
    kind = space["space"]
    whole = kind in WHOLE
    odd = [name for name in names if not (_is_whole if whole and name != "base" else is_number)(space[name])]
    for name in odd:
        allowed = "a whole number" if whole and name != "base" else "a number"
        yield (*place, name), f"'{name}' is {shown(space[name])}.", allowed
    if odd:
        return
    given = {name: number(space[name]) for name in names}
    for name in ("q", "sd", "base"):
        if name in given and (given[name] <= 0 or (name == "base" and given[name] == 1)):
            yield (*place, name), f"'{name}' is {given[name]}.", "a number above 0" + (", not 1" * (name == "base"))
            return
    if "lower" in given:
        yield from _range(place, given, "log" in kind)


def _range(place: Place, given: dict[str, Any], log: bool) -> Iterator[Fault]:
    low, high = given["lower"], given["upper"]
    if low >= high:
        yield (*place, "upper"), f"'upper' is {high} and 'lower' is {low}.", f"a number above {low}"
    elif log and low <= 0:
        yield (*place, "lower"), f"'lower' is {low} and has no logarithm.", "a number above 0"
    elif "q" in given:
        for name in ("lower", "upper"):
            if Decimal(str(given[name])) % Decimal(str(given["q"])):
                yield (*place, name), f"'{name}' is {given[name]} and 'q' is {given['q']}.", "a multiple of q"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _search_algorithm(algorithm: Any) -> Iterator[Fault]:
    place: Place = (FORM, "search_alg")
    if not isinstance(algorithm, dict):
        yield place, f"'search_alg' is {shown(algorithm)}.", "a section such as {type: optuna, seed: 0}"
        return
    kind = algorithm.get("type", "optuna")
    if kind not in list(SAMPLERS):
        yield (*place, "type"), f"'type' of search_alg is {shown(kind)}.", ", ".join(SAMPLERS)
        return
    yield from _unknown_or_refused("search_alg", algorithm, ("type", SEEDS[kind]))
    seed = algorithm.get(SEEDS[kind], 0)
    if not _is_whole(seed) or not 0 <= seed <= 2**32:
        yield (*place, SEEDS[kind]), f"'{SEEDS[kind]}' is {shown(seed)}.", f"a whole number from 0 to {2**32:,}"


def _executor(executor: Any, parameters: dict[str, Any] | None) -> Iterator[Fault]:
    """`parameters` are None when they have faults of their own."""
    place: Place = (FORM, "executor")
    if not isinstance(executor, dict):
        yield place, f"'executor' is {shown(executor)}.", "a section such as {num_samples: 20}"
        return
    yield from _unknown_or_refused("executor", executor, ("type", "num_samples", "sampler", "max_concurrent_trials"))
    if executor.get("type", "optuna") != "optuna":
        found = f"'type' of executor is {shown(executor['type'])}, and {PLACED}."
        yield (*place, "type"), found, "optuna, or no 'type'"
    at_once = executor.get("max_concurrent_trials", 1)
    if not _is_whole(at_once) or at_once < 1:
        yield (
            (*place, "max_concurrent_trials"),
            f"'max_concurrent_trials' is {shown(at_once)}.",
            "a whole number from 1",
        )
    sampler = executor.get("sampler", "tpe")
    if sampler not in list(OPTUNA_SAMPLERS):
        yield (*place, "sampler"), f"'sampler' is {shown(sampler)}.", ", ".join(OPTUNA_SAMPLERS)
    if parameters is not None:
        yield from _number_of_trials(executor.get("num_samples"), parameters)


def _number_of_trials(asked: Any, parameters: dict[str, Any]) -> Iterator[Fault]:
    place: Place = (FORM, "executor", "num_samples")
    drawn = [space for space in parameters.values() if space["space"] != "grid_search"]
    cells, samples = _cells(parameters), 1 if asked is None and not drawn else asked
    if not isinstance(samples, int) or not _is_whole(samples) or not 1 <= samples <= MAX_TRIALS:
        yield place, f"'num_samples' is {shown(asked)}.", f"a whole number from 1 to {MAX_TRIALS:,}"
    elif cells * samples > MAX_TRIALS:
        found = f"{cells:,} combinations of grid_search with {samples:,} samples each make {cells * samples:,} trials."
        yield place, found, f"at most {MAX_TRIALS:,}"
    elif samples > (different := math.prod(map(different_values, drawn))):
        found = f"'num_samples' is {samples}, but only {different:,} different trials can be drawn"
        yield place, found + (" for each combination of grid_search." if cells > 1 else "."), f"at most {different:,}"


def _unknown_or_refused(name: str, given: dict[str, Any], known: Sequence[str]) -> Iterator[Fault]:
    for key in given:
        if key in REFUSED[name]:
            found = f"'{key}' of {name} is not done here: {REFUSED[name][key]}."
            yield (FORM, name, key), found, ", ".join(known)
        elif key not in known:
            yield (FORM, name, key), unknown(str(key), known), ", ".join(known)


def _contradiction(algorithm: dict[str, Any], executor: dict[str, Any]) -> Iterator[Fault]:
    asked, sampler = SAMPLERS[algorithm.get("type", "optuna")], OPTUNA_SAMPLERS.get(executor.get("sampler", ""))
    if asked == "random" and sampler == "tpe":
        found = f"'sampler' is '{executor['sampler']}', and search_alg is '{algorithm['type']}'."
        yield (FORM, "executor", "sampler"), found, "random, or search_alg: {type: optuna}"
