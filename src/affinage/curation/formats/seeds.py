"""Rows from seed tasks: one for each instance of a task."""

from collections.abc import Iterator
from typing import Any

from affinage.curation.formats.records import Place
from affinage.curation.rows import Row


def seed_rows(record: dict[str, Any], place: Place) -> Iterator[Row]:
    """The rows of one task, which has an `instruction` and a list of `instances`; the group is the task."""
    instances = record.get("instances")
    if not isinstance(instances, list) or not instances:
        place.drop("task without instances")
        return
    task = str(record.get("id") or place.source)
    others = {name: value for name, value in record.items() if name not in ("id", "instruction", "instances")}
    for n, instance in enumerate(instances, start=1):
        if not isinstance(instance, dict) or "output" not in instance or not record.get("instruction"):
            place.drop("instance without instruction or output", task)
            continue
        texts = {"instruction": record["instruction"], "input": instance.get("input"), "output": instance["output"]}
        more = {name: value for name, value in instance.items() if name not in ("input", "output")}
        row = place.row(texts, f"{task}/{n}", task, others.get("label"), others | more)
        if row:
            yield row
