"""Ludwig's JSON schema for language models, made strict: no unknown keys, no impossible values."""

import copy
import functools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ludwig.config_validation.validation import get_schema

from affinage.encoder_runs import ENCODERS
from affinage.ludwig_ext import register
from affinage.model_types import ECD, LLM

Schema = dict[str, Any]

KEPT = "type enum description default required minimum maximum exclusiveMinimum exclusiveMaximum minItems maxItems"
REQUIRED = ["model_type", "base_model", "input_features", "output_features", "trainer"]
ENCODER_REQUIRED = ["model_type", "input_features", "output_features", "trainer"]
ENCODER_SECTIONS = [*ENCODER_REQUIRED, "preprocessing", "backend", "ludwig_version"]
AT_LEAST_0, AT_LEAST_1, ABOVE_0 = {"minimum": 0}, {"minimum": 1}, {"exclusiveMinimum": 0}
FRACTION = {"minimum": 0, "maximum": 1}
AUTO = {"enum": ["auto"]}
COUNT_OR_AUTO = {"anyOf": [{"type": "integer", "minimum": 1}, AUTO]}
TEXTS = {"type": ["array", "null"], "items": {"type": "string"}}

# What Ludwig leaves untyped or unbounded. Its own type and bounds win, since a key may differ between the types of a
# section: the 0 that is oft's own `r` stays allowed.
OVERLAYS: dict[str, Schema] = {
    "model_type": {"enum": [LLM, ECD]},
    "base_model": {"type": "string"},
    "adapter.r": AT_LEAST_1,
    "adapter.alpha": ABOVE_0,
    "adapter.dropout": FRACTION,
    "adapter.boft_dropout": FRACTION,
    "adapter.module_dropout": FRACTION,
    "adapter.tinylora_dropout": FRACTION,
    "adapter.vblora_dropout": FRACTION,
    "adapter.loraplus_lr_ratio": ABOVE_0,
    "adapter.bias_type": {"enum": ["none", "all", "lora_only"]},
    "adapter.target_modules": TEXTS,
    "adapter.feedforward_modules": TEXTS,
    "adapter.modules_to_save": TEXTS,
    "generation.max_new_tokens": AT_LEAST_1,
    "generation.min_new_tokens": AT_LEAST_0,
    "generation.max_length": AT_LEAST_1,
    "generation.min_length": AT_LEAST_0,
    "generation.max_time": ABOVE_0,
    "generation.num_beams": AT_LEAST_1,
    "generation.num_beam_groups": AT_LEAST_1,
    "generation.temperature": AT_LEAST_0,
    "generation.top_k": AT_LEAST_0,
    "generation.top_p": FRACTION,
    "generation.typical_p": FRACTION,
    "generation.epsilon_cutoff": FRACTION,
    "generation.eta_cutoff": FRACTION,
    "generation.repetition_penalty": ABOVE_0,
    "generation.no_repeat_ngram_size": AT_LEAST_0,
    "preprocessing.sample_ratio": FRACTION,
    "preprocessing.split.probabilities": {
        "type": "array",
        "items": {"type": "number", **FRACTION},
        "minItems": 3,
        "maxItems": 3,
    },
    "trainer.epochs": AT_LEAST_1,
    "trainer.train_steps": AT_LEAST_1,
    "trainer.eval_steps": ABOVE_0,
    "trainer.early_stop": {"minimum": -1},
    "trainer.steps_per_checkpoint": AT_LEAST_0,
    "trainer.checkpoints_per_epoch": AT_LEAST_0,
    "trainer.batch_size": COUNT_OR_AUTO,
    "trainer.effective_batch_size": COUNT_OR_AUTO,
    "trainer.gradient_accumulation_steps": COUNT_OR_AUTO,
    "trainer.eval_batch_size": {"anyOf": [{"type": ["integer", "null"], "minimum": 0}, AUTO]},
    "trainer.max_batch_size": AT_LEAST_1,
    "trainer.learning_rate": {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, AUTO]},
    "trainer.base_learning_rate": AT_LEAST_0,
    "trainer.learning_rate_scaling": {"enum": ["constant", "sqrt", "linear"]},
    "trainer.learning_rate_scheduler.warmup_fraction": FRACTION,
    "trainer.learning_rate_scheduler.max_lr": ABOVE_0,
    "trainer.learning_rate_scheduler.polynomial_end_lr": AT_LEAST_0,
    "trainer.gradient_clipping.clipglobalnorm": ABOVE_0,
    "trainer.gradient_clipping.clipnorm": ABOVE_0,
    "trainer.gradient_clipping.clipvalue": ABOVE_0,
    "trainer.optimizer.betas": {
        "type": "array",
        "items": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        "minItems": 2,
        "maxItems": 2,
    },
    "trainer.optimizer.eps": AT_LEAST_0,
    "trainer.optimizer.momentum": FRACTION,
    "trainer.optimizer.weight_decay": AT_LEAST_0,
    "trainer.packing_max_sequences_per_pack": AT_LEAST_1,
}

# Ludwig leaves this section open; these are the keys that `ray_runs` performs.
BACKEND: Schema = {
    "description": "Where the run trains: in this process (local), or in workers on a Ray cluster (ray).",
    "type": ["object", "string", "null"],
    "if": {"type": "string"},
    "then": {"enum": ["local", "ray"]},
    "properties": {
        "type": {"enum": ["local", "ray"]},
        "address": {
            "type": "string",
            "description": "Of a running cluster; without it and RAY_ADDRESS, one is started.",
        },
        "cache_dir": {"type": ["string", "null"]},
        "storage": {
            "type": "string",
            "description": "Where a copy of the run is kept after every checkpoint, such as s3://bucket/folder.",
        },
        "trainer": {
            "type": "object",
            "properties": {
                "num_workers": {"type": "integer", "minimum": 1, "default": 1},
                "strategy": {
                    "enum": ["ddp", "accelerate", "fsdp"],
                    "default": "ddp",
                    "description": "fsdp: every worker holds a part of the model. ddp, accelerate: all of it.",
                },
                "use_gpu": {
                    "type": "boolean",
                    "description": "Whether a worker gets a GPU; without it, if there are any.",
                },
                "resources_per_worker": {"type": "object", "description": "What Ray keeps free for each, by name."},
                "max_failures": {
                    "type": "integer",
                    "minimum": 0,
                    "default": 3,
                    "description": "How often all workers start again from the last checkpoint after one has died.",
                },
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}

# Keys that Ludwig writes into a config it saves, such as a run's model_hyperparameters.json, without listing them.
_FEATURE = ("active", "proc_column")
_VOCABULARY = ("max_sequence_length", "vocab_size")
_ENCODER = (*_VOCABULARY, "num_tokens", "pad_idx", "saved_weights_in_checkpoint", "str2freq", "str2idf", "vocab")
SAVED = {
    "input_features.*": _FEATURE,
    "input_features.*.encoder": _ENCODER,
    "output_features.*": _FEATURE,
    "output_features.*.decoder": _VOCABULARY,
}


@functools.cache
def strict_schema(model_type: str = LLM) -> Schema:
    """A draft-7 schema of every config that is trained here, as plain nested dicts without references.

    That of encoders (`ecd`) has the one input, its encoders and the one output that their runs take. Where Ludwig lists
    the keys of a section, no other key is allowed; a section whose keys depend on its `type` holds one `if`/`then` for
    each type, of which at most one applies. The dict is made once; leave it as it is.
    """
    register()
    if model_type == ECD:
        return encoder_schema()
    schema = _strict(get_schema(LLM), ())
    named = schema["properties"]["adapters"]["properties"]["adapters"]
    named["additionalProperties"] = schema["properties"]["adapter"] | {"type": "object"}
    schema["properties"]["backend"] = BACKEND
    return schema | {"required": REQUIRED, "description": "A Ludwig config for fine-tuning a language model."}


def encoder_schema() -> Schema:
    """The part of Ludwig's schema for encoders that `encoder_runs` trains: one text, one label."""
    properties = copy.deepcopy(get_schema(ECD)["properties"])
    text, label = (properties[key]["items"] for key in ("input_features", "output_features"))
    _keep_types(text, ("text",))
    _keep_types(label, ("category",))
    _keep_types(text["allOf"][0]["then"]["properties"]["encoder"], tuple(ENCODERS))
    schema = _strict({"type": "object", "properties": {key: properties[key] for key in ENCODER_SECTIONS}}, ())
    schema["properties"]["backend"] = BACKEND
    return schema | {"required": ENCODER_REQUIRED, "description": "A Ludwig config for an encoder with a head."}


def _keep_types(section: Schema, kept: tuple[str, ...]) -> None:
    """Leaves, in place, only these of the types that a section may have."""
    clauses = [(clause["if"]["properties"]["type"]["const"], clause) for clause in section["allOf"]]
    section["allOf"] = [clause for name, clause in clauses if name in kept]
    section["properties"]["type"] |= {"enum": list(kept)}


def _strict(node: Schema, path: tuple[str, ...]) -> Schema:
    node, nullable = _without_null(node)
    schema = {key: node[key] for key in KEPT.split() if key in node}
    schema = OVERLAYS.get(".".join(path), {}) | schema
    if nullable:
        schema["type"] = [schema["type"], "null"]
    if "items" in node:
        schema["items"] = _strict(node["items"], (*path, "*"))
    properties = _properties(node, path)
    for key in SAVED.get(".".join(path), ()):
        properties.setdefault(key, {"description": "Written by Ludwig into a config that it saves."})
    if "allOf" in node:
        schema |= {"properties": properties, "allOf": list(_variants(node, path, properties))}
    elif properties:
        # A section that lists its `type` alone, such as hyperopt's search_alg, takes keys that Ludwig never lists.
        schema |= {"properties": properties, "additionalProperties": set(properties) == {"type"}}
    return schema


def _without_null(node: Schema) -> tuple[Schema, bool]:
    """`oneOf: [X, null]` as X, and whether it was one: one wrong key in X shall be one error."""
    if "oneOf" not in node:
        return node, False
    [schema] = [option for option in node["oneOf"] if option.get("type") != "null"]
    return {"description": node["description"], **schema} if "description" in node else schema, True


def _properties(node: Schema, path: tuple[str, ...]) -> Schema:
    return {key: _strict(child, (*path, key)) for key, child in node.get("properties", {}).items()}


def _variants(node: Schema, path: tuple[str, ...], shared: Schema) -> Iterator[Schema]:
    kind = node["properties"]["type"]
    default = None if "type" in node.get("required", ()) else kind.get("default", kind["enum"][0])
    for clause in node["allOf"]:
        name = clause["if"]["properties"]["type"]["const"]
        condition: Schema = {"properties": {"type": {"const": name}}}
        if name != default:
            condition["required"] = ["type"]  # without it, a section that has no type would match every clause
        own = dict.fromkeys(shared, True) | _properties(clause["then"], path)
        yield {"if": condition, "then": {"properties": own, "additionalProperties": False}}


def editor_schema() -> str:
    """Both schemas as a JSON text for an editor: what is the same in several places stands once, in `definitions`."""
    encoder = {"properties": {"model_type": {"const": ECD}}, "required": ["model_type"]}
    schema = {"type": "object", "if": encoder, "then": strict_schema(ECD), "else": strict_schema(LLM)}
    definitions: Schema = {}
    shared = _Sharing(schema, definitions).children(schema)
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Affinage config"}
    return json.dumps(head | shared | {"definitions": definitions}, indent=1, ensure_ascii=False) + "\n"


class _Sharing:
    """Replaces what occurs more than once in a schema by references to `definitions`, which it fills."""

    SHORTEST = 250  # characters; below it a reference reads worse than what it stands for

    def __init__(self, schema: Schema, definitions: Schema) -> None:
        self.definitions = definitions
        self.names: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self._count(schema)

    def _count(self, node: Any) -> None:
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            if isinstance(child, dict):
                self.counts[json.dumps(child)] += 1
            self._count(child)

    def children(self, node: Any, inside: str = "") -> Any:
        if isinstance(node, list):
            return [self._shared(child, inside) for child in node]
        if isinstance(node, dict):
            return {key: self._shared(child, key) for key, child in node.items()}
        return node

    def _shared(self, node: Any, key: str) -> Any:
        text = json.dumps(node)
        if key in ("properties", "default", "then", "if", "allOf") or len(text) < self.SHORTEST:
            return self.children(node, key)
        if not isinstance(node, dict) or self.counts[text] < 2:
            return self.children(node, key)
        if text not in self.names:
            taken = sum(name.split("-")[0] == key for name in self.definitions)
            self.names[text] = f"{key}-{taken + 1}" if taken else key
            self.definitions[self.names[text]] = {}  # keeps the name while the children take theirs
            self.definitions[self.names[text]] = self.children(node, key)
        return {"$ref": f"#/definitions/{self.names[text]}"}
