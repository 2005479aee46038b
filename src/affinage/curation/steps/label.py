"""Labels rows with a model: one of a list of labels, by one answer or by votes."""

from collections import Counter
from typing import Any

from affinage.curation.rows import TEXTS, Row, ordered
from affinage.curation.steps.asking import Work, filled_columns, object_schema
from affinage.curation.steps.recipe import Label
from affinage.ollama_replies import Reply

SEEDS_APART = 10  # an answer that is not valid is asked for again with the next seeds; votes keep clear of them


def label(rows: list[Row], step: Label, work: Work) -> list[Row]:
    """The rows with their label in `step.column`; without one a row is dropped, or kept with the label "".

    A label counts when at least `min_agreement` answers give it and no other has as many. Failed answers are listed
    in `work.unparsed` and never guessed.
    """
    schema = object_schema({"label": {"enum": list(step.labels)}})
    values = [filled(row) | {"labels": _shown(step)} for filled in [filled_columns(rows)] for row in rows]
    seeds = [vote * SEEDS_APART for vote in range(step.votes)]
    labelled = []
    for row, replies in zip(rows, work.ask(step, values, schema, seeds), strict=True):
        work.counts.add(step.name, "seen")
        found, agreement = _elected(row, replies, step, work)
        if not found and not step.keep_unlabelled:
            continue
        made: dict[str, Any] = {step.column: found} | work.provenance(step, schema)
        if step.votes > 1:
            made[f"{step.name}_agreement"] = f"{agreement}/{step.votes}"
        labelled.append(ordered(row | made))
        if found:
            work.decide(step, schema, row, "\n\n".join(str(row[name]) for name in TEXTS if row[name]), found)
    return labelled


def _shown(step: Label) -> str:
    """The labels as a list for the prompt, with what each means when that is said."""
    meanings = step.labels if isinstance(step.labels, dict) else dict.fromkeys(step.labels, "")
    return "\n".join(f"- {name}: {meaning}" if meaning else f"- {name}" for name, meaning in meanings.items())


def _elected(row: Row, replies: list[Reply], step: Label, work: Work) -> tuple[str, int]:
    """The label that the answers agree on ("" for none) and how many of them gave it."""
    for reply in replies:
        if not reply.ok:
            work.counts.add(step.name, f"answers not used: {reply.status}", example=f"{row['id']}: {reply.content}")
            work.reject(step.name, str(reply.status), row, reply)
    votes = Counter(reply.value["label"] for reply in replies if reply.ok)
    best = votes.most_common(2)
    if best and best[0][1] >= step.min_agreement and (len(best) == 1 or best[0][1] > best[1][1]):
        work.counts.add(step.name, f"label: {best[0][0]}")
        return best[0]
    reason = "no agreement" if votes and step.votes > 1 else "no valid answer"
    found = ", ".join(f"{name} {n}" for name, n in best)
    work.counts.add(
        step.name, f"{'kept unlabelled' if step.keep_unlabelled else 'dropped'}: {reason}", example=row["id"]
    )
    if votes:
        work.reject(step.name, "no_agreement", row, votes=dict(votes), detail=found)
    return "", best[0][1] if best else 0
