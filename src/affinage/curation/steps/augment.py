"""Adds synthetic training rows that a model writes from real ones, unless they are too like what is there."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from affinage.curation.balancing import unused
from affinage.curation.duplicates import near_pairs_between, row_text
from affinage.curation.minhash import normalized
from affinage.curation.rows import Row, ordered
from affinage.curation.steps.asking import Work, filled_columns, object_schema
from affinage.curation.steps.filtering import tested
from affinage.curation.steps.recipe import Augment
from affinage.curation.steps.shingles import similarity
from affinage.ollama_replies import Reply

SEEDS_APART = 10  # see label.py
QUESTION = ("instruction", "input")


def augment(train: Sequence[Row], held_out: Sequence[Row], step: Augment, work: Work) -> list[Row]:
    """The training rows, each followed by its synthetic ones: in its group, with its id as `parent_id`.

    Parents are real rows for which `step.where` holds, each text once. `held_out` are the rows of validation and
    test, which no synthetic row may be like. Failed and rejected answers are counted and listed in `work.unparsed`.
    """
    parents = _parents(train, step, work)
    schema = object_schema({name: {"type": "string", "minLength": 1} for name in step.rewrites})
    filled = filled_columns(train)
    seeds = [copy * SEEDS_APART for copy in range(step.n_per_row)]
    replies = work.ask(step, [filled(row) for row in parents], schema, seeds)
    used = {row["id"] for row in train} | {row["id"] for row in held_out}
    children: dict[str, list[Row]] = {}
    for parent, answers in zip(parents, replies, strict=True):
        children[parent["id"]] = _children(parent, answers, step, work, used)
    accepted = _unlike_held_out(children, held_out, step, work)
    for parent in parents:
        for child in accepted[parent["id"]]:
            child |= work.provenance(step, schema)
            work.counts.add(step.name, "added: synthetic rows")
            before, after = (row_text(row, step.rewrites) for row in (parent, child))
            work.decide(step, schema, child, before, after)
    return [made for row in train for made in [row, *map(ordered, accepted.get(row["id"], ()))]]


def _parents(train: Sequence[Row], step: Augment, work: Work) -> list[Row]:
    seen: set[str] = set()
    parents = []
    for row, holds in tested(train, step.where, step.name):
        work.counts.add(step.name, "seen")
        text = normalized(row_text(row))
        if row.get("synthetic") or text in seen:
            work.counts.add(step.name, "not a parent: synthetic or repeated")
        elif holds:
            parents.append(row)
        seen.add(text)
    return parents


def _children(parent: Row, replies: Sequence[Reply], step: Augment, work: Work, used: set[str]) -> list[Row]:
    """The valid answers as rows that are not too like their parent or each other."""
    kept: list[Row] = []
    for number, reply in enumerate(replies, start=1):
        if not reply.ok:
            work.counts.add(step.name, f"answers not used: {reply.status}", example=f"{parent['id']}: {reply.content}")
            work.reject(step.name, str(reply.status), parent, reply)
            continue
        written = {name: text.strip() for name, text in reply.value.items()}
        alike = {"parent": [parent], "sibling": kept}
        near = next((who for who, rows in alike.items() if _is_like(written, rows, step)), "")
        if near or not all(written.values()):
            reason = f"near_copy_of_{near}" if near else "empty"
            _reject(parent, written, reason, step, work)
            continue
        made = {"parent_id": parent["id"], "synthetic": True}
        kept.append(parent | written | made | {"id": unused(f"{parent['id']}~{step.name}", number, used)})
    return kept


def _is_like(written: Mapping[str, str], rows: Sequence[Row], step: Augment) -> bool:
    text = "\n".join(written.values())
    return any(similarity(text, row_text(row, list(written))) > step.max_like_parent for row in rows)


def _unlike_held_out(
    children: Mapping[str, list[Row]], held_out: Sequence[Row], step: Augment, work: Work
) -> dict[str, list[Row]]:
    """The children that are like no validation or test row, in their question or in a text that was rewritten."""
    rows = [row for made in children.values() for row in made]
    like: set[str] = set()
    for columns in (QUESTION, *(() if "output" not in step.rewrites else (("output",),))):
        texts, others = ([row_text(row, columns) for row in side] for side in (rows, held_out))
        if step.max_like_held_out and texts and others:
            like |= {rows[pair.i]["id"] for pair in near_pairs_between(texts, others, step.max_like_held_out)}
    accepted: dict[str, list[Row]] = defaultdict(list)
    for parent_id, made in children.items():
        for row in made:
            if row["id"] in like:
                _reject(row, {name: row[name] for name in step.rewrites}, "near_copy_of_held_out_row", step, work)
            else:
                accepted[parent_id].append(row)
    return accepted


def _reject(row: Row, written: Mapping[str, Any], reason: str, step: Augment, work: Work) -> None:
    work.counts.add(
        step.name, f"rejected: {reason.replace('_', ' ')}", example=f"{row['id']}: {next(iter(written.values()))}"
    )
    work.reject(step.name, reason, row, written=dict(written))
